// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "datapath/netlink/message.h"

/// How Weir's kernel objects are told from everybody else's.
namespace weir::netlink {

/// Routing protocol number of every route and neighbour of ours: `ip route show proto 87`.
inline constexpr uint8_t kRouteProtocol = 87;
/// Link group of every link of ours, set in the message that creates it ("weir" in ASCII):
/// `ip link show group 2003134834`.
inline constexpr uint32_t kLinkGroup = 0x77656972;
/// The pair in the host's namespace; routes and programs are on the first.
inline constexpr std::string_view kHostLink = "weir0";
inline constexpr std::string_view kHostLinkPeer = "weir1";
/// What leads to pods of nodes that share no link with this one.
inline constexpr std::string_view kOverlayLink = "weir_vxlan";
/// Whether a link of this name is the host's own, and no pod's.
constexpr bool is_host_link(std::string_view name) {
    return name == kHostLink || name == kHostLinkPeer || name == kOverlayLink;
}

/// Host side of a pod's veth: "w", five hex digits of a hash of the container and interface, "-",
/// the last eight characters of the pod's name (what differs between the pods of one Deployment).
/// At most 15 characters; deterministic.
std::string pod_host_ifname(std::string_view container_id, std::string_view ifname,
                            std::string_view pod_name);
/// Start of every such name for this container and interface, whatever the pod is called.
std::string pod_host_ifname_prefix(std::string_view container_id, std::string_view ifname);

/// A locally administered MAC address for the pod's side, the same for the same arguments.
MacAddress pod_mac(std::string_view container_id, std::string_view ifname);

/// Whose attachment a link is; kept in the link as its alternative name, which the kernel finds by
/// hash: "weir+CONTAINER+IFNAME".
struct Attachment {
    std::string container_id;  ///< longer than 100 characters: shortened, with a hash
    std::string ifname;
    bool operator==(const Attachment&) const = default;
};
std::string alt_name(std::string_view container_id, std::string_view ifname);
std::optional<Attachment> parse_alt_name(std::string_view name);

}  // namespace weir::netlink
