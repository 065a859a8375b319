// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/objects.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "datapath/netlink/names.h"

namespace weir::netlink {
namespace {

template <typename Header>
const Header* family_header(const nlmsghdr* message) {
    if (nlmsg_datalen(message) < static_cast<int>(sizeof(Header))) return nullptr;
    return static_cast<const Header*>(nlmsg_data(message));
}

bool is_ip(uint8_t family) {
    return family == AF_INET || family == AF_INET6;
}

std::vector<std::string> parse_alt_names(const nlattr* list) {
    std::vector<std::string> names;
    if (list == nullptr) return names;
    int left = nla_len(list);
    for (const auto* at = static_cast<const nlattr*>(nla_data(list)); nla_ok(at, left);
         at = nla_next(at, &left)) {
        if (nla_type(at) != IFLA_ALT_IFNAME) continue;
        names.emplace_back(static_cast<const char*>(nla_data(at)));
    }
    return names;
}

void parse_af_spec(const nlattr* spec, Link& link) {
    const Attributes families(spec);
    const Attributes inet6(families.find(AF_INET6));
    link.addr_gen_mode = inet6.u8(IFLA_INET6_ADDR_GEN_MODE);
    const Attributes inet(families.find(AF_INET));
    const nlattr* conf = inet.find(IFLA_INET_CONF);
    if (conf == nullptr) return;
    link.inet_conf.resize(static_cast<size_t>(nla_len(conf)) / sizeof(uint32_t));
    std::memcpy(link.inet_conf.data(), nla_data(conf), link.inet_conf.size() * sizeof(uint32_t));
}

std::optional<uint16_t> parse_vxlan_port(const nlattr* data) {
    const Attributes vxlan(data);
    const nlattr* port = vxlan.find(IFLA_VXLAN_PORT);
    if (vxlan.u8(IFLA_VXLAN_COLLECT_METADATA).value_or(0) == 0 || port == nullptr ||
        nla_len(port) < static_cast<int>(sizeof(uint16_t))) {
        return std::nullopt;
    }
    uint16_t value = 0;
    std::memcpy(&value, nla_data(port), sizeof value);
    return ntohs(value);
}

std::vector<uint32_t> parse_nexthops(const nlattr* multipath) {
    std::vector<uint32_t> oifs;
    if (multipath == nullptr) return oifs;
    const auto* hop = static_cast<const rtnexthop*>(nla_data(multipath));
    int left = nla_len(multipath);
    while (RTNH_OK(hop, left)) {
        if ((hop->rtnh_flags & RTNH_F_DEAD) == 0) {
            oifs.push_back(static_cast<uint32_t>(hop->rtnh_ifindex));
        }
        const int step = std::min(RTNH_ALIGN(hop->rtnh_len), left);
        left -= step;
        hop = reinterpret_cast<const rtnexthop*>(reinterpret_cast<const char*>(hop) + step);
    }
    return oifs;
}

}  // namespace

bool Link::is_up() const {
    return (flags & IFF_UP) != 0;
}

bool Link::is_loopback() const {
    return (flags & IFF_LOOPBACK) != 0;
}

bool Link::is_ours() const {
    return group == kLinkGroup;
}

std::optional<Link> parse_link(const nlmsghdr* message) {
    const auto* header = family_header<ifinfomsg>(message);
    if (header == nullptr || header->ifi_family != AF_UNSPEC) return std::nullopt;
    const Attributes attributes(message, sizeof *header);
    Link link;
    link.ifindex = static_cast<uint32_t>(header->ifi_index);
    link.flags = header->ifi_flags;
    link.arp_type = header->ifi_type;
    link.name = attributes.text(IFLA_IFNAME);
    link.alias = attributes.text(IFLA_IFALIAS);
    link.alt_names = parse_alt_names(attributes.find(IFLA_PROP_LIST));
    link.mtu = attributes.u32(IFLA_MTU).value_or(0);
    link.master = attributes.u32(IFLA_MASTER).value_or(0);
    link.group = attributes.u32(IFLA_GROUP).value_or(0);
    link.operstate = attributes.u8(IFLA_OPERSTATE).value_or(0);
    link.mac = attributes.mac(IFLA_ADDRESS);
    const Attributes info(attributes.find(IFLA_LINKINFO));
    link.kind = info.text(IFLA_INFO_KIND);
    if (link.kind == "vxlan") link.vxlan_port = parse_vxlan_port(info.find(IFLA_INFO_DATA));
    parse_af_spec(attributes.find(IFLA_AF_SPEC), link);
    return link;
}

std::optional<uint64_t> parse_received(const nlmsghdr* message) {
    const Attributes attributes(message, sizeof(ifinfomsg));
    const nlattr* const stats = attributes.find(IFLA_STATS64);
    uint64_t packets = 0;
    if (stats == nullptr || nla_len(stats) < static_cast<int>(sizeof packets)) return std::nullopt;
    std::memcpy(&packets, nla_data(stats), sizeof packets);  // rx_packets comes first
    return packets;
}

std::optional<Address> parse_address(const nlmsghdr* message) {
    const auto* header = family_header<ifaddrmsg>(message);
    if (header == nullptr || !is_ip(header->ifa_family)) return std::nullopt;
    const Attributes attributes(message, sizeof *header);
    // On a point-to-point link IFA_ADDRESS is the other end.
    auto address = attributes.address(IFA_LOCAL);
    if (!address) address = attributes.address(IFA_ADDRESS);
    if (!address) return std::nullopt;
    return Address{.ifindex = header->ifa_index,
                   .address = *address,
                   .length = header->ifa_prefixlen,
                   .scope = header->ifa_scope,
                   .flags = attributes.u32(IFA_FLAGS).value_or(header->ifa_flags)};
}

std::optional<Route> parse_route(const nlmsghdr* message) {
    const auto* header = family_header<rtmsg>(message);
    if (header == nullptr || !is_ip(header->rtm_family)) return std::nullopt;
    const Attributes attributes(message, sizeof *header);
    const IpAddress any = header->rtm_family == AF_INET ? IpAddress::v4(0) : IpAddress();
    auto dst = IpPrefix::make(attributes.address(RTA_DST).value_or(any), header->rtm_dst_len);
    if (!dst) return std::nullopt;
    Route route;
    route.dst = *dst;
    route.type = header->rtm_type;
    route.protocol = header->rtm_protocol;
    route.table = attributes.u32(RTA_TABLE).value_or(header->rtm_table);
    route.metric = attributes.u32(RTA_PRIORITY).value_or(0);
    route.gateway = attributes.address(RTA_GATEWAY);
    route.source = attributes.address(RTA_PREFSRC);
    route.oifs = parse_nexthops(attributes.find(RTA_MULTIPATH));
    if (const auto oif = attributes.u32(RTA_OIF)) route.oifs.push_back(*oif);
    return route;
}

std::optional<Neighbour> parse_neighbour(const nlmsghdr* message) {
    const auto* header = family_header<ndmsg>(message);
    if (header == nullptr || !is_ip(header->ndm_family)) return std::nullopt;
    const Attributes attributes(message, sizeof *header);
    const auto address = attributes.address(NDA_DST);
    if (!address) return std::nullopt;
    return Neighbour{.ifindex = static_cast<uint32_t>(header->ndm_ifindex),
                     .address = *address,
                     .mac = attributes.mac(NDA_LLADDR),
                     .state = header->ndm_state};
}

std::optional<Filter> parse_filter(const nlmsghdr* message) {
    const auto* header = family_header<tcmsg>(message);
    if (header == nullptr) return std::nullopt;
    const Attributes attributes(message, sizeof *header);
    const Attributes options(attributes.find(TCA_OPTIONS));
    return Filter{.ifindex = static_cast<uint32_t>(header->tcm_ifindex),
                  .parent = header->tcm_parent,
                  .handle = header->tcm_handle,
                  .priority = static_cast<uint16_t>(header->tcm_info >> 16),
                  .kind = attributes.text(TCA_KIND),
                  .name = options.text(TCA_BPF_NAME),
                  .class_id = options.u32(TCA_BPF_CLASSID).value_or(0),
                  .program = options.u32(TCA_BPF_ID).value_or(0)};
}

}  // namespace weir::netlink
