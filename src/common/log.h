// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include <fmt/format.h>

#include "common/result.h"

/// The process's log, to stderr, one event a line. info: what a person on call wants to have read
/// afterwards; warn: works, but not as asked; error: somebody must act; debug: for developers.
namespace weir::log {

enum class Format : unsigned char { kText, kJson };
enum class Level : unsigned char { kDebug, kInfo, kWarn, kError };

/// Once, before threads start.
void init(Format format, Level level);
Result<Level> parse_level(std::string_view text);

/// Thread-safe.
void write(Level level, std::string_view message);
bool enabled(Level level);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(Level::kDebug)) {
        write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
    }
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::kWarn, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace weir::log
