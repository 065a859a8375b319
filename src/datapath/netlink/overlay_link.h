// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/result.h"
#include "datapath/netlink/message.h"
#include "datapath/netlink/objects.h"
#include "datapath/netlink/pod_link.h"
#include "datapath/netlink/socket.h"

namespace weir::netlink {

/// The VXLAN device over which pods of other nodes are reached, as wanted. It has no address, no
/// neighbours and no far ends of its own: programs attached to it choose, and check, each packet's.
struct OverlaySpec {
    uint16_t port = 0;  ///< UDP, the same on all nodes
    uint32_t mtu = 0;   ///< what the links between nodes carry, less the outer headers
    MacAddress mac{};   ///< the same on all nodes
    /// The index of the device that programs are attached to: only that one is brought up, so that
    /// no packet passes without them. One that has to be made anew gets it if it can, and is down
    /// until the next time.
    uint32_t served = 0;
    bool operator==(const OverlaySpec&) const = default;
};

/// As it is after ensure_overlay().
struct OverlayState {
    uint32_t ifindex = 0;
    bool created = false;  ///< programs on the one of before are gone with it
    bool up = false;       ///< routes can lead over it
};

/// Makes it so; `repaired` says what had to be done. kExists: a foreign interface has the name, or
/// another VXLAN device the port.
Result<OverlayState> ensure_overlay(Socket& socket, const OverlaySpec& spec,
                                    std::vector<Problem>& repaired);
/// Removes it, if it is there and Weir's. True: it was.
Result<bool> remove_overlay(Socket& socket);

/// The link of this name; none: there is none.
Result<std::optional<Link>> find_link(Socket& socket, std::string_view name);
/// Packets that have come in by the link of this name since it was made; 0: there is none.
Result<uint64_t> packets_received(Socket& socket, std::string_view link);

}  // namespace weir::netlink
