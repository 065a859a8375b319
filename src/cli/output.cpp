// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <unistd.h>

#include <boost/json.hpp>

#include "common/rfc3339.h"

namespace weir::cli {
namespace {

namespace json = boost::json;

constexpr std::string_view kGutter = "   ";

// Columns a terminal needs for UTF-8 text: one for each code point, close enough for names.
size_t width_of(std::string_view text) {
    return static_cast<size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string printable(std::string text) {
    for (char& c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    return text.empty() ? "-" : text;
}

// A plain YAML scalar that no reader takes for anything but this string.
bool is_plain(std::string_view text) {
    static constexpr std::string_view kWords[] = {"true", "false", "null", "yes", "no",  "on",
                                                  "off",  "y",     "n",    "~",   "nan", "inf"};
    if (text.empty()) return false;
    const auto first = static_cast<unsigned char>(text.front());
    if (std::isalpha(first) == 0 && text.front() != '/') return false;
    const bool safe = std::ranges::all_of(text, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '/';
    });
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    return safe && std::ranges::find(kWords, lower) == std::end(kWords);
}

std::string scalar(const json::value& value) {
    if (!value.is_string()) return json::serialize(value);
    const std::string_view text(value.get_string().data(), value.get_string().size());
    return is_plain(text) ? std::string(text) : json::serialize(value);
}

std::string key_text(std::string_view key) {
    return scalar(json::value(json::string(key)));
}

bool is_block(const json::value& value) {
    return (value.is_object() && !value.get_object().empty()) ||
           (value.is_array() && !value.get_array().empty());
}

void write_yaml(std::string& out, const json::value& value, size_t indent, bool inline_first) {
    std::string margin(indent, ' ');
    bool first = inline_first;
    const auto begin_line = [&] {
        if (!std::exchange(first, false)) out += margin;
    };
    if (value.is_object()) {
        for (const auto& [key, element] : value.get_object()) {
            begin_line();
            out += key_text({key.data(), key.size()}) + ":";
            if (!is_block(element)) {
                out += " " + scalar(element) + "\n";
            } else {
                out += "\n";
                write_yaml(out, element, indent + (element.is_array() ? 0 : 2), false);
            }
        }
        return;
    }
    for (const auto& element : value.get_array()) {
        begin_line();
        out += "- ";
        if (is_block(element)) {
            write_yaml(out, element, indent + 2, true);
        } else {
            out += scalar(element) + "\n";
        }
    }
}

void write_json(std::string& out, const json::value& value, size_t indent) {
    const std::string margin(indent + 2, ' ');
    if (!is_block(value)) {
        out += json::serialize(value);
        return;
    }
    const bool object = value.is_object();
    const char* separator = "\n";
    out += object ? "{" : "[";
    const auto begin_element = [&] { out += std::exchange(separator, ",\n") + margin; };
    if (object) {
        for (const auto& [key, element] : value.get_object()) {
            begin_element();
            out += json::serialize(json::string(key)) + ": ";
            write_json(out, element, indent + 2);
        }
    } else {
        for (const auto& element : value.get_array()) {
            begin_element();
            write_json(out, element, indent + 2);
        }
    }
    out += "\n" + std::string(indent, ' ') + (object ? "}" : "]");
}

void append_cell(std::string& line, std::string_view cell, size_t width, bool right) {
    const std::string fill(width - width_of(cell), ' ');
    if (!line.empty()) line += kGutter;
    line += right ? fill : "";
    line += cell;
    line += right ? "" : fill;
}

}  // namespace

Format OutputOptions::parsed() const {
    if (format == "wide") return Format::kWide;
    if (format == "json") return Format::kJson;
    if (format == "yaml") return Format::kYaml;
    if (format == "name") return Format::kName;
    return Format::kTable;
}

void Table::add(std::vector<std::string> cells) {
    cells.resize(columns_.size());
    for (auto& cell : cells)
        cell = printable(std::move(cell));
    rows_.push_back(std::move(cells));
}

std::string Table::text(const OutputOptions& options) const {
    const bool wide = options.parsed() == Format::kWide;
    std::vector<size_t> widths(columns_.size());
    for (size_t i = 0; i < columns_.size(); ++i) {
        widths[i] = options.no_headers ? 0 : columns_[i].header.size();
        for (const auto& row : rows_)
            widths[i] = std::max(widths[i], width_of(row[i]));
    }
    std::string out;
    const auto add_line = [&](const auto& cell_at) {
        std::string line;
        for (size_t i = 0; i < columns_.size(); ++i) {
            if (columns_[i].wide && !wide) continue;
            append_cell(line, cell_at(i), widths[i], columns_[i].right);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    };
    if (!options.no_headers) {
        add_line([&](size_t i) -> const std::string& { return columns_[i].header; });
    }
    for (const auto& row : rows_) {
        add_line([&](size_t i) -> const std::string& { return row[i]; });
    }
    return out;
}

std::string to_yaml(const json::value& value) {
    if (!is_block(value)) return scalar(value) + "\n";
    std::string out;
    write_yaml(out, value, 0, false);
    return out;
}

std::string to_pretty_json(const json::value& value) {
    std::string out;
    write_json(out, value, 0);
    return out + "\n";
}

std::string duration_text(double seconds) {
    struct Unit {
        const char* name;
        int64_t seconds;
    };
    static constexpr Unit kUnits[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}};
    const auto total = static_cast<int64_t>(std::max(seconds, 0.0));
    for (size_t i = 0; i + 1 < std::size(kUnits); ++i) {
        const int64_t count = total / kUnits[i].seconds;
        if (count == 0) continue;
        const int64_t rest = total % kUnits[i].seconds / kUnits[i + 1].seconds;
        if (rest == 0 || count >= 10) return fmt::format("{}{}", count, kUnits[i].name);
        return fmt::format("{}{}{}{}", count, kUnits[i].name, rest, kUnits[i + 1].name);
    }
    return fmt::format("{}s", total);
}

std::string age_text(const std::string& since, int64_t now_seconds) {
    const auto time = parse_rfc3339(since);
    if (!time) return "";
    const auto begin = std::chrono::floor<std::chrono::seconds>(*time).time_since_epoch();
    return duration_text(static_cast<double>(now_seconds - begin.count()));
}

std::string bytes_text(uint64_t bytes) {
    static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) return fmt::format("{} B", bytes);
    auto amount = static_cast<double>(bytes) / 1024;
    size_t unit = 0;
    while (amount >= 1024 && unit + 1 < std::size(kUnits)) {
        amount /= 1024;
        ++unit;
    }
    return fmt::format("{:.1f} {}", amount, kUnits[unit]);
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
    std::string text;
    for (const auto& part : parts) {
        if (!text.empty()) text += separator;
        text += part;
    }
    return text;
}

void print(std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) std::_Exit(errno == EPIPE ? 0 : 1);
        text.remove_prefix(static_cast<size_t>(n));
    }
}

void complain(std::string_view text) {
    const std::string line = fmt::format("weir: {}\n", text);
    (void)!::write(STDERR_FILENO, line.data(), line.size());
}

bool use_color() {
    const char* no_color = std::getenv("NO_COLOR");
    return (no_color == nullptr || *no_color == '\0') && ::isatty(STDOUT_FILENO) == 1;
}

}  // namespace weir::cli
