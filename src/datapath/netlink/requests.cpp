// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/requests.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include "datapath/netlink/names.h"

namespace weir::netlink {
namespace {

constexpr uint8_t kAddrGenNone = 1;  // IN6_ADDR_GEN_MODE_NONE
constexpr uint32_t kFilterHandle = 1;
constexpr uint32_t kFilterPriority = 1;
constexpr uint16_t kPut = NLM_F_CREATE | NLM_F_REPLACE;

uint8_t address_family(Family family) {
    return family == Family::kIpv4 ? AF_INET : AF_INET6;
}

uint8_t host_length(const IpAddress& address) {
    return address.is_v4() ? 32 : 128;
}

ifinfomsg link_header(uint32_t ifindex) {
    return {.ifi_family = AF_UNSPEC, .ifi_index = static_cast<int>(ifindex)};
}

void put_end(Message& message, const VethEnd& end) {
    message.put_string(IFLA_IFNAME, end.name);
    // In the creating message: the kernel then counts the address as assigned, and udev leaves it.
    message.put_mac(IFLA_ADDRESS, end.mac);
    message.put_u32(IFLA_MTU, end.mtu);
    message.put_u32(IFLA_GROUP, kLinkGroup);
    // The kernel's default is a queue for every possible CPU, of which it uses one.
    message.put_u32(IFLA_NUM_TX_QUEUES, 1);
    message.put_u32(IFLA_NUM_RX_QUEUES, 1);
    if (end.netns) message.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(*end.netns));
}

void put_af_spec(Message& message, const LinkChange& change) {
    message.nest(IFLA_AF_SPEC, [&] {
        if (change.no_autoconf) {
            message.nest(AF_INET6, [&] { message.put_u8(IFLA_INET6_ADDR_GEN_MODE, kAddrGenNone); });
        }
        if (change.inet_conf.empty()) return;
        message.nest(AF_INET, [&] {
            message.nest(IFLA_INET_CONF, [&] {
                for (const auto& [key, value] : change.inet_conf)
                    message.put_u32(key, value);
            });
        });
    });
}

tcmsg tc_header(uint32_t ifindex, uint32_t parent) {
    return {.tcm_family = AF_UNSPEC,
            .tcm_ifindex = static_cast<int>(ifindex),
            .tcm_handle = kFilterHandle,
            .tcm_parent = parent,
            .tcm_info = TC_H_MAKE(kFilterPriority << 16, htons(ETH_P_ALL))};
}

tcmsg clsact_header(uint32_t ifindex) {
    return {.tcm_family = AF_UNSPEC,
            .tcm_ifindex = static_cast<int>(ifindex),
            .tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
            .tcm_parent = TC_H_CLSACT};
}

std::string_view direction(uint32_t parent) {
    return parent == kIngress ? "ingress" : "egress";
}

Message route_message(uint16_t type, uint16_t flags, const RouteSpec& route, std::string what) {
    Message message(type, flags, std::move(what));
    rtmsg header{};
    header.rtm_family = address_family(route.dst.family());
    header.rtm_dst_len = static_cast<uint8_t>(route.dst.length());
    header.rtm_table = route.local ? RT_TABLE_LOCAL : RT_TABLE_MAIN;
    header.rtm_protocol = kRouteProtocol;
    header.rtm_type = route.local ? RTN_LOCAL : route.oif ? RTN_UNICAST : RTN_UNREACHABLE;
    const bool on_link = route.oif && !route.gateway && route.dst.family() == Family::kIpv4;
    header.rtm_scope = route.local ? RT_SCOPE_HOST : on_link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    if (route.gateway) header.rtm_flags = RTNH_F_ONLINK;
    message.header(header);
    if (route.dst.length() > 0) message.put_address(RTA_DST, route.dst.address());
    if (route.oif) message.put_u32(RTA_OIF, *route.oif);
    if (route.gateway) message.put_address(RTA_GATEWAY, *route.gateway);
    if (route.source) message.put_address(RTA_PREFSRC, *route.source);
    return message;
}

}  // namespace

Message new_veth(const VethEnd& end, const VethEnd& peer) {
    Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
                    fmt::format("create the veth pair {} and {}", end.name, peer.name));
    message.header(link_header(0));
    put_end(message, end);
    message.nest(IFLA_LINKINFO, [&] {
        message.put_string(IFLA_INFO_KIND, "veth");
        message.nest(IFLA_INFO_DATA, [&] {
            message.nest(VETH_INFO_PEER, [&] {
                message.raw(link_header(0));
                put_end(message, peer);
            });
        });
    });
    return message;
}

