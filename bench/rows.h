// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace weir::bench {

/// Value at `q` (0 to 1) of the samples, which are not empty.
inline double quantile(std::vector<double> samples, double q) {
    std::ranges::sort(samples);
    const auto at = static_cast<size_t>(q * static_cast<double>(samples.size()));
    return samples[std::min(samples.size() - 1, at)];
}

/// One line of a benchmark's table; bench/lib/report.py prints it. Texts contain nothing that JSON
/// would escape.
struct Row {
    std::string kind;
    std::string name;
    std::string unit;
    std::vector<double> samples;
    std::string against;         ///< the baseline; empty: none
    std::vector<double> ratios;  ///< to the baseline, one a round
    std::string aim;
    std::optional<bool> met;  ///< absent: no aim
    std::string note;
};

inline std::string spread_json(std::string_view name, const std::vector<double>& samples) {
    const std::string prefix = name == "median" ? "" : fmt::format("{}_", name);
    if (samples.empty()) {
        return fmt::format(R"("{0}": null, "{1}p10": null, "{1}p90": null)", name, prefix);
    }
    return fmt::format(R"("{0}": {2:.6g}, "{1}p10": {3:.6g}, "{1}p90": {4:.6g})", name, prefix,
                       quantile(samples, 0.5), quantile(samples, 0.1), quantile(samples, 0.9));
}

/// The row as one line of JSON on standard output.
inline void print(const Row& row) {
    const std::string against = row.against.empty() ? "null" : fmt::format("\"{}\"", row.against);
    const char* met = !row.met ? "null" : *row.met ? "true" : "false";
    fmt::print(R"({{"kind": "{}", "row": "{}", "unit": "{}", {}, "against": {}, {}, )"
               R"("aim": "{}", "met": {}, "note": "{}"}})"
               "\n",
               row.kind, row.name, row.unit, spread_json("median", row.samples), against,
               spread_json("ratio", row.ratios), row.aim, met, row.note);
    std::fflush(stdout);
}

}  // namespace weir::bench
