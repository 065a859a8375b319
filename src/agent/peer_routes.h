// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agent/config.h"
#include "datapath/host_tables.h"
#include "datapath/netlink/host_link.h"
#include "datapath/netlink/objects.h"
#include "model/types.h"

namespace weir::agent {

/// What this node is to the others.
struct OwnSide {
    std::string name;                         ///< its Node's
    std::vector<IpPrefix> ranges;             ///< its pods'
    std::vector<IpAddress> node_addresses;    ///< as its Node says
    std::vector<netlink::Address> addresses;  ///< as its links have them
};

/// A Node's range that this node does not use, and why.
struct RefusedRange {
    enum class Why : uint8_t {
        kOverlap,      ///< with another Node's: all nodes find that
        kHostAddress,  ///< this host has an address in it
        kUnreachable,  ///< the overlay cannot lead there from here
    };
    std::string node;
    std::string text;
    Why why = Why::kOverlap;
    bool operator==(const RefusedRange&) const = default;
};

/// How this node reaches pods of the others.
struct PeerRoutes {
    std::vector<netlink::PeerRoute> routes;  ///< by range
    /// Who owns what, whichever way it is reached: while nodes change over from one way to the
    /// other, packets may come by both.
    datapath::Peers peers;
    size_t nodes = 0;    ///< whose ranges are in `routes`
    size_t overlay = 0;  ///< of `routes`
    /// Some peer takes encapsulated packets by IPv6 only, whose headers are larger.
    bool outer_ipv6 = false;
    std::vector<std::string> elsewhere;  ///< ranges of nodes beyond a router: the fabric's to route
    std::vector<RefusedRange> refused;   ///< cannot be as their Node says
    bool operator==(const PeerRoutes&) const = default;
};

/// A route for each pod range of each node in `others`: over that node's address of the range's
/// family within one of this host's networks, or by the overlay, as `routing` says. The outer
/// family is IPv4 where both nodes have it. Ranges that overlap this node's, an address of it or a
/// range met before are refused.
PeerRoutes peer_routes(const std::vector<const model::Node*>& others, const OwnSide& own,
                       Routing routing);

}  // namespace weir::agent
