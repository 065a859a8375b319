// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "flow/record.h"

namespace weir::flow {

/// One filter as given: {"from-pod", "shop/web-1"}. A key with "not-" in front excludes.
using FilterParam = std::pair<std::string, std::string>;

/// What a filter key takes, for help texts and for the parser.
struct FilterKey {
    const char* name;
    const char* value;
    const char* help;
};
/// verdict, from-pod, to-pod, pod, namespace, service, ip, port, protocol, reason.
std::span<const FilterKey> filter_keys();

/// Which records a reader wants. Conditions of one key are alternatives, different keys must all
/// hold; a record that meets any excluded condition is left out. Lost-records always pass.
class Filter {
  public:
    /// Everything passes.
    Filter() = default;
    /// Parsed once; errors name the key and what it takes. Keys that are not filters are an error.
    static Result<Filter> parse(std::span<const FilterParam> params);
    [[nodiscard]] bool matches(const Record& record) const;

  private:
    using Test = std::function<bool(const Record&)>;
    struct Group {
        std::string key;
        std::vector<Test> any_of;
    };
    static Result<Test> parse_test(const std::string& key, const std::string& value);

    std::vector<Group> required_;
    std::vector<Test> excluded_;
};

/// A reader's whole question: filters, and how far back.
struct Query {
    Filter filter;
    int64_t since_ns = 0;  ///< Unix time; 0: no limit
    size_t last = 0;       ///< newest records of the history; 0: all
    bool follow = false;

    /// Understands "since" (90s, 5m, 1h30m, or RFC 3339), "last", "follow" and every filter.
    /// `now_ns` is what "ago" counts from.
    static Result<Query> parse(std::span<const FilterParam> params, int64_t now_ns);
    [[nodiscard]] bool matches(const Record& record) const {
        return record.time_ns >= since_ns && filter.matches(record);
    }
};

/// "90s", "5m", "1h30m", "500ms", "2d" in nanoseconds.
Result<int64_t> parse_duration_ns(std::string_view text);

}  // namespace weir::flow
