// SPDX-License-Identifier: Apache-2.0
#include "lb/categorize.h"

#include <algorithm>

namespace weir::lb {
namespace {

enum class Topology : uint8_t { kAll, kSameNode, kSameZone };

bool contains(const model::List<model::Text>& hints, const model::Text& wanted) {
    return std::ranges::find(hints, wanted) != hints.end();
}

bool is_ready(const MergedEndpoint& endpoint) {
    return endpoint.origin->ready;
}

bool is_fallback(const MergedEndpoint& endpoint) {
    return endpoint.origin->serving && endpoint.origin->terminating;
}

/// Hints count only if every ready endpoint has them and one is for us.
bool hints_apply(std::span<const MergedEndpoint> endpoints,
                 model::List<model::Text> model::Endpoint::* hints, const model::Text& ours) {
    if (ours.empty()) return false;
    bool found = false;
    for (const MergedEndpoint& endpoint : endpoints) {
        if (!is_ready(endpoint)) continue;
        const model::List<model::Text>& list = endpoint.origin->*hints;
        if (list.empty()) return false;
        found = found || contains(list, ours);
    }
    return found;
}

Topology topology_of(std::span<const MergedEndpoint> endpoints, const NodeContext& node) {
    if (hints_apply(endpoints, &model::Endpoint::node_hints, node.name)) return Topology::kSameNode;
    if (hints_apply(endpoints, &model::Endpoint::zone_hints, node.zone)) return Topology::kSameZone;
    return Topology::kAll;
}

bool available(const MergedEndpoint& endpoint, Topology topology, const NodeContext& node) {
    switch (topology) {
        case Topology::kSameNode:
            return contains(endpoint.origin->node_hints, node.name);
        case Topology::kSameZone:
            return contains(endpoint.origin->zone_hints, node.zone);
        case Topology::kAll:
            break;
    }
    return true;
}

template <typename Wanted>
std::vector<PlanBackend> select(std::span<const MergedEndpoint> endpoints, Wanted wanted) {
    std::vector<PlanBackend> selected;
    for (const MergedEndpoint& endpoint : endpoints) {
        if (wanted(endpoint)) selected.push_back(endpoint.backend);
    }
    return selected;
}

}  // namespace

NodeContext node_context(const model::Node& node) {
    const auto zone = node.meta.labels.find("topology.kubernetes.io/zone");
    return {.name = node.meta.name.name,
            .zone = zone != node.meta.labels.end() ? zone->second : model::Text(),
            .addresses = {node.internal_ips.begin(), node.internal_ips.end()}};
}

Categories categorize(std::span<const MergedEndpoint> endpoints, const NodeContext& node,
                      ScopesUsed used) {
    Categories out;
    out.any = std::ranges::any_of(
        endpoints, [](const MergedEndpoint& e) { return is_ready(e) || is_fallback(e); });
    if (used.cluster) {
        const Topology topology = topology_of(endpoints, node);
        auto& cluster = out.backends[WEIR_SCOPE_CLUSTER];
        cluster = select(endpoints, [&](const MergedEndpoint& e) {
            return is_ready(e) && available(e, topology, node);
        });
        if (cluster.empty()) cluster = select(endpoints, is_fallback);
    }
    if (used.local) {
        auto& local = out.backends[WEIR_SCOPE_LOCAL];
        local = select(endpoints, [](const MergedEndpoint& e) { return e.local && is_ready(e); });
        if (local.empty()) {
            local = select(endpoints,
                           [](const MergedEndpoint& e) { return e.local && is_fallback(e); });
        }
    }
    return out;
}

}  // namespace weir::lb
