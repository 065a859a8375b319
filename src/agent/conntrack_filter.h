// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/api_tables.h"
#include "common/result.h"

namespace weir::api {

/// The parameters of GET /v1/conntrack: pod, service, ip, port, protocol, state. Those of one key
/// are alternatives, different keys must all hold.
class ConntrackFilter {
  public:
    static Result<ConntrackFilter> parse(
        std::span<const std::pair<std::string, std::string>> params);
    [[nodiscard]] bool matches(const Conntrack& entry) const;

  private:
    using Test = std::function<bool(const Conntrack&)>;
    static Result<Test> parse_test(const std::string& key, const std::string& value);
    std::vector<std::pair<std::string, std::vector<Test>>> groups_;
};

}  // namespace weir::api
