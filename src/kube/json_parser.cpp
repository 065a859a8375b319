// SPDX-License-Identifier: Apache-2.0
#include "kube/json_parser.h"

#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>

namespace weir::kube {
namespace {

constexpr uint32_t kReplacement = 0xfffd;

void append_utf8(std::string& out, uint32_t code) {
    const auto put = [&out](uint32_t byte) { out += static_cast<char>(byte); };
    if (code < 0x80) return put(code);
    if (code < 0x800) {
        put(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        put(0xe0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3f));
    } else {
        put(0xf0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3f));
        put(0x80 | (code >> 6 & 0x3f));
    }
    put(0x80 | (code & 0x3f));
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

class Parser {
  public:
    Parser(std::string_view text, uint32_t first_line) : rest_(text), line_(first_line) {}

    std::optional<SyntaxError> run(const std::function<void(Tree)>& take) {
        for (skip_space(); !rest_.empty(); skip_space()) {
            builder_ = TreeBuilder();
            if (!value()) return builder_.error();
            take(builder_.take());
        }
        return std::nullopt;
    }

  private:
    bool fail(std::string message) { return builder_.fail(line_, std::move(message)); }

    bool unexpected(std::string_view wanted) {
        if (rest_.empty()) return fail(fmt::format("text ends where {} should be", wanted));
        const auto byte = static_cast<unsigned char>(rest_.front());
        return fail(byte >= 0x20 && byte < 0x7f
                        ? fmt::format("'{}' where {} should be", rest_.front(), wanted)
                        : fmt::format("byte 0x{:02x} where {} should be", byte, wanted));
    }

    void skip_space() {
        while (!rest_.empty()) {
            const char c = rest_.front();
            if (c == '\n') {
                ++line_;
            } else if (c != ' ' && c != '\t' && c != '\r') {
                return;
            }
            rest_.remove_prefix(1);
        }
    }

    bool take(char c) {
        if (!rest_.starts_with(c)) return false;
        rest_.remove_prefix(1);
        return true;
    }

    /// Recursion is bounded by the builder's depth.
    bool value() {
        if (rest_.starts_with('{')) return mapping();
        if (rest_.starts_with('[')) return sequence();
        if (rest_.starts_with('"')) {
            return string() && builder_.scalar(buffer_, Tree::Type::kString, line_);
        }
        for (const std::string_view word : {"true", "false", "null"}) {
            if (!rest_.starts_with(word)) continue;
            rest_.remove_prefix(word.size());
            return builder_.scalar(word, word == "null" ? Tree::Type::kNull : Tree::Type::kBool,
                                   line_);
        }
        return number();
    }

    bool mapping() {
        if (!builder_.open(Tree::Type::kMapping, line_)) return false;
        take('{');
        skip_space();
        if (take('}')) return builder_.close();
        for (;;) {
            if (!rest_.starts_with('"')) return unexpected("a key in double quotes");
            if (!string() || !builder_.key(buffer_, line_)) return false;
            skip_space();
            if (!take(':')) return unexpected("':'");
            skip_space();
            if (!value()) return false;
            skip_space();
            if (take('}')) return builder_.close();
            if (!take(',')) return unexpected("',' or '}'");
            skip_space();
        }
    }

    bool sequence() {
        if (!builder_.open(Tree::Type::kSequence, line_)) return false;
        take('[');
        skip_space();
        if (take(']')) return builder_.close();
        for (;;) {
            if (!value()) return false;
            skip_space();
            if (take(']')) return builder_.close();
            if (!take(',')) return unexpected("',' or ']'");
            skip_space();
        }
    }

    bool digits() {
        const size_t count = std::min(
            rest_.size(),
            static_cast<size_t>(std::ranges::find_if_not(rest_, is_digit) - rest_.begin()));
        rest_.remove_prefix(count);
        return count > 0;
    }

