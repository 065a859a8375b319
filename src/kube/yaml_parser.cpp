// SPDX-License-Identifier: Apache-2.0
#include "kube/yaml_parser.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <yaml.h>

#include <fmt/format.h>

namespace weir::kube {
namespace {

std::string_view view(const yaml_char_t* text) {
    return text == nullptr ? std::string_view() : reinterpret_cast<const char*>(text);
}

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
    return std::ranges::find(words, text) != words.end();
}

bool all_of(std::string_view text, std::string_view characters) {
    return !text.empty() && text.find_first_not_of(characters) == std::string_view::npos;
}

bool is_number(std::string_view text) {
    if (one_of(text, {".nan", ".NaN", ".NAN"})) return true;
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    if (one_of(text, {".inf", ".Inf", ".INF"})) return true;
    if (text.starts_with("0x")) return all_of(text.substr(2), "0123456789abcdefABCDEF_");
    if (text.starts_with("0o")) return all_of(text.substr(2), "01234567_");
    if (text.starts_with("0b")) return all_of(text.substr(2), "01_");
    const size_t exponent = text.find_first_of("eE");
    const std::string_view mantissa = text.substr(0, exponent);
    if (exponent != std::string_view::npos) {
        std::string_view power = text.substr(exponent + 1);
        if (power.starts_with('-') || power.starts_with('+')) power.remove_prefix(1);
        if (!all_of(power, "0123456789")) return false;
    }
    return all_of(mantissa, "0123456789._") && std::ranges::count(mantissa, '.') <= 1 &&
           std::ranges::any_of(mantissa, [](char c) { return c >= '0' && c <= '9'; }) &&
           !mantissa.starts_with('_');
}

/// Owns what libyaml allocates for one event.
class Event {
  public:
    Event() = default;
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event() { yaml_event_delete(&raw); }
    [[nodiscard]] uint32_t line() const { return static_cast<uint32_t>(raw.start_mark.line); }

    yaml_event_t raw{};
};

class Reader {
  public:
    Reader(std::string_view text, uint32_t first_line) : first_line_(first_line) {
        yaml_parser_initialize(&parser_);
        yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                     text.size());
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    ~Reader() { yaml_parser_delete(&parser_); }

    std::optional<SyntaxError> run(const std::function<void(Tree)>& take) {
        for (;;) {
            Event event;
            if (yaml_parser_parse(&parser_, &event.raw) == 0) return parser_error();
            if (event.raw.type == YAML_STREAM_END_EVENT) return std::nullopt;
            if (event.raw.type == YAML_DOCUMENT_START_EVENT) {
                builder_ = TreeBuilder();
                anchors_.clear();
                merges_.clear();
            } else if (event.raw.type == YAML_DOCUMENT_END_EVENT) {
                take(builder_.take());
            } else if (!handle(event)) {
                return builder_.error();
            }
        }
    }

  private:
    [[nodiscard]] std::optional<SyntaxError> parser_error() const {
        const auto line = static_cast<uint32_t>(parser_.problem_mark.line);
        std::string message = parser_.problem != nullptr ? parser_.problem : "not readable as YAML";
        if (parser_.context != nullptr) message = fmt::format("{} {}", parser_.context, message);
        return SyntaxError{first_line_ + line, std::move(message)};
    }

    bool handle(const Event& event) {
        const uint32_t line = first_line_ + event.line();
        switch (event.raw.type) {
            case YAML_SCALAR_EVENT:
                return scalar(event.raw, line);
            case YAML_ALIAS_EVENT:
                return alias(view(event.raw.data.alias.anchor), line);
            case YAML_SEQUENCE_START_EVENT:
                return open(Tree::Type::kSequence, view(event.raw.data.sequence_start.anchor),
                            line);
            case YAML_MAPPING_START_EVENT:
                return open(Tree::Type::kMapping, view(event.raw.data.mapping_start.anchor), line);
            case YAML_SEQUENCE_END_EVENT:
            case YAML_MAPPING_END_EVENT:
                return close(line);
            default:
                return true;
        }
    }

