// SPDX-License-Identifier: Apache-2.0
#include "datapath/host_firewall.h"

#include <fmt/format.h>

#include "datapath/netlink/firewall.h"

namespace weir::datapath {
namespace {

std::string overlay_text(const Inbound& inbound) {
    if (!inbound.vxlan_port) return {};
    std::string seen;
    if (inbound.vxlan_packets) {
        seen = *inbound.vxlan_packets == 0
                   ? " (none has come so far)"
                   : fmt::format(" (admitted: {} packets so far)", *inbound.vxlan_packets);
    }
    return fmt::format("UDP port {} from other nodes{}, ", *inbound.vxlan_port, seen);
}

}  // namespace

std::vector<Residue> find_firewall(const Inbound& inbound) {
    const auto chains = netlink::closed_input_chains();
    if (!chains) return {{"nftables", "not looked at: " + chains.error().message()}};
    std::string wanted = overlay_text(inbound);
    if (!inbound.metrics.empty()) wanted += fmt::format("TCP {} for metrics, ", inbound.metrics);
    std::vector<Residue> found;
    for (const auto& chain : *chains) {
        found.push_back(
            {fmt::format("firewall chain {} {} {}", chain.family, chain.table, chain.name),
             fmt::format("it drops what its rules do not admit: see that they admit {}answers "
                         "(ct state established), and what pods and other nodes ask of this host "
                         "itself, like the kubelet's port",
                         wanted)});
    }
    return found;
}

}  // namespace weir::datapath
