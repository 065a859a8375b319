// SPDX-License-Identifier: Apache-2.0
#include "policy/reference.h"

#include <algorithm>
#include <functional>
#include <optional>

namespace weir::policy::test {
namespace {

using model::ClusterPolicyPeer;
using model::Labels;
using model::LabelSelector;
using model::Pod;

constexpr uint8_t kPortful[] = {6, 17, 132};

bool has_ports(uint8_t protocol) {
    return std::ranges::find(kPortful, protocol) != std::end(kPortful);
}

/// "NetworkPolicy, always-allowed and out-of-scope traffic": pods of the host's network and pods
/// that have finished own no address and are no peers.
bool counts(const Pod& pod) {
    return !pod.host_network && !pod.finished();
}

const LocalPod* local_of(const World& world, const model::ObjectName& pod) {
    for (const auto& [id, local] : world.local) {
        if (local.pod == pod) return &local;
    }
    return nullptr;
}

/// Addresses of local pods are what they were given; those of others are what the API says.
bool owns(const World& world, const Pod& pod, const IpAddress& address) {
    if (!counts(pod)) return false;
    const auto holds = [&](const auto& list) {
        return std::ranges::find(list, address) != list.end();
    };
    if (const LocalPod* local = local_of(world, pod.meta.name)) return holds(local->addresses);
    for (const auto& [id, local] : world.local) {
        if (holds(local.addresses)) return false;
    }
    return holds(pod.ips);
}

const Labels& namespace_labels(const World& world, const model::Text& name) {
    static const Labels kNone;
    const auto it = world.namespaces.find({.ns = "", .name = name});
    return it == world.namespaces.end() ? kNone : it->second.meta.labels;
}

/// One way to see the peer: as one of the pods or nodes that have the address, or as nothing but
/// the address.
struct Peer {
    IpAddress address;
    const Pod* pod = nullptr;
    const model::Node* node = nullptr;
};

std::vector<Peer> peers_at(const World& world, const IpAddress& address) {
    std::vector<Peer> out;
    for (const auto& [name, pod] : world.pods) {
        if (owns(world, pod, address)) out.push_back({.address = address, .pod = &pod});
    }
    for (const auto& [name, node] : world.nodes) {
        const auto has = [&](const auto& list) {
            return std::ranges::find(list, address) != list.end();
        };
        if (has(node.internal_ips) || has(node.external_ips))
            out.push_back({.address = address, .node = &node});
    }
    if (out.empty()) out.push_back({.address = address});
    return out;
}

/// The numbers a name stands for in a pod; `protocol` absent: in any protocol, if it is this one.
bool named(const Pod* pod, const model::Text& name, std::optional<model::Protocol> protocol,
           const Question& q) {
    if (pod == nullptr || (protocol && static_cast<uint8_t>(*protocol) != q.protocol)) return false;
    return std::ranges::any_of(pod->ports, [&](const model::ContainerPort& port) {
        return port.name == name && static_cast<uint8_t>(port.protocol) == q.protocol &&
               port.port == q.port;
    });
}

/// Ports are the destination's: of the peer on egress, of the pod asked on ingress.
const Pod* destination(const World& world, const Question& q, const Peer& peer) {
    return q.egress ? peer.pod : &world.pods.at(q.pod);
}

bool port_matches(const World& world, const Question& q, const Peer& peer,
                  const model::PolicyPort& port) {
    const auto protocol = port.protocol.value_or(model::Protocol::kTcp);
    if (static_cast<uint8_t>(protocol) != q.protocol) return false;
    if (!port.port) return true;
    if (port.port->number == 0) {
        return named(destination(world, q, peer), port.port->name, protocol, q);
    }
    const uint16_t last = port.end_port != 0 ? port.end_port : port.port->number;
    return port.port->number <= q.port && q.port <= last;
}

bool peer_matches(const World& world, const model::PolicyPeer& rule, const model::Text& ns,
                  const Peer& peer) {
    if (rule.block) {
        return rule.block->contains(peer.address) &&
               std::ranges::none_of(rule.except, [&](const IpPrefix& except) {
                   return except.contains(peer.address);
               });
    }
    if (peer.pod == nullptr) return false;
    const model::Text& its = peer.pod->meta.name.ns;
    if (rule.namespaces ? !rule.namespaces->matches(namespace_labels(world, its)) : its != ns)
        return false;
    return !rule.pods || rule.pods->matches(peer.pod->meta.labels);
}

bool rule_matches(const World& world, const Question& q, const model::PolicyRule& rule,
                  const model::Text& ns, const Peer& peer) {
    const bool from =
        rule.peers.empty() || std::ranges::any_of(rule.peers, [&](const model::PolicyPeer& one) {
            return peer_matches(world, one, ns, peer);
        });
    const bool on =
        rule.ports.empty() || std::ranges::any_of(rule.ports, [&](const model::PolicyPort& port) {
            return port_matches(world, q, peer, port);
        });
    return from && on;
}

/// A policy in audit mode neither closes nor opens anything.
bool speaks(const model::Meta& meta, bool audits) {
    return audits || meta.annotations.get("policy.weir.io/audit") != "true";
}

/// "NetworkPolicy, selection and isolation". Nothing: not isolated in this direction.
std::optional<Answer> network_tier(const World& world, const Question& q, const Peer& peer,
                                   bool audits) {
    const Labels& labels = world.pods.at(q.pod).meta.labels;
    bool isolated = false;
    for (const auto& [name, policy] : world.network_policies) {
        if (name.ns != q.pod.ns || !policy.subjects.matches(labels)) continue;
        if (!(q.egress ? policy.egress : policy.ingress) || !speaks(policy.meta, audits)) continue;
        isolated = true;
        const auto& rules = q.egress ? policy.egress_rules : policy.ingress_rules;
        for (size_t i = 0; i < rules.size(); ++i) {
            if (rule_matches(world, q, rules[i], name.ns, peer))
                return Answer{true, name.to_string(), static_cast<int>(i)};
        }
    }
    // "A pod cannot block access to itself": isolation gives it the final word that it is allowed.
    if (isolated) return Answer{q.self, "isolated", -1};
    return std::nullopt;
}

bool selects(const World& world, const ClusterPolicyPeer& peer, const Pod& pod) {
    if (!peer.namespaces.matches(namespace_labels(world, pod.meta.name.ns))) return false;
    return peer.kind == ClusterPolicyPeer::Kind::kNamespaces || peer.pods.matches(pod.meta.labels);
}

bool peer_matches(const World& world, const ClusterPolicyPeer& rule, const Peer& peer) {
    switch (rule.kind) {
        case ClusterPolicyPeer::Kind::kNamespaces:
        case ClusterPolicyPeer::Kind::kPods:
            return peer.pod != nullptr && selects(world, rule, *peer.pod);
        case ClusterPolicyPeer::Kind::kNodes:
            return peer.node != nullptr && rule.nodes.matches(peer.node->meta.labels);
        case ClusterPolicyPeer::Kind::kNetworks:
            return std::ranges::any_of(rule.networks, [&](const IpPrefix& network) {
                return network.contains(peer.address);
            });
        case ClusterPolicyPeer::Kind::kUnsupported:
            return false;
    }
    return false;
}

bool port_matches(const World& world, const Question& q, const Peer& peer,
                  const model::ClusterPolicyPort& port) {
    if (!port.protocol) return named(destination(world, q, peer), port.name, {}, q);
    if (static_cast<uint8_t>(*port.protocol) != q.protocol) return false;
    return port.first == 0 || (port.first <= q.port && q.port <= port.last);
}

/// The action of a rule that matches. A peer of an unknown sort: an Accept rule matches nothing,
/// any other denies everything.
std::optional<model::PolicyAction> apply(const World& world, const Question& q,
                                         const model::ClusterPolicyRule& rule, const Peer& peer) {
    const bool unknown = std::ranges::any_of(rule.peers, [](const ClusterPolicyPeer& one) {
        return one.kind == ClusterPolicyPeer::Kind::kUnsupported;
    });
    if (unknown && rule.action == model::PolicyAction::kAccept) return std::nullopt;
    if (unknown) return model::PolicyAction::kDeny;
    const bool from = std::ranges::any_of(
        rule.peers, [&](const ClusterPolicyPeer& one) { return peer_matches(world, one, peer); });
    const bool on = rule.ports.empty() ||
                    std::ranges::any_of(rule.ports, [&](const model::ClusterPolicyPort& port) {
                        return port_matches(world, q, peer, port);
                    });
    if (from && on) return rule.action;
    return std::nullopt;
}

/// "ClusterNetworkPolicy v1alpha2". Nothing: no rule matched, or one passed the decision on. A Pass
/// in the Baseline tier leads to "default allow": it is the rule that allows.
std::optional<Answer> cluster_tier(const World& world, const Question& q, const Peer& peer,
                                   model::PolicyTier tier, bool audits) {
    std::vector<const model::ClusterNetworkPolicy*> policies;
    for (const auto& [name, policy] : world.cluster_policies) {
        if (policy.tier == tier && speaks(policy.meta, audits) &&
            selects(world, policy.subject, world.pods.at(q.pod)))
            policies.push_back(&policy);
    }
    std::ranges::sort(policies, [](const auto* a, const auto* b) {
        return std::pair(a->priority, a->meta.name.name) <
               std::pair(b->priority, b->meta.name.name);
    });
    const char* prefix = tier == model::PolicyTier::kAdmin ? "admin/" : "baseline/";
    for (const auto* policy : policies) {
        const auto& rules = q.egress ? policy->egress_rules : policy->ingress_rules;
        for (size_t i = 0; i < rules.size(); ++i) {
            const auto action = apply(world, q, rules[i], peer);
            if (!action) continue;
            const bool last = tier == model::PolicyTier::kBaseline;
            if (*action == model::PolicyAction::kPass && !last) return std::nullopt;
            return Answer{*action != model::PolicyAction::kDeny,
                          prefix + policy->meta.name.name.str(), static_cast<int>(i)};
        }
    }
    return std::nullopt;
}

Answer judge_as(const World& world, const Question& q, const Peer& peer, bool audits) {
    const auto admin = cluster_tier(world, q, peer, model::PolicyTier::kAdmin, audits);
    if (admin) return *admin;
    if (const auto network = network_tier(world, q, peer, audits)) return *network;
    return cluster_tier(world, q, peer, model::PolicyTier::kBaseline, audits).value_or(Answer{});
}

}  // namespace

Answer judge(const World& world, const Question& asked, bool audits) {
    const Pod& pod = world.pods.at(asked.pod);
    if (pod.host_network) return {};
    Question q = asked;
    if (!has_ports(q.protocol)) q.port = 0;
    std::optional<Answer> answer;
    // An address that two live owners claim has only what both may do.
    for (const Peer& peer : peers_at(world, q.peer)) {
        const Answer one = judge_as(world, q, peer, audits);
        if (!answer || !one.allowed) answer = one;
        if (!one.allowed) break;
    }
    return *answer;
}

bool would_deny(const World& world, const Question& question) {
    return judge(world, question).allowed && !judge(world, question, true).allowed;
}

bool allowed(const World& world, const Flow& flow, const IpAddress& own_node) {
    const LocalPod* source = nullptr;
    const LocalPod* target = nullptr;
    for (const auto& [id, local] : world.local) {
        const auto has = [&](const IpAddress& address) {
            return std::ranges::find(local.addresses, address) != local.addresses.end();
        };
        if (has(flow.source) && !flow.from_host) source = &local;
        if (has(flow.destination)) target = &local;
    }
    const bool self = source != nullptr && source == target;
    if (self && !flow.through_service) return true;
    const auto end = [&](const LocalPod& pod, bool egress) {
        const IpAddress& peer = egress ? flow.destination : flow.source;
        return judge(world, {pod.pod, egress, peer, flow.protocol, flow.port, self}).allowed;
    };
    if (source != nullptr && flow.destination != own_node && !end(*source, true)) return false;
    return target == nullptr || flow.from_host || end(*target, false);
}

}  // namespace weir::policy::test
