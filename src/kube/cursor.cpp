// SPDX-License-Identifier: Apache-2.0
#include "kube/cursor.h"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "kube/validate.h"

namespace weir::kube {
namespace {

using Type = Tree::Type;

std::string_view describe(Type type) {
    switch (type) {
        case Type::kNull:
            return "null";
        case Type::kBool:
            return "a boolean";
        case Type::kNumber:
            return "a number";
        case Type::kString:
            return "a string";
        case Type::kSequence:
            return "a list";
        case Type::kMapping:
            return "a mapping";
    }
    return "?";
}

}  // namespace

void Report::add(FieldError error) {
    if (std::ranges::find(errors_, error) != errors_.end()) return;
    if (errors_.size() < kMaxErrors) {
        errors_.push_back(std::move(error));
    } else {
        ++dropped_;
    }
}

std::vector<FieldError> Report::take() {
    std::ranges::sort(errors_, {}, [](const FieldError& e) { return std::tie(e.line, e.path); });
    if (dropped_ > 0) {
        errors_.back().message += fmt::format(" (and {} more mistakes)", dropped_);
    }
    return std::move(errors_);
}

bool Cursor::present() const {
    return node_ != Tree::kNone && type() != Type::kNull;
}

Cursor Cursor::at(Tree::Index node) const {
    Cursor cursor = *this;
    cursor.node_ = node;
    return cursor;
}

Cursor Cursor::operator[](std::string_view key) const {
    // Of a field of what is absent, the outermost thing missing is what a report should name.
    if (node_ == Tree::kNone) return *this;
    Cursor field = at(Tree::kNone);
    field.parent_ = node_;
    field.missing_ = {};
    if (type() == Type::kMapping) {
        field.node_ = tree_->child(node_, key);
        field.missing_ = key;
    } else if (present()) {
        wrong_type("a mapping");
        field.told_ = true;
    }
    return field;
}

std::vector<Cursor> Cursor::items() const {
    std::vector<Cursor> items;
    if (!present()) return items;
    if (type() != Type::kSequence) {
        wrong_type("a list");
        return items;
    }
    for (auto i = tree_->node(node_).first_child; i != Tree::kNone; i = tree_->node(i).next) {
        items.push_back(at(i));
    }
    return items;
}

std::vector<std::pair<std::string_view, Cursor>> Cursor::entries() const {
    std::vector<std::pair<std::string_view, Cursor>> entries;
    if (!present()) return entries;
    if (type() != Type::kMapping) {
        wrong_type("a mapping");
        return entries;
    }
    for (auto i = tree_->node(node_).first_child; i != Tree::kNone; i = tree_->node(i).next) {
        // YAML's merge key: what it names stands in this mapping already.
        if (tree_->key(i) != "<<") entries.emplace_back(tree_->key(i), at(i));
    }
    return entries;
}

std::optional<std::string_view> Cursor::string() const {
    if (!present()) return std::nullopt;
    if (type() == Type::kString) return tree_->text(node_);
    if (type() == Type::kBool || type() == Type::kNumber) {
        error("must be a string, and {} without quotes is {}; write \"{}\"", tree_->text(node_),
              describe(type()), tree_->text(node_));
    } else {
        wrong_type("a string");
    }
    return std::nullopt;
}

std::optional<bool> Cursor::boolean() const {
    if (!present()) return std::nullopt;
    if (type() != Type::kBool) {
        wrong_type("a boolean");
        return std::nullopt;
    }
    const char first = tree_->text(node_).front();
    const char second = tree_->text(node_).size() > 1 ? tree_->text(node_)[1] : ' ';
    return first == 't' || first == 'T' || first == 'y' || first == 'Y' || second == 'n' ||
           second == 'N';
}

std::optional<int64_t> Cursor::integer(int64_t low, int64_t high) const {
    if (!present()) return std::nullopt;
    if (type() != Type::kNumber) {
        wrong_type("a number");
        return std::nullopt;
    }
    const std::string_view digits = tree_->text(node_);
    int64_t value = 0;
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (code == std::errc::invalid_argument || end != digits.data() + digits.size()) {
        error("{} is not a whole decimal number", digits);
        return std::nullopt;
    }
    if (code != std::errc() || value < low || value > high) {
        error("{} is not within {} to {}", digits, low, high);
        return std::nullopt;
    }
    return value;
}

std::optional<uint16_t> Cursor::port() const {
    const auto number = integer(1, 65535);
    return number ? std::optional(static_cast<uint16_t>(*number)) : std::nullopt;
}

std::optional<IpAddress> Cursor::ip() const {
    const auto found = string();
    if (!found) return std::nullopt;
    auto parsed = IpAddress::parse(*found);
    if (parsed) return *parsed;
    error("{}", parsed.error().message());
    return std::nullopt;
}

std::optional<IpPrefix> Cursor::prefix() const {
    const auto found = string();
    if (!found) return std::nullopt;
    auto parsed = IpPrefix::parse_lenient(*found);
    if (parsed) return *parsed;
    error("{}", parsed.error().message());
    return std::nullopt;
}

model::Protocol Cursor::protocol() const {
    const auto found = string();
    if (!found) return model::Protocol::kTcp;
    auto parsed = model::parse_protocol(*found);
    if (parsed) return *parsed;
    error("{}", parsed.error().message());
    return model::Protocol::kTcp;
}

std::optional<model::PortRef> Cursor::port_ref() const {
    if (!present()) return std::nullopt;
    if (type() == Type::kNumber) {
        const auto number = port();
        return number ? std::optional(model::PortRef{*number, {}}) : std::nullopt;
    }
    const auto name = string();
    if (!name) return std::nullopt;
    if (const auto problem = port_name_problem(*name)) {
        error("\"{}\" is no port name: {}", *name, *problem);
        return std::nullopt;
    }
    return model::PortRef{0, report_->pool().intern(*name)};
}

bool Cursor::require() const {
    if (present()) return true;
    error("is required");
    return false;
}

uint32_t Cursor::line() const {
    return tree_->node(node_ == Tree::kNone ? parent_ : node_).line;
}

std::string Cursor::path() const {
    if (node_ != Tree::kNone) return tree_->path(node_, root_);
    const std::string parent = tree_->path(parent_, root_);
    if (missing_.empty()) return parent;
    if (missing_.find('/') != std::string_view::npos)
        return fmt::format("{}[{}]", parent, missing_);
    return parent.empty() ? std::string(missing_) : fmt::format("{}.{}", parent, missing_);
}

void Cursor::add_error(std::string message) const {
    if (!told_) report_->add({line(), path(), std::move(message)});
}

void Cursor::wrong_type(std::string_view wanted) const {
    error("must be {}, not {}", wanted, describe(type()));
}

}  // namespace weir::kube
