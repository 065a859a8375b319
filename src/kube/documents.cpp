// SPDX-License-Identifier: Apache-2.0
#include "kube/documents.h"

#include <algorithm>

#include "kube/json_parser.h"
#include "kube/yaml_parser.h"

namespace weir::kube {
namespace {

using Take = std::function<void(tl::expected<Tree, SyntaxError>)>;

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

/// A line that starts a document: in column 0 "---" means nothing else in YAML, and JSON cannot
/// have it.
bool is_separator(std::string_view line) {
    return line.starts_with("---") && (line.size() == 3 || line[3] == ' ' || line[3] == '\t' ||
                                       line[3] == '\r' || line[3] == '\n');
}

/// Nothing but blank lines, comments and directives.
bool is_blank(std::string_view part) {
    while (!part.empty()) {
        const size_t size = std::min(part.find('\n'), part.size() - 1) + 1;
        const std::string_view line = part.substr(0, size);
        const size_t first = line.find_first_not_of(" \t\r\n");
        const bool directive = line.front() == '%';
        if (first != std::string_view::npos && line[first] != '#' && !directive) return false;
        part.remove_prefix(size);
    }
    return true;
}

/// Within the text, not at its end.
uint32_t line_breaks(std::string_view part) {
    if (part.ends_with('\n')) part.remove_suffix(1);
    return static_cast<uint32_t>(std::ranges::count(part, '\n'));
}

bool looks_like_json(std::string_view part) {
    const size_t first = part.find_first_not_of(" \t\r\n");
    return first != std::string_view::npos && part[first] == '{';
}

void take_if_any(Tree tree, const Take& take) {
    if (tree.empty() || tree.node(0).type == Tree::Type::kNull) return;
    take(std::move(tree));
}

void parse_part(std::string_view part, uint32_t first_line, const Take& take) {
    if (is_blank(part)) return;
    const auto pass = [&take](Tree tree) { take_if_any(std::move(tree), take); };
    const auto refuse = [&](SyntaxError error) {
        // A parser may place a text that ends too early on the line after it.
        error.line = std::min(error.line, first_line + line_breaks(part));
        take(tl::unexpected(std::move(error)));
    };
    if (!looks_like_json(part)) {
        if (auto error = parse_yaml(part, first_line, pass)) refuse(*error);
        return;
    }
    size_t taken = 0;
    const auto count = [&](Tree tree) {
        ++taken;
        pass(std::move(tree));
    };
    const auto json_error = parse_json(part, first_line, count);
    if (!json_error) return;
    // What JSON refuses may still be a YAML flow mapping; the first mistake is the better report.
    if (taken > 0 || parse_yaml(part, first_line, pass)) refuse(*json_error);
}

}  // namespace

void for_each_document(std::string_view text, const Take& take) {
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    uint32_t line = 1;
    uint32_t part_line = 1;
    size_t part_at = 0;
    if (!valid_utf8(text)) return take(tl::unexpected(SyntaxError{1, "not UTF-8 text"}));
    for (size_t at = 0; at < text.size(); ++line) {
        const size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
        if (is_separator(text.substr(at, end - at)) && at > part_at) {
            parse_part(text.substr(part_at, at - part_at), part_line, take);
            part_at = at;
            part_line = line;
        }
        at = end;
    }
    parse_part(text.substr(part_at), part_line, take);
}

}  // namespace weir::kube
