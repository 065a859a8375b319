// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <linux/pkt_sched.h>

#include "common/ip.h"
#include "datapath/netlink/message.h"

/// Every rtnetlink request Weir makes, one function each. Unless said otherwise they may be
/// repeated: what exists already is replaced by the same.
namespace weir::netlink {

inline constexpr uint32_t kIngress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
inline constexpr uint32_t kEgress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);

struct VethEnd {
    std::string name;
    MacAddress mac{};
    uint32_t mtu = 0;
    std::optional<int> netns;  ///< open namespace to make it in; absent: the socket's own
};
/// A veth pair of ours, both ends down. Fails with EEXIST if either name is taken.
Message new_veth(const VethEnd& end, const VethEnd& peer);
/// A VXLAN device of ours, down, whose far ends are chosen for each packet by a program, and that
/// learns none. Fails with EEXIST if the name is taken, or another such device has the port.
struct VxlanLink {
    std::string name;
    MacAddress mac{};
    uint32_t mtu = 0;
    uint16_t port = 0;     ///< UDP
    uint32_t ifindex = 0;  ///< EBUSY if another link has it; 0: whatever is free
};
Message new_vxlan(const VxlanLink& link);
Message delete_link(uint32_t ifindex);
Message get_link(uint32_t ifindex);
Message get_link(const std::string& name);
Message get_link_by_alt_name(const std::string& alt_name);
Message get_links();  ///< to dump
Message add_alt_name(uint32_t ifindex, const std::string& alt_name);

struct LinkChange {
    std::optional<bool> up;
    bool noarp = false;  ///< sets IFF_NOARP; never clears it
    std::optional<uint32_t> mtu;
    std::optional<MacAddress> mac;
    std::optional<std::string> alias;
    bool no_autoconf =
        false;  ///< no IPv6 link-local address, router solicitation or DAD of its own
    std::vector<std::pair<uint16_t, uint32_t>> inet_conf;  ///< IPV4_DEVCONF_*, value
};
Message set_link(uint32_t ifindex, const LinkChange& change, std::string what);

/// A host address (/32 or /128), usable at once: no duplicate address detection.
Message put_address(uint32_t ifindex, const IpAddress& address);
Message delete_address(uint32_t ifindex, const IpAddress& address, unsigned length);
Message get_addresses(Family family, uint32_t ifindex);  ///< to dump; 0: of all links

/// A route of ours, in the main table.
struct RouteSpec {
    IpPrefix dst;
    std::optional<uint32_t> oif;       ///< absent: unreachable
    std::optional<IpAddress> gateway;  ///< taken as on-link
    std::optional<IpAddress> source;
    bool local =
        false;  ///< in the table of local addresses instead: packets for `dst` are accepted
    [[nodiscard]] std::string to_string() const;
};
Message put_route(const RouteSpec& route);
Message delete_route(const RouteSpec& route);
/// The entry of the routing tables that `address` matches, not a route made for it.
Message get_route(const IpAddress& address);
Message get_routes(Family family);          ///< to dump; main table only
Message get_routes_of_ours(Family family);  ///< to dump; the kernel sends ours only

/// A permanent neighbour of ours.
Message put_neighbour(uint32_t ifindex, const IpAddress& address, const MacAddress& mac);
Message get_neighbour(uint32_t ifindex, const IpAddress& address);

/// The hook for filters on both directions. EEXIST if it is there.
Message add_clsact(uint32_t ifindex);
/// With every filter on it. ENOENT or EINVAL if it is not there.
Message delete_clsact(uint32_t ifindex);
/// A direct-action BPF filter with the first handle of priority 1.
struct FilterSpec {
    uint32_t ifindex = 0;
    uint32_t parent = kIngress;
    int program = -1;  ///< borrowed fd
    std::string name;
    uint32_t class_id = 0;  ///< what the program reads from skb->tc_classid
};
Message put_filter(const FilterSpec& filter);
Message get_filter(uint32_t ifindex, uint32_t parent);
Message get_filters(uint32_t ifindex, uint32_t parent);  ///< to dump; everybody's

}  // namespace weir::netlink
