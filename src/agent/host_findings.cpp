// SPDX-License-Identifier: Apache-2.0
#include "agent/host_findings.h"

#include <algorithm>

#include "agent/settings.h"
#include "common/log.h"
#include "datapath/host_firewall.h"
#include "datapath/netlink/names.h"
#include "datapath/netlink/overlay_link.h"
#include "datapath/residue.h"

namespace weir::agent {
namespace {

/// "" if only processes of this host reach the metrics.
std::string open_metrics(const Config& config) {
    const auto listener = parse_listener(config.metrics_address);
    if (config.metrics_address.empty() || !listener || listener->first.is_loopback()) return {};
    return config.metrics_address;
}

std::optional<uint64_t> overlay_packets() {
    auto socket = netlink::Socket::open();
    if (!socket) return std::nullopt;
    const auto packets = netlink::packets_received(*socket, netlink::kOverlayLink);
    return packets ? std::optional(*packets) : std::nullopt;
}

}  // namespace

void HostFindings::look() {
    datapath::Inbound inbound{.metrics = open_metrics(config_)};
    if (config_.routing != Routing::kNative) {
        inbound.vxlan_port = static_cast<uint16_t>(config_.vxlan_port);
        inbound.vxlan_packets = overlay_packets();
    }
    auto residue =
        datapath::find_residue("/sys/class/net", cni_install(config_).conflist.parent_path());
    std::ranges::move(datapath::find_firewall(inbound), std::back_inserter(residue));
    std::vector<api::Finding> found;
    for (auto& one : residue)
        found.push_back({.what = std::move(one.what), .remedy = std::move(one.remedy)});
    for (const auto& one : found) {
        if (std::ranges::find(found_, one.what, &api::Finding::what) == found_.end()) {
            log::info("found on this host: {}: {}", one.what, one.remedy);
        }
    }
    found_ = std::move(found);
}

}  // namespace weir::agent
