// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "agent/api_types.h"
#include "agent/config.h"

namespace weir::agent {

/// What of others was found on this host that people should know of: another network's
/// interfaces and configurations, and a firewall that has to admit what Weir needs. Nothing is
/// changed. On the agent's loop, in the host's namespace.
class HostFindings {
  public:
    explicit HostFindings(const Config& config) : config_(config) {}

    /// Looks again, and logs what is new. Some milliseconds; more where nftables has tens of
    /// thousands of chains.
    void look();
    [[nodiscard]] const std::vector<api::Finding>& list() const { return found_; }

  private:
    const Config& config_;
    std::vector<api::Finding> found_;
};

}  // namespace weir::agent