    bool scalar(const yaml_event_t& event, uint32_t line) {
        const auto& raw = event.data.scalar;
        const std::string_view text(reinterpret_cast<const char*>(raw.value), raw.length);
        if (builder_.wants_key()) {
            merging_ = text == "<<" && raw.style == YAML_PLAIN_SCALAR_STYLE;
            return builder_.key(text, line);
        }
        if (std::exchange(merging_, false)) return builder_.fail(line, "'<<' needs a mapping");
        if (!builder_.scalar(text, scalar_type(raw, text), line)) return false;
        remember(view(raw.anchor), builder_.last());
        return true;
    }

    template <typename Scalar>
    static Tree::Type scalar_type(const Scalar& raw, std::string_view text) {
        const std::string_view tag = view(raw.tag);
        if (tag == YAML_STR_TAG || (tag.empty() && raw.style != YAML_PLAIN_SCALAR_STYLE)) {
            return Tree::Type::kString;
        }
        return plain_type(text);
    }

    bool open(Tree::Type type, std::string_view anchor, uint32_t line) {
        if (builder_.wants_key()) return builder_.fail(line, "a key must be a plain word");
        if (!builder_.open(type, line)) return false;
        // Complete only when closed: an alias to it from within is refused by then.
        pending_anchors_.emplace_back(std::string(anchor), builder_.last());
        merges_.emplace_back();
        if (std::exchange(merging_, false)) direct_merges_.insert(builder_.last());
        return true;
    }

    bool close(uint32_t line) {
        for (const Tree::Index source : merges_.back()) {
            if (!merge(source, line)) return false;
        }
        merges_.pop_back();
        if (!builder_.close()) return false;
        const Tree::Index closed = builder_.last();
        remember(pending_anchors_.back().first, closed);
        pending_anchors_.pop_back();
        if (direct_merges_.erase(closed) != 0) merges_.back().push_back(closed);
        return true;
    }

    bool alias(std::string_view name, uint32_t line) {
        const auto it = anchors_.find(name);
        if (it == anchors_.end()) {
            return builder_.fail(line, fmt::format("alias *{} has no anchor before it", name));
        }
        if (builder_.wants_key()) return builder_.fail(line, "a key must be a plain word");
        if (!builder_.copy(it->second, line)) return false;
        if (std::exchange(merging_, false)) merges_.back().push_back(it->second);
        return true;
    }

    bool merge(Tree::Index source, uint32_t line) {
        const Tree& tree = builder_.tree();
        if (tree.node(source).type == Tree::Type::kMapping) return builder_.merge(source, line);
        if (tree.node(source).type != Tree::Type::kSequence) {
            return builder_.fail(line, "'<<' needs a mapping");
        }
        for (auto i = tree.node(source).first_child; i != Tree::kNone; i = tree.node(i).next) {
            if (tree.node(i).type != Tree::Type::kMapping) {
                return builder_.fail(line, "'<<' needs a mapping");
            }
            if (!builder_.merge(i, line)) return false;
        }
        return true;
    }

    void remember(std::string_view anchor, Tree::Index index) {
        if (!anchor.empty()) anchors_.insert_or_assign(std::string(anchor), index);
    }

    yaml_parser_t parser_{};
    uint32_t first_line_;
    TreeBuilder builder_;
    std::map<std::string, Tree::Index, std::less<>> anchors_;
    std::vector<std::pair<std::string, Tree::Index>> pending_anchors_;
    /// For each open container what `<<` named in it, merged at its end.
    std::vector<std::vector<Tree::Index>> merges_;
    std::set<Tree::Index> direct_merges_;  ///< open containers that stand under a `<<`
    bool merging_ = false;                 ///< the pending key is `<<`
};

}  // namespace

Tree::Type plain_type(std::string_view text) {
    if (one_of(text, {"", "~", "null", "Null", "NULL"})) return Tree::Type::kNull;
    if (one_of(text, {"true", "True", "TRUE", "false", "False", "FALSE", "y",  "Y",
                      "yes",  "Yes",  "YES",  "n",     "N",     "no",    "No", "NO",
                      "on",   "On",   "ON",   "off",   "Off",   "OFF"})) {
        return Tree::Type::kBool;
    }
    return is_number(text) ? Tree::Type::kNumber : Tree::Type::kString;
}

std::optional<SyntaxError> parse_yaml(std::string_view text, uint32_t first_line,
                                      const std::function<void(Tree)>& take) {
    return Reader(text, first_line).run(take);
}

}  // namespace weir::kube
