// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <vector>

#include "lb/planner.h"

namespace weir::lb {

/// A pod of this node that ports of the host lead to.
struct HostPortPod {
    model::ObjectName name;
    std::vector<IpAddress> addresses;
    std::vector<model::HostPort> ports;
};

/// One plan for each port and family, as of a NodePort with one endpoint. Against a Service that
/// claims the same address and port it loses.
std::vector<ServicePortPlan> compile_host_ports(const HostPortPod& pod);

/// Turns the pods of now into changed ports. One thread.
class HostPortPlanner {
  public:
    /// `pods` are all that have host ports; of two of one name, which are the former and the new
    /// sandbox of one pod, the later in the list counts.
    [[nodiscard]] Changes update(const std::vector<HostPortPod>& pods);

  private:
    std::set<uint64_t> ids_;
};

}  // namespace weir::lb
