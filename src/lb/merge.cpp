// SPDX-License-Identifier: Apache-2.0
#include "lb/merge.h"

#include <algorithm>
#include <tuple>

namespace weir::lb {
namespace {

struct Candidate {
    MergedEndpoint endpoint;
    const model::EndpointSlice* slice;
};

/// Candidates with the same address and port: the better one first.
bool better(const Candidate& a, const Candidate& b) {
    const auto rank = [](const Candidate& c) {
        const model::Endpoint& e = *c.endpoint.origin;
        return std::make_tuple(!e.terminating, e.ready, e.serving, c.endpoint.local);
    };
    if (rank(a) != rank(b)) return rank(a) > rank(b);
    if (a.slice->meta.created != b.slice->meta.created) {
        return a.slice->meta.created > b.slice->meta.created;
    }
    return a.slice->meta.name < b.slice->meta.name;
}

bool before(const Candidate& a, const Candidate& b) {
    if (a.endpoint.backend != b.endpoint.backend) return a.endpoint.backend < b.endpoint.backend;
    return better(a, b);
}

bool taken(const model::EndpointSlice& slice, const model::Endpoint& endpoint) {
    return endpoint.address.family() == slice.family && !unusable(endpoint.address);
}

void collect(const model::EndpointSlice& slice, uint16_t port, const model::Text& node_name,
             std::vector<Candidate>& out) {
    for (const model::Endpoint& endpoint : slice.endpoints) {
        if (!taken(slice, endpoint)) continue;
        const bool local = !node_name.empty() && endpoint.node_name == node_name;
        out.push_back({.endpoint = {.backend = {.address = endpoint.address, .port = port},
                                    .local = local,
                                    .origin = &endpoint},
                       .slice = &slice});
    }
}

}  // namespace

std::optional<std::string_view> unusable(const IpAddress& address) {
    if (address.is_unspecified()) return "unspecified";
    if (address.is_loopback()) return "loopback";
    if (address.is_link_local()) return "link-local";
    if (address.is_multicast()) return "multicast";
    return std::nullopt;
}

std::vector<MergedEndpoint> merge_endpoints(Slices slices, const PortName& port,
                                            const model::Text& node_name) {
    std::vector<Candidate> candidates;
    for (const model::EndpointSlice* slice : slices) {
        if (slice->family != port.family) continue;
        for (const model::EndpointPort& offered : slice->ports) {
            if (offered.port == 0 || offered.name != port.port ||
                offered.protocol != port.protocol) {
                continue;
            }
            collect(*slice, offered.port, node_name, candidates);
        }
    }
    std::ranges::sort(candidates, before);
    std::vector<MergedEndpoint> merged;
    merged.reserve(candidates.size());
    for (const Candidate& candidate : candidates) {
        if (!merged.empty() && merged.back().backend == candidate.endpoint.backend) continue;
        merged.push_back(candidate.endpoint);
    }
    return merged;
}

std::vector<std::string> endpoint_warnings(Slices slices) {
    std::vector<std::string> warnings;
    for (const model::EndpointSlice* slice : slices) {
        for (const model::Endpoint& endpoint : slice->endpoints) {
            if (taken(*slice, endpoint)) continue;
            const auto why = unusable(endpoint.address);
            warnings.push_back(fmt::format(
                "EndpointSlice {}: endpoint {} is ignored: {}", slice->meta.name.to_string(),
                endpoint.address.to_string(), why ? *why : "not of the slice's addressType"));
        }
    }
    return warnings;
}

}  // namespace weir::lb