Message new_vxlan(const VxlanLink& link) {
    Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
                    fmt::format("create the VXLAN device {} on UDP port {}", link.name, link.port));
    message.header(link_header(link.ifindex));
    message.put_string(IFLA_IFNAME, link.name);
    message.put_mac(IFLA_ADDRESS, link.mac);
    message.put_u32(IFLA_MTU, link.mtu);
    message.put_u32(IFLA_GROUP, kLinkGroup);
    const uint16_t port = htons(link.port);
    message.nest(IFLA_LINKINFO, [&] {
        message.put_string(IFLA_INFO_KIND, "vxlan");
        message.nest(IFLA_INFO_DATA, [&] {
            message.put_u8(IFLA_VXLAN_COLLECT_METADATA, 1);
            message.put_u8(IFLA_VXLAN_LEARNING, 0);
            message.put(IFLA_VXLAN_PORT, &port, sizeof port);
        });
    });
    return message;
}

Message delete_link(uint32_t ifindex) {
    return std::move(Message(RTM_DELLINK, 0, fmt::format("delete link {}", ifindex))
                         .header(link_header(ifindex)));
}

Message get_link(uint32_t ifindex) {
    return std::move(
        Message(RTM_GETLINK, 0, fmt::format("link {}", ifindex)).header(link_header(ifindex)));
}

Message get_link(const std::string& name) {
    return std::move(Message(RTM_GETLINK, 0, fmt::format("link {}", name))
                         .header(link_header(0))
                         .put_string(IFLA_IFNAME, name));
}

Message get_link_by_alt_name(const std::string& alt_name) {
    return std::move(Message(RTM_GETLINK, 0, fmt::format("link with the name {}", alt_name))
                         .header(link_header(0))
                         .put_string(IFLA_ALT_IFNAME, alt_name));
}

Message get_links() {
    return std::move(Message(RTM_GETLINK, 0, "list links").header(link_header(0)));
}

Message add_alt_name(uint32_t ifindex, const std::string& alt_name) {
    Message message(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND,
                    fmt::format("give link {} the name {}", ifindex, alt_name));
    message.header(link_header(ifindex));
    message.nest(IFLA_PROP_LIST, [&] { message.put_string(IFLA_ALT_IFNAME, alt_name); });
    return message;
}

Message set_link(uint32_t ifindex, const LinkChange& change, std::string what) {
    Message message(RTM_NEWLINK, 0, std::move(what));
    ifinfomsg header = link_header(ifindex);
    if (change.up) {
        header.ifi_change |= IFF_UP;
        header.ifi_flags |= *change.up ? IFF_UP : 0U;
    }
    if (change.noarp) {
        header.ifi_change |= IFF_NOARP;
        header.ifi_flags |= IFF_NOARP;
    }
    message.header(header);
    if (change.mtu) message.put_u32(IFLA_MTU, *change.mtu);
    if (change.mac) message.put_mac(IFLA_ADDRESS, *change.mac);
    if (change.alias) message.put(IFLA_IFALIAS, change.alias->data(), change.alias->size());
    if (change.no_autoconf || !change.inet_conf.empty()) put_af_spec(message, change);
    return message;
}

Message put_address(uint32_t ifindex, const IpAddress& address) {
    Message message(RTM_NEWADDR, kPut,
                    fmt::format("add address {} to link {}", address.to_string(), ifindex));
    ifaddrmsg header{};
    header.ifa_family = address_family(address.family());
    header.ifa_prefixlen = host_length(address);
    header.ifa_flags = IFA_F_NODAD;
    header.ifa_scope = RT_SCOPE_UNIVERSE;
    header.ifa_index = ifindex;
    return std::move(
        message.header(header).put_address(IFA_LOCAL, address).put_address(IFA_ADDRESS, address));
}

Message delete_address(uint32_t ifindex, const IpAddress& address, unsigned length) {
    Message message(RTM_DELADDR, 0,
                    fmt::format("remove address {} from link {}", address.to_string(), ifindex));
    ifaddrmsg header{};
    header.ifa_family = address_family(address.family());
    header.ifa_prefixlen = static_cast<uint8_t>(length);
    header.ifa_index = ifindex;
    return std::move(message.header(header).put_address(IFA_LOCAL, address));
}

Message get_addresses(Family family, uint32_t ifindex) {
    ifaddrmsg header{};
    header.ifa_family = address_family(family);
    header.ifa_index = ifindex;
    return std::move(Message(RTM_GETADDR, 0, "list addresses").header(header));
}

