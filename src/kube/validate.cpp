// SPDX-License-Identifier: Apache-2.0
#include "kube/validate.h"

#include <algorithm>

namespace weir::kube {
namespace {

constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kLowerOrDigit = "abcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::string_view kLetterOrDigit =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

bool among(char c, std::string_view characters) {
    return characters.find(c) != std::string_view::npos;
}

bool starts_and_ends(std::string_view text, std::string_view characters) {
    return !text.empty() && among(text.front(), characters) && among(text.back(), characters);
}

/// The name part of a label key, or a label value that is not empty.
bool qualified(std::string_view text) {
    return starts_and_ends(text, kLetterOrDigit) && std::ranges::all_of(text, [](char c) {
               return among(c, kLetterOrDigit) || c == '-' || c == '_' || c == '.';
           });
}

}  // namespace

NameProblem dns_label_problem(std::string_view name) {
    if (name.size() > 63) return "over 63 characters";
    const bool allowed =
        std::ranges::all_of(name, [](char c) { return among(c, kLowerOrDigit) || c == '-'; });
    if (!allowed) return "only a-z, 0-9 and '-' are allowed (RFC 1123 label)";
    if (!starts_and_ends(name, kLowerOrDigit)) return "must start and end with a-z or 0-9";
    return std::nullopt;
}

NameProblem dns_subdomain_problem(std::string_view name) {
    if (name.size() > 253) return "over 253 characters";
    const bool allowed = std::ranges::all_of(
        name, [](char c) { return among(c, kLowerOrDigit) || c == '-' || c == '.'; });
    if (!allowed) return "only a-z, 0-9, '-' and '.' are allowed (RFC 1123 subdomain)";
    for (;;) {
        const size_t dot = name.find('.');
        if (!starts_and_ends(name.substr(0, dot), kLowerOrDigit)) {
            return "each part between dots must start and end with a-z or 0-9";
        }
        if (dot == std::string_view::npos) return std::nullopt;
        name.remove_prefix(dot + 1);
    }
}

NameProblem port_name_problem(std::string_view name) {
    if (name.size() > 15) return "over 15 characters";
    const bool allowed =
        std::ranges::all_of(name, [](char c) { return among(c, kLowerOrDigit) || c == '-'; });
    if (!allowed) return "only a-z, 0-9 and '-' are allowed";
    if (std::ranges::none_of(name, [](char c) { return among(c, kLower); })) {
        return "at least one letter is needed";
    }
    if (!starts_and_ends(name, kLowerOrDigit) || name.find("--") != std::string_view::npos) {
        return "'-' may only stand between letters or digits";
    }
    return std::nullopt;
}

NameProblem label_key_problem(std::string_view key) {
    const size_t slash = key.find('/');
    if (slash != std::string_view::npos) {
        if (const auto problem = dns_subdomain_problem(key.substr(0, slash))) {
            return "what is before '/' must be an RFC 1123 subdomain";
        }
        key.remove_prefix(slash + 1);
    }
    if (key.size() > 63) return "over 63 characters";
    if (!qualified(key)) {
        return "only letters, digits, '-', '_' and '.' are allowed, a letter or digit at both ends";
    }
    return std::nullopt;
}

NameProblem label_value_problem(std::string_view value) {
    if (value.size() > 63) return "over 63 characters";
    if (value.empty() || qualified(value)) return std::nullopt;
    return "only letters, digits, '-', '_' and '.' are allowed, a letter or digit at both ends";
}

}  // namespace weir::kube
