// SPDX-License-Identifier: Apache-2.0
#include "agent/host.h"

#include <algorithm>
#include <map>
#include <random>

#include <net/if.h>
#include <sys/socket.h>

#include "agent/pod_wirer.h"
#include "common/log.h"
#include "datapath/host_tables.h"
#include "datapath/netlink/socket.h"
#include "weir/limits.h"

namespace weir::agent {
namespace {

uint32_t ticks(std::chrono::seconds time) {
    return static_cast<uint32_t>(
        (static_cast<uint64_t>(time.count()) * 1'000'000'000ULL >> WEIR_TICK_SHIFT) + 1);
}

weir_timeouts timeouts(const Config& config) {
    return {.tcp_syn = ticks(config.timeout_tcp_syn),
            .tcp_established = ticks(config.timeout_tcp_established),
            .tcp_closing = ticks(config.timeout_tcp_closing),
            .udp_new = ticks(config.timeout_udp_new),
            .udp_established = ticks(config.timeout_udp_established),
            .icmp = ticks(config.timeout_icmp),
            .sctp_new = ticks(config.timeout_udp_new),
            .sctp_established = ticks(config.timeout_tcp_established),
            .other = ticks(config.timeout_udp_established),
            .pad = 0};
}

/// Of an outer packet: IP, UDP, VXLAN and the inner link header.
constexpr uint32_t kOverlayBytes4 = 20 + 8 + 8 + 14;
constexpr uint32_t kOverlayBytes6 = 40 + 8 + 8 + 14;

uint32_t flags(const Config& config) {
    uint32_t out = WEIR_CFG_REDIRECT_PEER;
    if (config.socket_hooks == SocketHooks::kAll) out |= WEIR_CFG_SOCK_PODS | WEIR_CFG_SOCK_HOST;
    if (config.socket_hooks == SocketHooks::kHost) out |= WEIR_CFG_SOCK_HOST;
    if (config.masquerade_ipv4) out |= WEIR_CFG_MASQ4;
    if (config.masquerade_ipv6) out |= WEIR_CFG_MASQ6;
    if (config.flow_events) out |= WEIR_CFG_FLOW_EVENTS;
    return out;
}

Result<uint64_t> host_netns_cookie() {
    return WEIR_TRY(netlink::Socket::open()).netns_cookie();
}

netlink::DeviceConfig device_config(const Config& config,
                                    const std::vector<IpAddress>& node_addresses) {
    netlink::DeviceConfig out;
    out.devices = config.devices;
    out.node_addresses = node_addresses;
    return out;
}

}  // namespace

Host::Host(const Config& config, std::vector<IpPrefix> pod_ranges,
           std::unique_ptr<netlink::SysctlJournal> journal, netlink::DeviceFollower devices)
    : config_(config),
      pod_ranges_(std::move(pod_ranges)),
      journal_(std::move(journal)),
      link_(*journal_),
      devices_(std::move(devices)) {}

Result<std::unique_ptr<Host>> Host::open(const Config& config,
                                         const std::vector<IpPrefix>& pod_ranges,
                                         const std::vector<IpAddress>& node_addresses) {
    auto journal = std::make_unique<netlink::SysctlJournal>(
        WEIR_TRY(netlink::SysctlJournal::open(config.run_dir / "sysctl.json")));
    const netlink::PortRange snat{config.snat_ports.first, config.snat_ports.last};
    WEIR_CHECK(journal->reserve_ports({snat}));
    WEIR_CHECK(journal->leave_local_range(snat));
    auto devices = WEIR_TRY(netlink::DeviceFollower::open(device_config(config, node_addresses)));
    std::unique_ptr<Host> host(
        new Host(config, pod_ranges, std::move(journal), std::move(devices)));
    host->node_addresses_ = node_addresses;
    return host;
}

// A node with an IPv4 address meets others by it, so that the figure does not change as nodes come
// and go; only one without, somewhere, makes it the larger.
uint32_t Host::overlay_bytes() const {
    if (!has_overlay()) return 0;
    const bool only6 =
        !node_addresses_.empty() && std::ranges::none_of(node_addresses_, &IpAddress::is_v4);
    return only6 || (peers_ && peers_->outer_ipv6) ? kOverlayBytes6 : kOverlayBytes4;
}

uint32_t Host::pod_mtu() const {
    if (config_.mtu != 0) return config_.mtu;
    const uint32_t least = devices_.current().pod_mtu;
    return least > overlay_bytes() ? least - overlay_bytes() : least;
}

std::vector<IpAddress> Host::addresses() const {
    std::vector<IpAddress> out;
    for (const auto& device : devices_.current().devices) {
        for (const weir_addr& abi : device.abi.addr) {
            const IpAddress address(abi);
            if (!address.is_unspecified()) out.push_back(address);
        }
    }
    return out;
}

netlink::HostLinkSpec Host::link_spec() const {
    netlink::HostLinkSpec spec;
    spec.pod_ranges = pod_ranges_;
    spec.service_ranges = config_.service_cidrs;
    if (peers_) spec.peers = peers_->routes;
    for (const auto& device : devices_.current().devices) {
        for (const auto family : kFamilies) {
            auto& source = spec.node_address[family_index(family)];
            const IpAddress address(device.abi.addr[family_index(family)]);
            if (!source && !address.is_unspecified()) source = address;
        }
    }
    spec.mac = kHostMac;
    spec.mtu = pod_mtu();
    if (has_overlay()) {
        spec.overlay = netlink::OverlaySpec{.port = static_cast<uint16_t>(config_.vxlan_port),
                                            .mtu = pod_mtu(),
                                            .mac = kHostMac,
                                            .served = overlay_served_};
    }
    return spec;
}

bool Host::set_peers(const std::vector<const model::Node*>& nodes,
                     const std::vector<IpAddress>& own_addresses) {
    node_addresses_ = own_addresses;
    auto peers = peer_routes(nodes,
                             {.name = config_.node_name,
                              .ranges = pod_ranges_,
                              .node_addresses = own_addresses,
                              .addresses = devices_.state().addresses},
                             config_.routing);
    if (peers_ && peers == *peers_) return false;
    if (!peers_ || peers.refused != peers_->refused) {
        for (const auto& range : peers.refused)
            log::warn("Node {}: {}: not routed", range.node, range.text);
    }
    peers_ = std::move(peers);
    return true;
}

Result<netlink::HostLinkState> Host::ensure_link() {
    auto state = WEIR_TRY(link_.ensure(link_spec()));
    made_anew(state, nullptr);
    for (const auto& problem : state.repaired)
        log::info("host: {}", problem.text);
    return state;
}

bool Host::made_anew(const netlink::HostLinkState& state, const weir_config* config) {
    link_index_ = state.ifindex;
    overlay_index_ = state.overlay.ifindex;
    if (state.overlay.created) overlay_served_ = 0;
    return config == nullptr || config->host_ifindex != link_index_ ||
           config->overlay_ifindex != overlay_index_;
}

std::array<IpAddress, 2> Host::routers() const {
    std::array<IpAddress, 2> out;
    for (const auto& range : pod_ranges_) {
        auto& router = out[family_index(range.family())];
        if (router.is_unspecified()) router = netlink::router_address(range);
    }
    return out;
}

Result<weir_config> Host::program_config() const {
    weir_config out{};
    out.flags = flags(config_);
    out.host_ifindex = link_index_;
    out.overlay_ifindex = overlay_index_;
    if (has_overlay()) out.overlay_port = static_cast<uint16_t>(config_.vxlan_port);
    out.nodeport_min = config_.node_ports.first;
    out.nodeport_max = config_.node_ports.last;
    out.snat_min = config_.snat_ports.first;
    out.snat_max = config_.snat_ports.last;
    out.host_netns_cookie = WEIR_TRY(host_netns_cookie());
    const auto router = routers();
    for (const auto family : kFamilies) {
        out.router[family_index(family)] = router[family_index(family)].abi();
        out.gateway[family_index(family)] = pod_gateway(family).abi();
    }
    std::ranges::copy(kHostMac, out.host_mac);
    out.timeout = timeouts(config_);
    return out;
}

Result<void> Host::write_tables(const datapath::Datapath& datapath) const {
    const auto& tables = datapath.tables();
    std::map<IpPrefix, uint32_t> cidrs;
    for (const auto& range : config_.service_cidrs)
        cidrs[range] |= WEIR_CIDR_SERVICE;
    for (const auto& range : config_.cluster_cidrs)
        cidrs[range] |= WEIR_CIDR_POD;
    for (const auto& range : pod_ranges_)
        cidrs[range] |= WEIR_CIDR_POD | WEIR_CIDR_LOCAL_PODS;
    for (const auto& range : config_.masquerade_exceptions)
        cidrs[range] |= WEIR_CIDR_NO_MASQ;
    WEIR_CHECK(datapath::sync_cidrs(tables, cidrs));

    std::map<IpAddress, uint32_t> addresses;
    for (const auto& address : devices_.current().node_addresses) {
        addresses[address.address] = address.node_ports ? WEIR_NODE_ADDR_NODEPORT : 0U;
    }
    WEIR_CHECK(datapath::sync_node_addresses(tables, addresses));

    std::map<uint32_t, weir_device> devices;
    for (const auto& device : devices_.current().devices)
        devices[device.ifindex] = device.abi;
    weir_device host{};
    host.kind = WEIR_DEV_HOST;
    host.mtu = pod_mtu();
    std::ranges::copy(kHostMac, host.mac);
    const auto router = routers();
    for (const auto family : kFamilies) {
        host.addr[family_index(family)] = router[family_index(family)].abi();
    }
    devices[link_index_] = host;
    if (overlay_index_ != 0) {
        // What leaves by it in the host's name has the address that belongs to this node there.
        host.kind = WEIR_DEV_OVERLAY;
        devices[overlay_index_] = host;
    }
    WEIR_CHECK(datapath::sync_devices(tables, devices));
    if (peers_) WEIR_CHECK(datapath::sync_peers(tables, peers_->peers));
    return datapath::set_host_netns(tables, WEIR_TRY(host_netns_cookie()));
}

Result<void> Host::attach_devices(const datapath::Datapath& datapath) {
    using datapath::Direction;
    const auto& attacher = datapath.devices();
    WEIR_CHECK(attacher.attach(link_index_, Direction::kEgress, "dev_out"));
    if (overlay_index_ != 0) {
        WEIR_CHECK(attacher.attach(overlay_index_, Direction::kIngress, "dev_in"));
        WEIR_CHECK(attacher.attach(overlay_index_, Direction::kEgress, "dev_out"));
    }
    overlay_served_ = overlay_index_;
    for (const auto& device : devices_.current().devices) {
        WEIR_CHECK(attacher.attach(device.ifindex, Direction::kIngress, "dev_in"));
        WEIR_CHECK(attacher.attach(device.ifindex, Direction::kEgress, "dev_out"));
    }
    // Without socket hooks a host process reaches NodePorts on its own addresses through lo.
    const uint32_t loopback = ::if_nametoindex("lo");
    if (config_.socket_hooks == SocketHooks::kOff) {
        WEIR_CHECK(attacher.attach(loopback, Direction::kEgress, "dev_out"));
    } else {
        WEIR_CHECK(attacher.detach(loopback, Direction::kEgress));
    }
    for (const auto& name : WEIR_TRY(attacher.sweep_stale())) {
        log::info("device gone: {}", name);
    }
    return {};
}

}  // namespace weir::agent
