// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"

#include <memory>
#include <string>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace weir::log {
namespace {

Format format_in_use = Format::kText;

spdlog::logger& logger() {
    static const auto instance = [] {
        auto made = std::make_shared<spdlog::logger>(
            "weir", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        made->flush_on(spdlog::level::trace);
        made->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %L %v");
        return made;
    }();
    return *instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
    switch (level) {
        case Level::kDebug:
            return spdlog::level::debug;
        case Level::kInfo:
            return spdlog::level::info;
        case Level::kWarn:
            return spdlog::level::warn;
        case Level::kError:
            return spdlog::level::err;
    }
    return spdlog::level::info;
}

std::string json_escape(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
            out += c;
        }
    }
    return out;
}

}  // namespace

void init(Format format, Level level) {
    format_in_use = format;
    logger().set_level(to_spdlog(level));
    if (format == Format::kJson) {
        logger().set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","msg":"%v"})");
    }
}

Result<Level> parse_level(std::string_view text) {
    if (text == "debug") return Level::kDebug;
    if (text == "info") return Level::kInfo;
    if (text == "warn") return Level::kWarn;
    if (text == "error") return Level::kError;
    return fail(Errc::kInvalid, "log level \"{}\" is none of debug, info, warn, error", text);
}

bool enabled(Level level) {
    return logger().should_log(to_spdlog(level));
}

void write(Level level, std::string_view message) {
    if (format_in_use == Format::kJson) {
        logger().log(to_spdlog(level), json_escape(message));
    } else {
        logger().log(to_spdlog(level), message);
    }
}

}  // namespace weir::log
