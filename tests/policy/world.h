// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/cluster_policy.h"
#include "model/types.h"

namespace weir::policy::test {

/// A pod of this node as the agent knows it: what it is called, and the addresses it was given.
struct LocalPod {
    model::ObjectName pod;
    std::vector<IpAddress> addresses;
    bool operator==(const LocalPod&) const = default;
};

/// A whole cluster, and which of its pods are on this node.
struct World {
    std::map<model::ObjectName, model::Pod> pods;
    std::map<model::ObjectName, model::Namespace> namespaces;
    std::map<model::ObjectName, model::Node> nodes;
    std::map<model::ObjectName, model::NetworkPolicy> network_policies;
    std::map<model::ObjectName, model::ClusterNetworkPolicy> cluster_policies;
    std::map<uint32_t, LocalPod> local;  ///< by endpoint id
};

}  // namespace weir::policy::test
