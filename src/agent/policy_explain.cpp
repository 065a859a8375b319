// SPDX-License-Identifier: Apache-2.0
#include "agent/policy_explain.h"

#include <algorithm>

#include "flow/record.h"
#include "policy/explain.h"

namespace weir::agent {
namespace {

using policy::Direction;

/// One end of the flow.
struct End {
    IpAddress address;
    const model::Pod* pod = nullptr;
    const model::Node* node = nullptr;
    std::string text;
};

bool owns_addresses(const model::Pod& pod) {
    return !pod.host_network && !pod.finished() && !pod.ips.empty();
}

const model::Node* node_at(const kube::Store& store, const IpAddress& address) {
    const model::Node* out = nullptr;
    store.for_each<model::Node>([&](const model::Node& node) {
        const bool owns =
            std::ranges::find(node.internal_ips, address) != node.internal_ips.end() ||
            std::ranges::find(node.external_ips, address) != node.external_ips.end();
        if (owns) out = &node;
    });
    return out;
}

Result<End> end_at(const kube::Store& store, const IpAddress& address) {
    End end{.address = address,
            .pod = store.pod_by_ip(address),
            .node = node_at(store, address),
            .text = address.to_string()};
    if (end.pod != nullptr) end.text = "Pod " + end.pod->meta.name.to_string();
    if (end.pod == nullptr && end.node != nullptr)
        end.text = "Node " + end.node->meta.name.name.str();
    return end;
}

/// `family`: of the other end, if that has an address already.
Result<End> find_end(const kube::Store& store, const std::string& text,
                     std::optional<Family> family) {
    if (const auto address = IpAddress::parse(text)) return end_at(store, *address);
    const size_t slash = text.find('/');
    if (slash == std::string::npos) {
        return fail(Errc::kInvalid, "\"{}\" is neither NAMESPACE/POD nor an address", text);
    }
    const model::ObjectName name{model::Text(text.substr(0, slash)),
                                 model::Text(text.substr(slash + 1))};
    const auto* pod = store.find<model::Pod>(name);
    if (pod == nullptr) return fail(Errc::kNotFound, "no Pod {} is known", text);
    if (pod->host_network && !pod->ips.empty()) return end_at(store, pod->ips[0]);
    if (!owns_addresses(*pod)) {
        return fail(Errc::kInvalid, "Pod {} has no address: it has not started, or has finished",
                    text);
    }
    for (const IpAddress& address : pod->ips) {
        if (family && address.family() != *family) continue;
        return End{.address = address, .pod = pod, .text = "Pod " + name.to_string()};
    }
    return fail(Errc::kInvalid, "Pod {} has no address of the other end's family", text);
}

std::vector<policy::PolicyPtr> policies_of(const kube::Store& store, const model::Pod& pod) {
    std::vector<policy::PolicyPtr> out;
    const auto* ns = store.find<model::Namespace>({{}, pod.meta.name.ns});
    const model::Labels labels = ns == nullptr ? model::Labels() : ns->meta.labels;
    const auto take = [&](const auto& object) {
        const auto& in = object.meta.name.ns;
        if (!in.empty() && in != pod.meta.name.ns) return;
        auto policy = std::make_shared<const policy::Policy>(policy::normalise(object));
        if (policy->subject.matches(pod.meta.name, pod.meta.labels, labels))
            out.push_back(std::move(policy));
    };
    store.for_each<model::NetworkPolicy>(take);
    store.for_each<model::ClusterNetworkPolicy>(take);
    std::ranges::sort(out, [](const auto& a, const auto& b) { return precedes(*a, *b); });
    return out;
}

std::string action_text(weir_policy_action action) {
    if (action == WEIR_POLICY_ACCEPT) return "accept";
    return action == WEIR_POLICY_PASS ? "pass" : "deny";
}

api::ExplainedRule to_api(const policy::RuleVerdict& verdict, Direction direction) {
    api::ExplainedRule out{.rule = fmt::format("{} {}[{}]", verdict.policy->title(),
                                               policy::to_string(direction), verdict.index),
                           .action = action_text(verdict.action),
                           .reached = verdict.reached,
                           .peer = verdict.peer,
                           .port = verdict.port,
                           .decides = verdict.decides};
    for (const auto& term : verdict.terms)
        (term.satisfied ? out.satisfied : out.unsatisfied).push_back(term.text);
    return out;
}

/// What no policy is asked about; "": they are.
std::string exemption(const End& subject, const End& peer, Direction direction) {
    if (subject.pod == peer.pod) return "a pod and itself";
    const bool own_node = peer.pod == nullptr && peer.node != nullptr &&
                          peer.node->meta.name.name == subject.pod->node_name;
    if (direction == Direction::kIngress && own_node) return "the pod's own node, if it sends this";
    return {};
}

api::ExplainedEnd explain_end(const kube::Store& store, const End& subject, const End& peer,
                              policy::FlowView flow) {
    api::ExplainedEnd out{.direction = std::string(policy::to_string(flow.direction)),
                          .end = subject.text};
    if (subject.pod == nullptr) {
        out.by = "no pod: no policy is about it";
        return out;
    }
    out.by = exemption(subject, peer, flow.direction);
    if (!out.by.empty()) return out;
    const bool own_node = peer.pod == nullptr && peer.node != nullptr &&
                          peer.node->meta.name.name == subject.pod->node_name;
    flow.self = flow.direction == Direction::kEgress && own_node;
    const auto* ns =
        peer.pod == nullptr ? nullptr : store.find<model::Namespace>({{}, peer.pod->meta.name.ns});
    const auto policies = policies_of(store, *subject.pod);
    const auto told = policy::explain(
        policies, *subject.pod,
        policy::PeerView{.address = peer.address,
                         .pod = peer.pod,
                         .namespace_labels = ns == nullptr ? nullptr : &ns->meta.labels,
                         .node = peer.node},
        flow);
    out.allowed = told.allowed;
    out.by = told.by;
    out.would_deny = told.would_deny.value_or("");
    for (const auto& verdict : told.rules)
        out.rules.push_back(to_api(verdict, flow.direction));
    return out;
}

}  // namespace

Result<api::Explanation> explain_flow(const kube::Store& store, const ExplainQuery& query) {
    const auto protocol = flow::protocol_by_name(query.protocol.empty() ? "TCP" : query.protocol);
    if (!protocol) {
        return fail(Errc::kInvalid, "protocol \"{}\": it is TCP, UDP, SCTP, ICMP or a number",
                    query.protocol);
    }
    const auto literal = IpAddress::parse(query.to);
    const auto from = WEIR_TRY(
        find_end(store, query.from, literal ? std::optional(literal->family()) : std::nullopt));
    const auto to = WEIR_TRY(find_end(store, query.to, from.address.family()));
    if (from.address.family() != to.address.family()) {
        return fail(Errc::kInvalid, "{} and {} are of different families", from.address.to_string(),
                    to.address.to_string());
    }
    const policy::FlowView flow{.protocol = *protocol, .port = query.port};
    api::Explanation out{.from = from.text,
                         .to = to.text,
                         .protocol = flow::protocol_name(*protocol),
                         .port = query.port};
    for (const Direction direction : {Direction::kEgress, Direction::kIngress}) {
        policy::FlowView of_end = flow;
        of_end.direction = direction;
        const bool sends = direction == Direction::kEgress;
        out.ends.push_back(explain_end(store, sends ? from : to, sends ? to : from, of_end));
    }
    out.allowed = std::ranges::all_of(out.ends, &api::ExplainedEnd::allowed);
    return out;
}

}  // namespace weir::agent
