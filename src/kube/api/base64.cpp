// SPDX-License-Identifier: Apache-2.0
#include "kube/api/base64.h"

#include <cstdint>

namespace weir::kube::api {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
    std::string out;
    uint32_t group = 0;
    size_t digits = 0;
    size_t padding = 0;
    for (const char c : text) {
        if (c == '\n' || c == '\r' || c == ' ' || c == '\t') continue;
        if (c == '=') {
            ++padding;
            continue;
        }
        const size_t value = kAlphabet.find(c);
        if (value == std::string_view::npos || padding > 0) return std::nullopt;
        group = group << 6 | static_cast<uint32_t>(value);
        if (++digits % 4 != 0) continue;
        for (const int shift : {16, 8, 0})
            out += static_cast<char>(group >> shift & 0xff);
        group = 0;
    }
    const size_t rest = digits % 4;
    if (rest == 1 || padding != (rest == 0 ? 0 : 4 - rest)) return std::nullopt;
    if (rest >= 2) out += static_cast<char>(group >> (rest == 2 ? 4 : 10) & 0xff);
    if (rest == 3) out += static_cast<char>(group >> 2 & 0xff);
    return out;
}

}  // namespace weir::kube::api