    bool number() {
        const std::string_view start = rest_;
        take('-');
        const bool zero = rest_.starts_with('0');
        const size_t before = rest_.size();
        if (!digits()) {
            if (start.size() == rest_.size()) return unexpected("a value");
            return unexpected("a digit");
        }
        if (zero && before - rest_.size() > 1) return fail("a number with a leading zero");
        if (take('.') && !digits()) return unexpected("a digit");
        if (take('e') || take('E')) {
            if (!take('+')) take('-');
            if (!digits()) return unexpected("a digit");
        }
        return builder_.scalar(start.substr(0, start.size() - rest_.size()), Tree::Type::kNumber,
                               line_);
    }

    /// Into buffer_, unescaped.
    bool string() {
        take('"');
        buffer_.clear();
        for (;;) {
            const size_t plain = rest_.find_first_of(kStringStops);
            if (plain == std::string_view::npos) return fail("a string is not closed");
            buffer_ += rest_.substr(0, plain);
            rest_.remove_prefix(plain);
            if (take('"')) return true;
            if (!take('\\')) return unexpected("a character of a string, escaped if need be,");
            if (!escape()) return false;
        }
    }

    bool escape() {
        static constexpr std::string_view kLetters = "\"\\/bfnrt";
        static constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
        if (take('u')) return unicode();
        const size_t at = rest_.empty() ? std::string_view::npos : kLetters.find(rest_.front());
        if (at == std::string_view::npos) return unexpected("the rest of an escape");
        buffer_ += kMeanings[at];
        rest_.remove_prefix(1);
        return true;
    }

    std::optional<uint32_t> hex4(std::string_view text) const {
        if (text.size() < 4) return std::nullopt;
        uint32_t code = 0;
        for (const char c : text.substr(0, 4)) {
            const char lower = static_cast<char>(c | 0x20);
            if (is_digit(c)) {
                code = code << 4 | static_cast<uint32_t>(c - '0');
            } else if (lower >= 'a' && lower <= 'f') {
                code = code << 4 | static_cast<uint32_t>(lower - 'a' + 10);
            } else {
                return std::nullopt;
            }
        }
        return code;
    }

    bool unicode() {
        const auto first = hex4(rest_);
        if (!first) return unexpected("four hexadecimal digits");
        rest_.remove_prefix(4);
        uint32_t code = *first;
        if (code >= 0xd800 && code < 0xdc00) {
            const auto second =
                rest_.starts_with("\\u") ? hex4(rest_.substr(2)) : std::optional<uint32_t>();
            if (second && *second >= 0xdc00 && *second < 0xe000) {
                rest_.remove_prefix(6);
                code = 0x10000 + ((code - 0xd800) << 10) + (*second - 0xdc00);
            }
        }
        append_utf8(buffer_, code >= 0xd800 && code < 0xe000 ? kReplacement : code);
        return true;
    }

    /// The quote, the backslash and the control characters, NUL among them.
    static constexpr std::array<char, 34> kStringStopBytes = [] {
        std::array<char, 34> bytes{};
        for (size_t i = 0; i < 32; ++i)
            bytes[i] = static_cast<char>(i);
        bytes[32] = '"';
        bytes[33] = '\\';
        return bytes;
    }();
    static constexpr std::string_view kStringStops{kStringStopBytes.data(),
                                                   kStringStopBytes.size()};

    std::string_view rest_;
    uint32_t line_;
    TreeBuilder builder_;
    std::string buffer_;
};

/// Length of the well-formed sequence at the start of `text`, 0 if there is none.
size_t utf8_sequence(std::string_view text) {
    const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) return 1;
    const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
    for (size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return 0;
    }
    // Overlong forms, surrogates, beyond U+10FFFF.
    if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0)) return 0;
    if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90)) return 0;
    return size;
}

}  // namespace

bool valid_utf8(std::string_view text) {
    while (!text.empty()) {
        const size_t size = utf8_sequence(text);
        if (size == 0) return false;
        text.remove_prefix(size);
    }
    return true;
}

std::optional<SyntaxError> parse_json(std::string_view text, uint32_t first_line,
                                      const std::function<void(Tree)>& take) {
    return Parser(text, first_line).run(take);
}

}  // namespace weir::kube
