// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "datapath/netlink/pod_link.h"
#include "ipam/pools.h"

/// From the records of pods to their links and back.
namespace weir::agent {

/// How a pod's link is made. `endpoint` is what its programs read from the classid.
netlink::PodLinkSpec pod_link_spec(const ipam::Record& record, uint32_t endpoint, uint32_t mtu);

/// The attachment's link is on this host, complete or not yet.
Result<bool> pod_link_exists(const ipam::AttachmentKey& key);

/// Every pod's link on this host, with the addresses that are routed to it. Links whose making was
/// interrupted before they were marked belong to nobody and are removed: call it while no link is
/// being made.
Result<std::vector<ipam::Found>> found_pods(const netlink::PodLinks& links);

}  // namespace weir::agent
