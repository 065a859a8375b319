// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <linux/rtnetlink.h>

#include "datapath/netlink/devices.h"

namespace weir::netlink {
namespace {

bool same_address(const Address& a, const Address& b) {
    return a.ifindex == b.ifindex && a.address == b.address && a.length == b.length;
}

/// The identity of a default route: an IPv6 route with several next hops is told one by one.
bool same_route(const Route& a, const Route& b) {
    return a.dst == b.dst && a.table == b.table && a.metric == b.metric && a.oifs == b.oifs &&
           a.gateway == b.gateway;
}

template <typename T, typename Same>
bool put(std::vector<T>& list, const T& item, Same&& same) {
    const auto at =
        std::find_if(list.begin(), list.end(), [&](const T& other) { return same(other, item); });
    if (at == list.end()) {
        list.push_back(item);
        return true;
    }
    if (*at == item) return false;
    *at = item;
    return true;
}

bool put_link(std::map<uint32_t, Link>& links, Link link) {
    const auto at = links.find(link.ifindex);
    if (at != links.end() && at->second == link) return false;
    links[link.ifindex] = std::move(link);
    return true;
}

}  // namespace

bool NetworkState::apply(const nlmsghdr* message) {
    switch (message->nlmsg_type) {
        case RTM_NEWLINK:
        case RTM_DELLINK:
            return apply_link(message);
        case RTM_NEWADDR:
        case RTM_DELADDR:
            return apply_address(message);
        case RTM_NEWROUTE:
        case RTM_DELROUTE:
            return apply_route(message);
        default:
            return false;
    }
}

bool NetworkState::apply_link(const nlmsghdr* message) {
    auto link = parse_link(message);
    if (!link) return false;
    const uint32_t ifindex = link->ifindex;
    const bool gone = message->nlmsg_type == RTM_DELLINK;
    // IPv4 routes of a device that goes down leave without a notification. (A next hop of several
    // also returns without one: DeviceFollower::refresh() finds it.)
    if (gone || !link->is_up()) {
        for (Route& one : default_routes)
            std::erase(one.oifs, ifindex);
        std::erase_if(default_routes, [](const Route& one) { return one.oifs.empty(); });
    }
    if (!gone) return put_link(links, std::move(*link));
    std::erase_if(addresses, [&](const Address& one) { return one.ifindex == ifindex; });
    return links.erase(ifindex) > 0;
}

bool NetworkState::apply_address(const nlmsghdr* message) {
    const auto address = parse_address(message);
    if (!address) return false;
    if (message->nlmsg_type == RTM_NEWADDR) return put(addresses, *address, same_address);
    // So do routes with it as their source.
    std::erase_if(default_routes, [&](const Route& one) { return one.source == address->address; });
    return std::erase_if(addresses,
                         [&](const Address& one) { return same_address(one, *address); }) > 0;
}

bool NetworkState::apply_route(const nlmsghdr* message) {
    const auto route = parse_route(message);
    if (!route || route->dst.length() != 0 || route->table != RT_TABLE_MAIN ||
        route->type != RTN_UNICAST) {
        return false;
    }
    if (message->nlmsg_type == RTM_DELROUTE) {
        return std::erase_if(default_routes,
                             [&](const Route& one) { return same_route(one, *route); }) > 0;
    }
    if ((message->nlmsg_flags & NLM_F_REPLACE) != 0) {
        std::erase_if(default_routes, [&](const Route& one) {
            return one.dst == route->dst && one.metric == route->metric;
        });
    }
    return put(default_routes, *route, same_route);
}

}  // namespace weir::netlink
