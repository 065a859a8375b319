// SPDX-License-Identifier: Apache-2.0
#include "kube/decode_kinds.h"

namespace weir::kube {
namespace {

using model::PolicyPeer;
using model::PolicyPort;
using model::PolicyRule;

PolicyPort decode_port(const Cursor& entry) {
    PolicyPort port;
    port.protocol = entry["protocol"].protocol();
    port.port = entry["port"].port_ref();
    const Cursor end = entry["endPort"];
    if (!end.present()) return port;
    port.end_port = end.port().value_or(0);
    if (!port.port || port.port->number == 0) {
        end.error("needs a port by number beside it");
    } else if (port.end_port != 0 && port.end_port < port.port->number) {
        end.error("{} is below port {}", port.end_port, port.port->number);
    }
    return port;
}

void decode_block(const Cursor& block, PolicyPeer& peer) {
    const Cursor cidr = block["cidr"];
    cidr.require();
    peer.block = cidr.prefix();
    for (const Cursor& item : block["except"].items()) {
        const auto except = item.prefix();
        if (!except || !peer.block) continue;
        if (!peer.block->contains(except->address()) || except->length() <= peer.block->length()) {
            item.error("{} is not inside of {}", except->to_string(), peer.block->to_string());
        }
        peer.except.push_back(*except);
    }
}

PolicyPeer decode_peer(const Cursor& entry) {
    PolicyPeer peer;
    const Cursor pods = entry["podSelector"];
    const Cursor namespaces = entry["namespaceSelector"];
    const Cursor block = entry["ipBlock"];
    if (pods.present()) peer.pods = decode_selector(pods);
    if (namespaces.present()) peer.namespaces = decode_selector(namespaces);
    if (block.present()) decode_block(block, peer);
    if (block.present() && (peer.pods || peer.namespaces)) {
        block.error("must not stand beside podSelector or namespaceSelector");
    }
    if (!block.present() && !peer.pods && !peer.namespaces) {
        entry.error("needs a podSelector, namespaceSelector or ipBlock");
    }
    return peer;
}

std::vector<PolicyRule> decode_rules(const Cursor& rules, std::string_view peers) {
    std::vector<PolicyRule> out;
    for (const Cursor& entry : rules.items()) {
        PolicyRule rule;
        for (const Cursor& port : entry["ports"].items())
            rule.ports.push_back(decode_port(port));
        for (const Cursor& peer : entry[peers].items())
            rule.peers.push_back(decode_peer(peer));
        out.push_back(std::move(rule));
    }
    return out;
}

/// Absent: Ingress always, Egress if there is an egress rule.
void decode_types(const Cursor& types, model::NetworkPolicy& policy) {
    static constexpr std::array<std::pair<std::string_view, bool>, 2> kTypes = {
        {{"Ingress", false}, {"Egress", true}}};
    const auto items = types.items();
    if (items.empty()) {
        policy.ingress = true;
        policy.egress = !policy.egress_rules.empty();
        return;
    }
    for (const Cursor& item : items) {
        const auto egress = item.one_of(kTypes);
        if (!egress) continue;
        bool& direction = *egress ? policy.egress : policy.ingress;
        if (direction) item.error("stands twice");
        direction = true;
    }
}

}  // namespace

model::NetworkPolicy decode_network_policy(const Cursor& root, model::Meta meta) {
    const Cursor spec = root["spec"];
    model::NetworkPolicy policy;
    policy.meta = std::move(meta);
    policy.subjects = decode_selector(spec["podSelector"]);
    policy.ingress_rules = decode_rules(spec["ingress"], "from");
    policy.egress_rules = decode_rules(spec["egress"], "to");
    decode_types(spec["policyTypes"], policy);
    return policy;
}

}  // namespace weir::kube
