// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <vector>

#include "datapath/netlink/netns.h"
#include "datapath/netlink/pod_link.h"

namespace weir::bench {

/// What pod number `n` (from 1) is given.
netlink::PodLinkSpec pod_spec(unsigned n);

/// The least that gives a pod an interface with its addresses: a veth pair, both ends up, the
/// addresses; no routes, neighbours or programs.
Result<void> create_bare(const netlink::HomeNetNs& home, const netlink::NetNs& ns,
                         const netlink::PodLinkSpec& spec);

/// Milliseconds of each of `count` calls made at once, a thread each.
std::vector<double> burst(size_t count, const std::function<void(size_t)>& call);

}  // namespace weir::bench
