// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/ip.h"
#include "common/result.h"
#include "datapath/netlink/message.h"
#include "datapath/netlink/overlay_link.h"
#include "datapath/netlink/pod_link.h"
#include "datapath/netlink/sysctl.h"

namespace weir::netlink {

/// Pods of another node.
struct PeerRoute {
    IpPrefix pods;
    IpAddress via;         ///< the other node, which shares a link with this one; or as below
    uint32_t ifindex = 0;  ///< of the link; 0: by the overlay, for which any next hop will do
    auto operator<=>(const PeerRoute&) const = default;
};

/// What the host's own link looks like. docs/host-network.md says why each part is there.
struct HostLinkSpec {
    std::vector<IpPrefix> pod_ranges;      ///< of this node
    std::vector<IpPrefix> service_ranges;  ///< routed to weir0
    /// No range twice. None: not known yet, what is there stays.
    std::optional<std::vector<PeerRoute>> peers;
    /// None: there is none, and what is there goes as soon as `peers` are known not to need it.
    std::optional<OverlaySpec> overlay;
    /// By family_index(): source of connections to Services where the process chose none.
    std::array<std::optional<IpAddress>, 2> node_address;
    /// The same as the host side of every pod's veth: a frame redirected from there is accepted.
    MacAddress mac{};
    uint32_t mtu = 1500;
};

/// The address weir0 has in a node's pod range: the one after the network's own. No pod gets it.
IpAddress router_address(const IpPrefix& pod_range);

struct HostLinkState {
    uint32_t ifindex = 0;  ///< of weir0
    bool created = false;  ///< programs on the link of before are gone with it
    OverlayState overlay;  ///< index 0: there is none
    std::vector<Problem> repaired;
    /// A device is there whose programs have to be attached.
    [[nodiscard]] bool anew() const { return created || overlay.created; }
};

/// weir0 with its addresses, routes and settings, the overlay's device, the routes for pods that
/// are not there, and those to pods of other nodes. Not thread-safe.
class HostLink {
  public:
    /// `journal` outlives this object.
    explicit HostLink(SysctlJournal& journal) : journal_(journal) {}

    /// Makes it so, and says what had to be done. What nobody touched stays untouched. kExists: a
    /// foreign interface has the name weir0 or weir1.
    Result<HostLinkState> ensure(const HostLinkSpec& spec);
    /// Removes the pair, the overlay's device and all routes of ours that are not pods'.
    Result<void> remove();

  private:
    SysctlJournal& journal_;
};

}  // namespace weir::netlink
