// SPDX-License-Identifier: Apache-2.0
#include "agent/peer_routes.h"

#include <algorithm>
#include <map>
#include <optional>

namespace weir::agent {
namespace {

bool overlap(const IpPrefix& a, const IpPrefix& b) {
    return a.family() == b.family() && (a.contains(b.address()) || b.contains(a.address()));
}

bool is_usable(const netlink::Address& own) {
    return !own.address.is_loopback() && !own.address.is_link_local();
}

/// The link on which both this host and `other` are.
std::optional<uint32_t> shared_link(const IpAddress& other,
                                    const std::vector<netlink::Address>& addresses) {
    for (const netlink::Address& own : addresses) {
        if (!is_usable(own) || own.address.family() != other.family() || own.address == other) {
            continue;
        }
        const auto link = IpPrefix::make(own.address, own.length);
        if (link && link->contains(other)) return own.ifindex;
    }
    return std::nullopt;
}

/// One node's pod ranges, one after the other.
class Collector {
  public:
    Collector(const std::vector<netlink::Address>& addresses,
              const std::vector<IpPrefix>& own_ranges)
        : addresses_(addresses), own_ranges_(own_ranges) {}

    void add(const model::Node& node, const IpPrefix& range) {
        if (const auto why = trouble(range)) {
            out_.refused.push_back(fmt::format("Node {}: pod range {} {}", node.meta.name.name,
                                               range.to_string(), *why));
            return;
        }
        for (const IpAddress& address : node.internal_ips) {
            if (address.family() != range.family()) continue;
            if (const auto link = shared_link(address, addresses_)) {
                taken_.emplace(range.address(), range);
                out_.routes.push_back({.pods = range, .via = address, .ifindex = *link});
                return;
            }
        }
        ++out_.elsewhere;
    }

    PeerRoutes take() && {
        std::ranges::sort(out_.routes);
        return std::move(out_);
    }

  private:
    [[nodiscard]] std::optional<std::string> trouble(const IpPrefix& range) const {
        for (const IpPrefix& own : own_ranges_) {
            if (overlap(range, own)) return "overlaps this node's " + own.to_string();
        }
        for (const netlink::Address& own : addresses_) {
            if (is_usable(own) && range.contains(own.address) && !in_own_range(own.address)) {
                return "holds an address of this host, " + own.address.to_string();
            }
        }
        // Ranges that do not overlap are in the order of their addresses.
        const auto after = taken_.upper_bound(range.address());
        if (after != taken_.end() && overlap(range, after->second)) {
            return "overlaps " + after->second.to_string() + " of another Node";
        }
        if (after != taken_.begin() && overlap(range, std::prev(after)->second)) {
            return "overlaps " + std::prev(after)->second.to_string() + " of another Node";
        }
        return std::nullopt;
    }
    [[nodiscard]] bool in_own_range(const IpAddress& address) const {
        return std::ranges::any_of(own_ranges_,
                                   [&](const IpPrefix& range) { return range.contains(address); });
    }

    const std::vector<netlink::Address>& addresses_;
    const std::vector<IpPrefix>& own_ranges_;
    std::map<IpAddress, IpPrefix> taken_;
    PeerRoutes out_;
};

}  // namespace

PeerRoutes peer_routes(const std::vector<const model::Node*>& others,
                       const std::vector<netlink::Address>& addresses,
                       const std::vector<IpPrefix>& own_ranges) {
    Collector collector(addresses, own_ranges);
    for (const model::Node* node : others) {
        for (const IpPrefix& range : node->pod_cidrs)
            collector.add(*node, range);
    }
    return std::move(collector).take();
}

}  // namespace weir::agent
