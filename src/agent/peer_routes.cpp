// SPDX-License-Identifier: Apache-2.0
#include "agent/peer_routes.h"

#include <algorithm>
#include <map>
#include <optional>

#include "agent/pod_wirer.h"

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

/// What both ends of an outer packet have.
struct Ends {
    IpAddress outer;  ///< the other node's
    IpAddress local;  ///< this node's; unspecified: the kernel's choice
};

const IpAddress* first_of(const std::vector<IpAddress>& addresses, Family family) {
    const auto at = std::ranges::find(addresses, family, &IpAddress::family);
    return at == addresses.end() ? nullptr : &*at;
}

/// One node's pod ranges, one after the other.
class Collector {
  public:
    Collector(const OwnSide& own, Routing routing) : own_(own), routing_(routing) {}

    void add(const model::Node& node) {
        const auto ends = ends_to(node);
        const size_t before = out_.routes.size();
        for (const IpPrefix& range : node.pod_cidrs)
            add_range(node, range, ends);
        if (out_.routes.size() > before) ++out_.nodes;
        if (ends) own_addresses(node, *ends);
    }

    PeerRoutes take() && {
        std::ranges::sort(out_.routes);
        return std::move(out_);
    }

  private:
    using Why = RefusedRange::Why;
    struct Trouble {
        Why why;
        std::string text;
    };

    void add_range(const model::Node& node, const IpPrefix& range,
                   const std::optional<Ends>& ends) {
        const auto refuse = [&](const Trouble& trouble) {
            out_.refused.push_back(
                {.node = node.meta.name.name.str(),
                 .text = fmt::format("pod range {} {}", range.to_string(), trouble.text),
                 .why = trouble.why});
        };
        if (const auto trouble = trouble_of(range)) return refuse(*trouble);
        const auto native = routing_ == Routing::kVxlan ? std::nullopt : native_route(node, range);
        if (native) {
            out_.routes.push_back(*native);
        } else if (routing_ == Routing::kNative) {
            out_.elsewhere.push_back(
                fmt::format("Node {}: {}", node.meta.name.name, range.to_string()));
        } else if (!ends) {
            return refuse({Why::kUnreachable,
                           "cannot be reached: the Node has no address of a family of this node's, "
                           "or this node's own"});
        } else {
            out_.routes.push_back({.pods = range, .via = pod_gateway(range.family())});
            out_.outer_ipv6 = out_.outer_ipv6 || !ends->outer.is_v4();
            ++out_.overlay;
        }
        taken_.emplace(range.address(), Taken{range, node.meta.name.name.str()});
        if (ends) out_.peers[range] = {.outer = ends->outer, .local = ends->local};
    }

    [[nodiscard]] std::optional<netlink::PeerRoute> native_route(const model::Node& node,
                                                                 const IpPrefix& range) const {
        for (const IpAddress& address : node.internal_ips) {
            if (address.family() != range.family()) continue;
            if (const auto link = shared_link(address, own_.addresses)) {
                return netlink::PeerRoute{.pods = range, .via = address, .ifindex = *link};
            }
        }
        return std::nullopt;
    }

    /// Both nodes come to the same answer, each from the Nodes alone: what one sends from is what
    /// the other expects.
    [[nodiscard]] std::optional<Ends> ends_to(const model::Node& node) const {
        for (const Family family : {Family::kIpv4, Family::kIpv6}) {
            const IpAddress* const outer = first_of(node.internal_ips, family);
            if (outer == nullptr || !has(family)) continue;
            if (is_here(*outer)) return std::nullopt;
            const IpAddress* const local = first_of(own_.node_addresses, family);
            const bool usable = local != nullptr && is_here(*local);
            return Ends{.outer = *outer, .local = usable ? *local : IpAddress()};
        }
        return std::nullopt;
    }
    /// Without a Node object the links say what this node has.
    [[nodiscard]] bool has(Family family) const {
        if (!own_.node_addresses.empty()) return first_of(own_.node_addresses, family) != nullptr;
        return std::ranges::any_of(own_.addresses, [family](const netlink::Address& own) {
            return is_usable(own) && own.address.family() == family;
        });
    }
    [[nodiscard]] bool is_here(const IpAddress& address) const {
        return std::ranges::find(own_.addresses, address, &netlink::Address::address) !=
               own_.addresses.end();
    }

    /// Its host's processes may send from these.
    void own_addresses(const model::Node& node, const Ends& ends) {
        for (const IpAddress& address : node.internal_ips) {
            if (is_here(address)) continue;
            const auto prefix = IpPrefix::make(address, address.is_v4() ? 32 : 128);
            if (prefix) {
                out_.peers.try_emplace(
                    *prefix,
                    datapath::Peer{.outer = ends.outer, .local = ends.local, .is_node = true});
            }
        }
    }

    /// Said as every node would say it, where all find it.
    static Trouble overlaps(const IpPrefix& other, const std::string& node) {
        return {Why::kOverlap, fmt::format("overlaps {} of Node {}", other.to_string(), node)};
    }
    [[nodiscard]] std::optional<Trouble> trouble_of(const IpPrefix& range) const {
        for (const IpPrefix& own : own_.ranges) {
            if (overlap(range, own)) return overlaps(own, own_.name);
        }
        for (const netlink::Address& own : own_.addresses) {
            if (is_usable(own) && range.contains(own.address) && !in_own_range(own.address)) {
                return Trouble{Why::kHostAddress,
                               "holds an address of this host, " + own.address.to_string()};
            }
        }
        // Ranges that do not overlap are in the order of their addresses.
        const auto after = taken_.upper_bound(range.address());
        for (const auto& at : {after, after == taken_.begin() ? after : std::prev(after)}) {
            if (at != taken_.end() && overlap(range, at->second.range)) {
                return overlaps(at->second.range, at->second.node);
            }
        }
        return std::nullopt;
    }
    [[nodiscard]] bool in_own_range(const IpAddress& address) const {
        return std::ranges::any_of(own_.ranges,
                                   [&](const IpPrefix& range) { return range.contains(address); });
    }

    const OwnSide& own_;
    Routing routing_;
    struct Taken {
        IpPrefix range;
        std::string node;
    };
    std::map<IpAddress, Taken> taken_;
    PeerRoutes out_;
};

}  // namespace

PeerRoutes peer_routes(const std::vector<const model::Node*>& others, const OwnSide& own,
                       Routing routing) {
    Collector collector(own, routing);
    for (const model::Node* node : others)
        collector.add(*node);
    return std::move(collector).take();
}

}  // namespace weir::agent
