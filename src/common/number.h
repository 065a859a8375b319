// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <concepts>
#include <optional>
#include <string_view>

namespace weir {

/// The whole text as a decimal number; nullopt: it is none, or T cannot hold it. Neither spaces nor
/// '+', and '-' for signed types only.
template <std::integral T>
[[nodiscard]] std::optional<T> whole_number(std::string_view text) {
    T value{};
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stopped != end) return std::nullopt;
    return value;
}

}  // namespace weir
