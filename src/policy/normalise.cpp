// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "policy/rule.h"

namespace weir::policy {
namespace {

using model::ClusterPolicyPeer;
using Kind = Atom::Kind;

bool in_audit(const model::Meta& meta) {
    return meta.annotations.get(kAuditAnnotation) == "true";
}

Result<Atom> to_atom(const model::PolicyPeer& peer, const model::Text& ns) {
    Atom atom;
    if (peer.block) {
        if (peer.pods || peer.namespaces)
            return fail(Errc::kInvalid, "an ipBlock stands beside a selector; split the peer");
        atom.kind = Kind::kBlock;
        atom.block = *peer.block;
        atom.except = peer.except;
        std::ranges::sort(atom.except);
        for (const IpPrefix& except : atom.except) {
            if (!atom.block.contains(except.address()) || except.length() <= atom.block.length())
                return fail(Errc::kInvalid, "except {} is not inside of {}", except.to_string(),
                            atom.block.to_string());
        }
        return atom;
    }
    if (!peer.pods && !peer.namespaces)
        return fail(Errc::kInvalid,
                    "a peer has neither podSelector nor namespaceSelector nor ipBlock");
    if (peer.namespaces) {
        atom.namespaces = *peer.namespaces;
    } else {
        atom.ns = ns;
    }
    if (peer.pods) atom.labels = *peer.pods;
    return atom;
}

Result<PortMatch> to_port(const model::PolicyPort& port) {
    PortMatch out{.protocol = port.protocol.value_or(model::Protocol::kTcp)};
    if (!port.port) {
        if (port.end_port != 0) return fail(Errc::kInvalid, "an endPort has no port beside it");
        return out;
    }
    out.name = port.port->number == 0 ? port.port->name : model::Text();
    if (port.port->number == 0) {
        if (port.end_port != 0) return fail(Errc::kInvalid, "an endPort stands beside a name");
        return out;
    }
    out.first = port.port->number;
    out.last = port.end_port != 0 ? port.end_port : out.first;
    if (out.last < out.first)
        return fail(Errc::kInvalid, "endPort {} is below port {}", out.last, out.first);
    return out;
}

Result<std::vector<Rule>> to_rules(const std::vector<model::PolicyRule>& rules,
                                   const model::Text& ns) {
    std::vector<Rule> out;
    for (const model::PolicyRule& rule : rules) {
        Rule& made = out.emplace_back();
        made.any_peer = rule.peers.empty();
        made.any_port = rule.ports.empty();
        for (const auto& peer : rule.peers)
            made.peers.push_back(WEIR_TRY(to_atom(peer, ns)));
        for (const auto& port : rule.ports)
            made.ports.push_back(WEIR_TRY(to_port(port)));
    }
    return out;
}

void add_pods(const ClusterPolicyPeer& peer, std::vector<Atom>& out) {
    Atom& atom = out.emplace_back();
    atom.namespaces = peer.namespaces;
    if (peer.kind == ClusterPolicyPeer::Kind::kPods) atom.labels = peer.pods;
}

/// False: a peer that is not served.
bool add_atoms(const ClusterPolicyPeer& peer, std::vector<Atom>& out) {
    switch (peer.kind) {
        case ClusterPolicyPeer::Kind::kNamespaces:
        case ClusterPolicyPeer::Kind::kPods:
            add_pods(peer, out);
            return true;
        case ClusterPolicyPeer::Kind::kNodes:
            out.push_back({.kind = Kind::kNodes, .labels = peer.nodes});
            return true;
        case ClusterPolicyPeer::Kind::kNetworks:
            for (const IpPrefix& network : peer.networks)
                out.push_back({.kind = Kind::kBlock, .block = network});
            return true;
        case ClusterPolicyPeer::Kind::kUnsupported:
            break;
    }
    return false;
}

/// Nothing comes after the Baseline tier but that all is accepted: who passes there, accepts.
weir_policy_action to_action(model::PolicyAction action, weir_policy_tier tier) {
    switch (action) {
        case model::PolicyAction::kAccept:
            return WEIR_POLICY_ACCEPT;
        case model::PolicyAction::kPass:
            return tier == WEIR_POLICY_BASELINE ? WEIR_POLICY_ACCEPT : WEIR_POLICY_PASS;
        case model::PolicyAction::kDeny:
            break;
    }
    return WEIR_POLICY_DENY;
}

/// A rule with a peer of unknown meaning fails closed, as the API demands.
Rule closed_rule(model::PolicyAction action) {
    const bool accepts = action == model::PolicyAction::kAccept;
    return {.action = accepts ? WEIR_POLICY_ACCEPT : WEIR_POLICY_DENY,
            .any_peer = !accepts,
            .any_port = true};
}

Rule to_rule(const model::ClusterPolicyRule& rule, std::string_view where, Policy& policy) {
    Rule out{.action = to_action(rule.action, policy.tier), .any_port = rule.ports.empty()};
    for (const ClusterPolicyPeer& peer : rule.peers) {
        if (add_atoms(peer, out.peers)) continue;
        policy.problems.push_back(fmt::format(
            "{} has a peer of a sort that is not served: the rule {}; write it with namespaces, "
            "pods, nodes or networks",
            where,
            rule.action == model::PolicyAction::kAccept ? "accepts nothing" : "denies everything"));
        return closed_rule(rule.action);
    }
    for (const auto& port : rule.ports) {
        PortMatch match{.protocol = port.protocol, .name = port.name};
        if (port.first != 0) {
            match.first = port.first;
            match.last = port.last;
        }
        out.ports.push_back(std::move(match));
    }
    return out;
}

}  // namespace

Policy normalise(const model::NetworkPolicy& policy) {
    Policy out;
    out.name = policy.meta.name;
    out.uid = policy.meta.uid;
    out.audit = in_audit(policy.meta);
    out.subject.ns = policy.meta.name.ns;
    out.subject.labels = policy.subjects;
    out.isolates = {policy.egress, policy.ingress};
    for (const Direction direction : kDirections) {
        const size_t d = index_of(direction);
        if (!out.isolates[d]) continue;
        const auto& rules =
            direction == Direction::kEgress ? policy.egress_rules : policy.ingress_rules;
        auto made = to_rules(rules, out.name.ns);
        if (made) {
            out.rules[d] = *std::move(made);
            continue;
        }
        out.problems.push_back(
            fmt::format("{}: {}; until it is mended the policy isolates what it selects and "
                        "allows nothing",
                        to_string(direction), made.error().message()));
    }
    if (out.problems.empty()) return out;
    for (auto& rules : out.rules)
        rules.clear();
    return out;
}

Policy normalise(const model::ClusterNetworkPolicy& policy) {
    Policy out;
    out.name = policy.meta.name;
    out.uid = policy.meta.uid;
    out.audit = in_audit(policy.meta);
    out.tier = policy.tier == model::PolicyTier::kAdmin ? WEIR_POLICY_ADMIN : WEIR_POLICY_BASELINE;
    out.priority = policy.priority;
    out.subject.namespaces = policy.subject.namespaces;
    if (policy.subject.kind == ClusterPolicyPeer::Kind::kPods)
        out.subject.labels = policy.subject.pods;
    for (const Direction direction : kDirections) {
        const bool egress = direction == Direction::kEgress;
        const auto& rules = egress ? policy.egress_rules : policy.ingress_rules;
        for (size_t i = 0; i < rules.size(); ++i) {
            const auto where = fmt::format("{}[{}]", to_string(direction), i);
            out.rules[index_of(direction)].push_back(to_rule(rules[i], where, out));
        }
    }
    return out;
}

}  // namespace weir::policy
