// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>

#include "common/ip.h"
#include "common/result.h"
#include "datapath/maps.h"

/// Small tables about this host, brought to a desired state by difference: additions and changes
/// first, removals last.
namespace weir::datapath {

/// What a sync did.
struct SyncCount {
    size_t written = 0;
    size_t removed = 0;
};

/// Flags: enum weir_node_addr_flags.
Result<SyncCount> sync_node_addresses(const Tables& tables,
                                      const std::map<IpAddress, uint32_t>& desired);

/// Flags: enum weir_cidr_flags.
Result<SyncCount> sync_cidrs(const Tables& tables, const std::map<IpPrefix, uint32_t>& desired);

/// Another node as encapsulated packets know it (weir_peer).
struct Peer {
    IpAddress outer;
    IpAddress local;       ///< unspecified: the kernel's choice
    bool is_node = false;  ///< the prefix is an address of the node itself
    bool operator==(const Peer&) const = default;
};
/// By what they own: pod ranges and addresses.
using Peers = std::map<IpPrefix, Peer>;

/// Other nodes.
Result<SyncCount> sync_peers(const Tables& tables, const Peers& desired);

/// External devices and weir0 by ifindex; those of pods are left alone (endpoint_table.h).
Result<SyncCount> sync_devices(const Tables& tables,
                               const std::map<uint32_t, weir_device>& desired);

/// The host's own network namespace in the socket hooks' table; 0 removes it.
Result<void> set_host_netns(const Tables& tables, uint64_t cookie);

}  // namespace weir::datapath
