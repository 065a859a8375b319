// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/ip.h"
#include "datapath/netlink/message.h"

/// Links, addresses, routes, neighbours and filters as the kernel tells them, and how to read them
/// from its messages. Only the fields Weir uses.
namespace weir::netlink {

struct Link {
    uint32_t ifindex = 0;
    std::string name;
    std::string alias;
    std::string kind;  ///< "veth", "bridge", ...; empty: hardware, or lo
    std::vector<std::string> alt_names;
    uint32_t flags = 0;  ///< IFF_*
    uint16_t arp_type = 0;
    uint32_t mtu = 0;
    uint32_t master = 0;  ///< ifindex; 0: none
    uint32_t group = 0;
    uint8_t operstate = 0;          ///< IF_OPER_*
    std::optional<MacAddress> mac;  ///< absent: not Ethernet-like
    std::optional<uint8_t> addr_gen_mode;
    std::vector<uint32_t> inet_conf;  ///< index: IPV4_DEVCONF_* - 1
    /// Of a VXLAN device whose far ends are chosen for each packet; absent: it is none.
    std::optional<uint16_t> vxlan_port;

    [[nodiscard]] bool is_up() const;
    [[nodiscard]] bool is_loopback() const;
    [[nodiscard]] bool is_ours() const;  ///< by its group
    bool operator==(const Link&) const = default;
};

struct Address {
    uint32_t ifindex = 0;
    IpAddress address;
    unsigned length = 0;
    uint8_t scope = 0;   ///< RT_SCOPE_*
    uint32_t flags = 0;  ///< IFA_F_*
    bool operator==(const Address&) const = default;
};

struct Route {
    IpPrefix dst;
    uint8_t type = 0;  ///< RTN_*
    uint32_t table = 0;
    uint8_t protocol = 0;
    uint32_t metric = 0;
    std::vector<uint32_t> oifs;  ///< several for a multipath route
    std::optional<IpAddress> gateway;
    std::optional<IpAddress> source;
    bool operator==(const Route&) const = default;
};

struct Neighbour {
    uint32_t ifindex = 0;
    IpAddress address;
    std::optional<MacAddress> mac;
    uint16_t state = 0;  ///< NUD_*
};

struct Filter {
    uint32_t ifindex = 0;
    uint32_t parent = 0;  ///< kIngress or kEgress of requests.h
    uint32_t handle = 0;
    uint16_t priority = 0;
    std::string kind;
    std::string name;
    uint32_t class_id = 0;
    uint32_t program = 0;  ///< id
};

/// Each returns nothing for a message that is not such an object (or not of IPv4 or IPv6).
std::optional<Link> parse_link(const nlmsghdr* message);
/// Packets that have come in by a link since it was made.
std::optional<uint64_t> parse_received(const nlmsghdr* message);
std::optional<Address> parse_address(const nlmsghdr* message);
std::optional<Route> parse_route(const nlmsghdr* message);
std::optional<Neighbour> parse_neighbour(const nlmsghdr* message);
std::optional<Filter> parse_filter(const nlmsghdr* message);

}  // namespace weir::netlink