std::string RouteSpec::to_string() const {
    std::string text = dst.to_string();
    if (!oif) return text + " unreachable";
    if (gateway) text += " via " + gateway->to_string();
    return text + fmt::format(" over link {}", *oif);
}

Message put_route(const RouteSpec& route) {
    return route_message(RTM_NEWROUTE, kPut, route, "set route " + route.to_string());
}

Message delete_route(const RouteSpec& route) {
    return route_message(RTM_DELROUTE, 0, route, "delete route " + route.to_string());
}

Message get_route(const IpAddress& address) {
    Message message(RTM_GETROUTE, 0, fmt::format("route to {}", address.to_string()));
    rtmsg header{};
    header.rtm_family = address_family(address.family());
    header.rtm_dst_len = host_length(address);
    header.rtm_flags = RTM_F_FIB_MATCH;
    return std::move(message.header(header).put_address(RTA_DST, address));
}

Message get_routes(Family family) {
    rtmsg header{};
    header.rtm_family = address_family(family);
    return std::move(
        Message(RTM_GETROUTE, 0, "list routes").header(header).put_u32(RTA_TABLE, RT_TABLE_MAIN));
}

Message get_routes_of_ours(Family family) {
    rtmsg header{};
    header.rtm_family = address_family(family);
    header.rtm_protocol = kRouteProtocol;
    return std::move(Message(RTM_GETROUTE, 0, "list Weir's routes")
                         .header(header)
                         .put_u32(RTA_TABLE, RT_TABLE_MAIN));
}

Message put_neighbour(uint32_t ifindex, const IpAddress& address, const MacAddress& mac) {
    Message message(RTM_NEWNEIGH, kPut,
                    fmt::format("set neighbour {} of link {}", address.to_string(), ifindex));
    ndmsg header{};
    header.ndm_family = address_family(address.family());
    header.ndm_ifindex = static_cast<int>(ifindex);
    header.ndm_state = NUD_PERMANENT;
    return std::move(message.header(header)
                         .put_address(NDA_DST, address)
                         .put_mac(NDA_LLADDR, mac)
                         .put_u8(NDA_PROTOCOL, kRouteProtocol));
}

Message get_neighbour(uint32_t ifindex, const IpAddress& address) {
    Message message(RTM_GETNEIGH, 0,
                    fmt::format("neighbour {} of link {}", address.to_string(), ifindex));
    ndmsg header{};
    header.ndm_family = address_family(address.family());
    header.ndm_ifindex = static_cast<int>(ifindex);
    return std::move(message.header(header).put_address(NDA_DST, address));
}

Message add_clsact(uint32_t ifindex) {
    return std::move(Message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
                             fmt::format("add clsact to link {}", ifindex))
                         .header(clsact_header(ifindex))
                         .put_string(TCA_KIND, "clsact"));
}

Message delete_clsact(uint32_t ifindex) {
    return std::move(Message(RTM_DELQDISC, 0, fmt::format("remove clsact from link {}", ifindex))
                         .header(clsact_header(ifindex))
                         .put_string(TCA_KIND, "clsact"));
}

Message put_filter(const FilterSpec& filter) {
    Message message(RTM_NEWTFILTER, kPut,
                    fmt::format("attach the {} program {} to link {}", direction(filter.parent),
                                filter.name, filter.ifindex));
    message.header(tc_header(filter.ifindex, filter.parent));
    message.put_string(TCA_KIND, "bpf");
    return std::move(message.nest(TCA_OPTIONS, [&] {
        message.put_u32(TCA_BPF_FD, static_cast<uint32_t>(filter.program));
        message.put_string(TCA_BPF_NAME, filter.name);
        message.put_u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
        message.put_u32(TCA_BPF_CLASSID, filter.class_id);
    }));
}

Message get_filter(uint32_t ifindex, uint32_t parent) {
    return std::move(
        Message(RTM_GETTFILTER, 0, fmt::format("{} filter of link {}", direction(parent), ifindex))
            .header(tc_header(ifindex, parent))
            .put_string(TCA_KIND, "bpf"));
}

Message get_filters(uint32_t ifindex, uint32_t parent) {
    tcmsg header{};
    header.tcm_ifindex = static_cast<int>(ifindex);
    header.tcm_parent = parent;
    return std::move(Message(RTM_GETTFILTER, 0,
                             fmt::format("list {} filters of link {}", direction(parent), ifindex))
                         .header(header));
}

}  // namespace weir::netlink
