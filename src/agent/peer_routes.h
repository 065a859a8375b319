// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "datapath/netlink/host_link.h"
#include "datapath/netlink/objects.h"
#include "model/types.h"

namespace weir::agent {

/// How this node reaches pods of the others.
struct PeerRoutes {
    std::vector<netlink::PeerRoute> routes;  ///< by range
    size_t elsewhere = 0;              ///< ranges of nodes beyond a router: the fabric's to route
    std::vector<std::string> refused;  ///< ranges that cannot be as their Node says, and why
    bool operator==(const PeerRoutes&) const = default;
};

/// A route for each pod range of each node in `others` that has an address of the range's family
/// within one of `addresses`, this host's own. Ranges that overlap `own_ranges`, an address of
/// `addresses` or a range met before are refused.
PeerRoutes peer_routes(const std::vector<const model::Node*>& others,
                       const std::vector<netlink::Address>& addresses,
                       const std::vector<IpPrefix>& own_ranges);

}  // namespace weir::agent
