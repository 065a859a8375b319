// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "lb/merge.h"

/// Which endpoints of a Service port serve which traffic, seen from this node.
namespace weir::lb {

struct NodeContext {
    model::Text name;
    model::Text zone;  ///< label topology.kubernetes.io/zone; empty: unknown
    /// The node's own addresses. Source ranges that hold one admit what this host sends.
    std::vector<IpAddress> addresses;
};
NodeContext node_context(const model::Node& node);

/// Which lists the Service's traffic policies need.
struct ScopesUsed {
    bool cluster = true;
    bool local = false;
};

struct Categories {
    /// By enum weir_extent_scope, in the order of the input.
    std::array<std::vector<PlanBackend>, WEIR_SCOPES> backends;
    /// A usable endpoint (ready, or serving while terminating) exists somewhere: an empty list then
    /// means drop, not refuse.
    bool any = false;
};

/// kube-proxy's rules: topology hints apply to the cluster list of ready endpoints only and only if
/// every ready endpoint has one; each list falls back on its own, as a whole, to endpoints that
/// serve while they terminate.
Categories categorize(std::span<const MergedEndpoint> endpoints, const NodeContext& node,
                      ScopesUsed used);

}  // namespace weir::lb
