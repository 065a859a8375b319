// SPDX-License-Identifier: Apache-2.0
#include "agent/policy_explain.h"

#include <algorithm>

#include "agent/policies_by_pod.h"
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
        return fail(Errc::kInvalid, "\"{}\" is neither NAMESPACE/NAME nor an address", text);
    }
    const model::ObjectName name{model::Text(text.substr(0, slash)),
                                 model::Text(text.substr(slash + 1))};
    const auto* pod = store.find<model::Pod>(name);
    if (pod == nullptr) return fail(Errc::kNotFound, "no Pod or Service {} is known", text);
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
    const auto policies = Policies(store, subject.pod->meta.name.ns).of(*subject.pod);
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

Result<api::Explanation> explain_pair(const kube::Store& store, const End& from, const End& to,
                                      uint8_t protocol, uint16_t port) {
    if (from.address.family() != to.address.family()) {
        return fail(Errc::kInvalid, "{} and {} are of different families", from.address.to_string(),
                    to.address.to_string());
    }
    api::Explanation out{
        .from = from.text, .to = to.text, .protocol = flow::protocol_name(protocol), .port = port};
    for (const Direction direction : {Direction::kEgress, Direction::kIngress}) {
        const policy::FlowView flow{.direction = direction, .protocol = protocol, .port = port};
        const bool sends = direction == Direction::kEgress;
        out.ends.push_back(explain_end(store, sends ? from : to, sends ? to : from, flow));
    }
    out.allowed = std::ranges::all_of(out.ends, &api::ExplainedEnd::allowed);
    return out;
}

bool has_address(const model::Service& service, const IpAddress& address) {
    const auto among = [&](const auto& addresses) {
        return std::ranges::find(addresses, address) != addresses.end();
    };
    return among(service.cluster_ips) || among(service.external_ips) ||
           std::ranges::any_of(service.ingress, [&](const auto& one) { return one.ip == address; });
}

/// By "NAMESPACE/NAME", if no pod has that name, or by an address that it has; null: none.
const model::Service* find_service(const kube::Store& store, const std::string& text) {
    const auto address = IpAddress::parse(text);
    if (!address) {
        const size_t slash = text.find('/');
        if (slash == std::string::npos) return nullptr;
        const model::ObjectName name{model::Text(text.substr(0, slash)),
                                     model::Text(text.substr(slash + 1))};
        return store.find<model::Pod>(name) == nullptr ? store.find<model::Service>(name) : nullptr;
    }
    const model::Service* found = nullptr;
    store.for_each<model::Service>([&](const model::Service& service) {
        if (has_address(service, *address)) found = &service;
    });
    return found;
}

/// Where a Service leads to: an endpoint that is ready, and its port.
struct Backend {
    IpAddress address;
    uint16_t port = 0;
};

std::vector<Backend> backends_of(const kube::Store& store, const model::Service& service,
                                 const model::ServicePort& port) {
    std::vector<Backend> out;
    for (const model::EndpointSlice* slice : store.slices_of(service.meta.name)) {
        const auto of = std::ranges::find_if(slice->ports, [&](const auto& one) {
            return one.name == port.name && one.protocol == port.protocol;
        });
        if (of == slice->ports.end()) continue;
        for (const model::Endpoint& endpoint : slice->endpoints) {
            if (endpoint.ready) out.push_back({endpoint.address, of->port});
        }
    }
    return out;
}

Result<model::ServicePort> port_of(const model::Service& service, const ExplainQuery& query,
                                   uint8_t protocol) {
    std::string known;
    for (const model::ServicePort& port : service.ports) {
        if (static_cast<uint8_t>(port.protocol) == protocol && port.port == query.port) return port;
        known +=
            fmt::format("{}{} {}", known.empty() ? "" : ", ", to_string(port.protocol), port.port);
    }
    return fail(Errc::kInvalid, "Service {} has no such port; it has {}",
                service.meta.name.to_string(), known.empty() ? "none" : known);
}

/// By way of each backend that may be chosen, of a family that the sender has.
Result<api::Explanation> explain_service(const kube::Store& store, const ExplainQuery& query,
                                         const model::Service& service, uint8_t protocol) {
    const auto port = WEIR_TRY(port_of(service, query, protocol));
    api::Explanation out{.from = query.from,
                         .to = "Service " + service.meta.name.to_string(),
                         .protocol = flow::protocol_name(protocol),
                         .port = query.port};
    for (const Backend& backend : backends_of(store, service, port)) {
        const auto from = find_end(store, query.from, backend.address.family());
        if (!from && from.error().code() == Errc::kInvalid) continue;
        if (!from) return Failure(from.error());
        if (from->address.family() != backend.address.family()) continue;
        out.from = from->text;
        const End to = WEIR_TRY(end_at(store, backend.address));
        out.backends.push_back(WEIR_TRY(explain_pair(store, *from, to, protocol, backend.port)));
    }
    if (out.backends.empty()) {
        return fail(Errc::kNotFound,
                    "Service {} has no ready endpoint of a family that {} has: it refuses",
                    service.meta.name.to_string(), query.from);
    }
    out.allowed = std::ranges::all_of(out.backends, &api::Explanation::allowed);
    return out;
}

}  // namespace

Result<api::Explanation> explain_flow(const kube::Store& store, const ExplainQuery& query) {
    const auto protocol = flow::protocol_by_name(query.protocol.empty() ? "TCP" : query.protocol);
    if (!protocol) {
        return fail(Errc::kInvalid, "protocol \"{}\": it is TCP, UDP, SCTP, ICMP or a number",
                    query.protocol);
    }
    if (const auto* service = find_service(store, query.to)) {
        return explain_service(store, query, *service, *protocol);
    }
    const auto literal = IpAddress::parse(query.to);
    const auto from = WEIR_TRY(
        find_end(store, query.from, literal ? std::optional(literal->family()) : std::nullopt));
    const auto to = WEIR_TRY(find_end(store, query.to, from.address.family()));
    return explain_pair(store, from, to, *protocol, query.port);
}

}  // namespace weir::agent
