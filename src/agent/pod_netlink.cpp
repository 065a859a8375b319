// SPDX-License-Identifier: Apache-2.0
#include "agent/pod_netlink.h"

#include <cerrno>
#include <map>
#include <utility>

#include "agent/pod_wirer.h"
#include "datapath/netlink/requests.h"
#include "datapath/netlink/socket.h"

namespace weir::agent {
namespace {

std::string alias_of(const ipam::Record& record) {
    const std::string pod = record.pod_name.empty() ? record.key.container
                                                    : record.pod_namespace + "/" + record.pod_name;
    return pod + " " + record.key.ifname;
}

/// The reverse: namespace and name, empty if the alias does not tell them.
std::pair<std::string, std::string> pod_of(const std::string& alias) {
    const size_t slash = alias.find('/');
    const size_t space = alias.find(' ');
    if (slash == std::string::npos || space == std::string::npos || slash > space) return {};
    return {alias.substr(0, slash), alias.substr(slash + 1, space - slash - 1)};
}

using AddressesByLink = std::map<uint32_t, std::vector<IpAddress>>;

Result<AddressesByLink> routed_addresses() {
    netlink::Socket socket = WEIR_TRY(netlink::Socket::open());
    AddressesByLink all;
    for (const Family family : kFamilies) {
        std::vector<netlink::Route> routes;
        WEIR_CHECK(socket.dump(
            netlink::get_routes_of_ours(family), [&] { routes.clear(); },
            [&](const nlmsghdr* message) {
                if (auto route = netlink::parse_route(message)) routes.push_back(*route);
            }));
        for (const netlink::Route& route : routes) {
            const bool one_address = route.dst.mapped_length() == 128;
            if (one_address && route.oifs.size() == 1) {
                all[route.oifs.front()].push_back(route.dst.address());
            }
        }
    }
    return all;
}

}  // namespace

netlink::PodLinkSpec pod_link_spec(const ipam::Record& record, uint32_t endpoint, uint32_t mtu) {
    const ipam::AttachmentKey& key = record.key;
    netlink::PodLinkSpec spec;
    spec.container_id = key.container;
    spec.ifname = key.ifname;
    spec.host_ifname = netlink::pod_host_ifname(key.container, key.ifname, record.pod_name);
    spec.alias = alias_of(record);
    for (const IpAddress& address : record.addresses) {
        spec.addresses[family_index(address.family())] =
            netlink::PodAddress{address, pod_gateway(address.family())};
    }
    spec.mtu = mtu;
    spec.host_mac = kHostMac;
    spec.pod_mac = netlink::pod_mac(key.container, key.ifname);
    spec.endpoint = endpoint;
    return spec;
}

Result<bool> pod_link_exists(const ipam::AttachmentKey& key) {
    netlink::Socket socket = WEIR_TRY(netlink::Socket::open());
    auto link =
        socket.get(netlink::get_link_by_alt_name(netlink::alt_name(key.container, key.ifname)));
    if (!link && link.error().os_errno() == ENODEV) return false;
    if (!link) return Failure(std::move(link).error());
    return true;
}

Result<std::vector<ipam::Found>> found_pods(const netlink::PodLinks& links) {
    const AddressesByLink addresses = WEIR_TRY(routed_addresses());
    std::vector<ipam::Found> found;
    for (const netlink::FoundPodLink& each : WEIR_TRY(links.list())) {
        if (!each.attachment) {
            WEIR_CHECK(links.remove(each.link.name));
            continue;
        }
        const auto at = addresses.find(each.link.ifindex);
        auto [pod_namespace, pod_name] = pod_of(each.link.alias);
        found.push_back({.key = {each.attachment->container_id, each.attachment->ifname},
                         .addresses = at == addresses.end() ? std::vector<IpAddress>{} : at->second,
                         .pod_namespace = std::move(pod_namespace),
                         .pod_name = std::move(pod_name)});
    }
    return found;
}

}  // namespace weir::agent
