// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace boost::json {
class value;
}

namespace weir::cli {

enum class Format : unsigned char { kTable, kWide, kJson, kYaml, kName };

/// Of every command that shows something.
struct OutputOptions {
    std::string format = "table";
    bool no_headers = false;
    [[nodiscard]] Format parsed() const;
};

/// Columns for people: upper-case headers, three spaces between, no borders, no trailing blanks.
class Table {
  public:
    struct Column {
        std::string header;
        bool wide = false;   ///< only with -o wide
        bool right = false;  ///< numbers
    };
    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
    /// One cell for each column. An empty cell is shown as "-"; control characters as "?".
    void add(std::vector<std::string> cells);
    [[nodiscard]] std::string text(const OutputOptions& options) const;
    [[nodiscard]] bool empty() const { return rows_.empty(); }

  private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

/// YAML of a JSON value, block style, strings quoted where a reader might take them for something
/// else.
std::string to_yaml(const boost::json::value& value);
/// JSON with two spaces of indentation.
std::string to_pretty_json(const boost::json::value& value);

/// "5s", "12m", "3h20m", "4d": at most two units.
std::string duration_text(double seconds);
/// Since an RFC 3339 time; "" if it cannot be read.
std::string age_text(const std::string& since, int64_t now_seconds);
/// "1.5 MiB".
std::string bytes_text(uint64_t bytes);
std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// Writes to standard output; a closed pipe is the normal end of `weir … | head`.
void print(std::string_view text);
/// "weir: …" on standard error.
void complain(std::string_view text);
/// Standard output is a terminal and NO_COLOR is not set.
bool use_color();

}  // namespace weir::cli
