// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kube/decode_kinds.h"

namespace weir::kube {
namespace {

using model::ClusterPolicyPeer;
using model::ClusterPolicyPort;
using model::ClusterPolicyRule;
using model::PolicyAction;
using model::PolicyTier;
using Kind = ClusterPolicyPeer::Kind;

/// The API's own bounds.
constexpr size_t kMaxRules = 25;
constexpr size_t kMaxPeers = 25;
constexpr size_t kMaxPorts = 25;
constexpr size_t kMaxNetworks = 25;

std::vector<Cursor> bounded(const Cursor& list, size_t most) {
    auto items = list.items();
    if (items.size() > most) list.error("has {} entries; {} are allowed", items.size(), most);
    return items;
}

void decode_pods(const Cursor& pods, ClusterPolicyPeer& peer) {
    peer.kind = Kind::kPods;
    for (const std::string_view field : {"namespaceSelector", "podSelector"})
        pods[field].require();
    peer.namespaces = decode_selector(pods["namespaceSelector"]);
    peer.pods = decode_selector(pods["podSelector"]);
}

/// Fields that Weir does not know leave the peer unsupported: its rule fails closed.
ClusterPolicyPeer decode_peer(const Cursor& entry, bool egress) {
    ClusterPolicyPeer peer;
    if (entry.entries().size() > 1) {
        entry.error("has {} fields; exactly one is allowed", entry.entries().size());
    }
    const Cursor namespaces = entry["namespaces"];
    const Cursor pods = entry["pods"];
    if (namespaces.present()) {
        peer.kind = Kind::kNamespaces;
        peer.namespaces = decode_selector(namespaces);
    } else if (pods.present()) {
        decode_pods(pods, peer);
    } else if (egress && entry["nodes"].present()) {
        peer.kind = Kind::kNodes;
        peer.nodes = decode_selector(entry["nodes"]);
    } else if (egress && entry["networks"].present()) {
        peer.kind = Kind::kNetworks;
        for (const Cursor& item : bounded(entry["networks"], kMaxNetworks)) {
            if (const auto prefix = item.prefix()) peer.networks.push_back(*prefix);
        }
    }
    return peer;
}

void decode_destination(const Cursor& protocol, ClusterPolicyPort& port) {
    const Cursor destination = protocol["destinationPort"];
    if (!destination.present()) return;
    const Cursor range = destination["range"];
    const Cursor number = destination["number"];
    if (range.present() == number.present()) {
        destination.error("needs either a number or a range");
    } else if (number.present()) {
        port.first = port.last = number.port().value_or(0);
    } else {
        range["start"].require();
        range["end"].require();
        port.first = range["start"].port().value_or(0);
        port.last = range["end"].port().value_or(0);
        if (port.first >= port.last) range.error("start must be below end");
    }
}

ClusterPolicyPort decode_port(const Cursor& entry) {
    static constexpr std::array<std::pair<std::string_view, model::Protocol>, 3> kProtocols = {
        {{"tcp", model::Protocol::kTcp},
         {"udp", model::Protocol::kUdp},
         {"sctp", model::Protocol::kSctp}}};
    ClusterPolicyPort port;
    size_t fields = 0;
    for (const auto& [key, protocol] : kProtocols) {
        const Cursor at = entry[key];
        if (!at.present()) continue;
        ++fields;
        port.protocol = protocol;
        decode_destination(at, port);
    }
    const Cursor name = entry["destinationNamedPort"];
    if (name.present()) {
        ++fields;
        port.name = name.text();
        if (port.name.empty()) name.error("must not be empty");
    }
    if (fields != 1) {
        entry.error("needs exactly one of tcp, udp, sctp and destinationNamedPort");
    }
    return port;
}

ClusterPolicyRule decode_rule(const Cursor& entry, bool egress) {
    static constexpr std::array<std::pair<std::string_view, PolicyAction>, 3> kActions = {
        {{"Accept", PolicyAction::kAccept},
         {"Deny", PolicyAction::kDeny},
         {"Pass", PolicyAction::kPass}}};
    ClusterPolicyRule rule;
    rule.name = entry["name"].text();
    entry["action"].require();
    rule.action = entry["action"].choice(kActions, PolicyAction::kDeny);
    const Cursor peers = entry[egress ? "to" : "from"];
    peers.require();
    for (const Cursor& peer : bounded(peers, kMaxPeers))
        rule.peers.push_back(decode_peer(peer, egress));
    if (peers.present() && rule.peers.empty()) peers.error("needs at least one entry");
    for (const Cursor& port : bounded(entry["protocols"], kMaxPorts))
        rule.ports.push_back(decode_port(port));
    const bool by_name = std::ranges::any_of(
        rule.ports, [](const ClusterPolicyPort& port) { return !port.protocol; });
    const bool beyond_pods = std::ranges::any_of(rule.peers, [](const ClusterPolicyPeer& peer) {
        return peer.kind == Kind::kNetworks || peer.kind == Kind::kNodes;
    });
    if (by_name && beyond_pods) {
        entry["protocols"].error("a port by name cannot stand beside networks or nodes");
    }
    return rule;
}

ClusterPolicyPeer decode_subject(const Cursor& subject) {
    subject.require();
    ClusterPolicyPeer peer = decode_peer(subject, false);
    if (subject.present() && peer.kind == Kind::kUnsupported) {
        subject.error("needs either namespaces or pods");
    }
    return peer;
}

}  // namespace

model::ClusterNetworkPolicy decode_cluster_network_policy(const Cursor& root, model::Meta meta) {
    static constexpr std::array<std::pair<std::string_view, PolicyTier>, 2> kTiers = {
        {{"Admin", PolicyTier::kAdmin}, {"Baseline", PolicyTier::kBaseline}}};
    const Cursor spec = root["spec"];
    model::ClusterNetworkPolicy policy;
    policy.meta = std::move(meta);
    for (const std::string_view field : {"tier", "priority"})
        spec[field].require();
    policy.tier = spec["tier"].choice(kTiers, PolicyTier::kAdmin);
    policy.priority = static_cast<uint16_t>(spec["priority"].integer(0, 1000).value_or(0));
    policy.subject = decode_subject(spec["subject"]);
    for (const Cursor& rule : bounded(spec["ingress"], kMaxRules))
        policy.ingress_rules.push_back(decode_rule(rule, false));
    for (const Cursor& rule : bounded(spec["egress"], kMaxRules))
        policy.egress_rules.push_back(decode_rule(rule, true));
    return policy;
}

}  // namespace weir::kube
