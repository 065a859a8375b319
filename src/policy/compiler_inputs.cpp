// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "policy/compiler.h"

namespace weir::policy {
namespace {

std::vector<IpAddress> addresses_of(const model::Node& node) {
    std::vector<IpAddress> out = node.internal_ips;
    out.insert(out.end(), node.external_ips.begin(), node.external_ips.end());
    std::ranges::sort(out);
    const auto rest = std::ranges::unique(out);
    out.erase(rest.begin(), rest.end());
    return out;
}

}  // namespace

const model::Labels& Compiler::labels_of(const model::Text& ns) const {
    static const model::Labels kNone;
    const auto it = namespaces_.find(ns);
    return it == namespaces_.end() ? kNone : it->second.labels;
}

const Compiler::PodState* Compiler::pod_of(const LocalEndpoint& endpoint) const {
    const auto it = pods_.find(endpoint.pod);
    if (it == pods_.end()) return nullptr;
    // A static pod is known to its runtime by another uid than to the API, where it is a mirror.
    const model::Meta& meta = it->second.pod.meta;
    const bool other = !meta.uid.empty() && !endpoint.uid.empty() && meta.uid != endpoint.uid &&
                       meta.annotations.get(model::kMirrorAnnotation) != endpoint.uid.view();
    return other ? nullptr : &it->second;
}

void Compiler::mark_pod(const model::ObjectName& name) {
    dirty_pods_.insert(name);
    if (const auto it = endpoint_of_.find(name); it != endpoint_of_.end())
        dirty_endpoints_.insert(it->second);
}

/// Pods of the host's network and finished ones own nothing; those of this node own what they were
/// given.
void Compiler::enter_pod(const model::ObjectName& name, PodState& state) {
    const bool counts = !state.pod.host_network && !state.pod.finished();
    state.addresses.clear();
    if (counts) state.addresses.assign(state.pod.ips.begin(), state.pod.ips.end());
    if (const auto it = endpoint_of_.find(name); it != endpoint_of_.end()) {
        const LocalEndpoint& endpoint = endpoints_.at(it->second).endpoint;
        if (counts && pod_of(endpoint) == &state) state.addresses = endpoint.addresses;
    }
    std::ranges::sort(state.addresses);
    const auto rest = std::ranges::unique(state.addresses);
    state.addresses.erase(rest.begin(), rest.end());
    for (const IpAddress& address : state.addresses) {
        addresses_[address].pods.push_back(name);
        dirty_addresses_.insert(address);
    }
}

void Compiler::leave_pod(const model::ObjectName& name, PodState& state) {
    for (const IpAddress& address : state.addresses) {
        std::erase(addresses_.at(address).pods, name);
        dirty_addresses_.insert(address);
    }
    state.addresses.clear();
}

void Compiler::put(const model::Pod& pod) {
    const model::ObjectName& name = pod.meta.name;
    const auto [it, fresh] = pods_.try_emplace(name);
    if (!fresh && it->second.pod == pod) return;
    leave_pod(name, it->second);
    it->second.pod = pod;
    enter_pod(name, it->second);
    if (fresh) pods_by_ns_[name.ns].insert(name);
    mark_pod(name);
}

void Compiler::remove_pod(const model::ObjectName& name) {
    const auto it = pods_.find(name);
    if (it == pods_.end()) return;
    leave_pod(name, it->second);
    mark_pod(name);
    dirty_pods_.erase(name);
    pods_.erase(it);
    auto& others = pods_by_ns_.at(name.ns);
    others.erase(name);
    if (others.empty()) pods_by_ns_.erase(name.ns);
}

void Compiler::put(const model::Namespace& ns) {
    const auto [it, fresh] = namespaces_.try_emplace(ns.meta.name.name);
    if (!fresh && it->second == ns.meta) return;
    it->second = ns.meta;
    const auto pods = pods_by_ns_.find(ns.meta.name.name);
    if (pods != pods_by_ns_.end())
        std::ranges::for_each(pods->second, [&](const auto& name) { mark_pod(name); });
}

void Compiler::remove_namespace(const model::Text& name) {
    if (namespaces_.erase(name) == 0) return;
    const auto pods = pods_by_ns_.find(name);
    if (pods != pods_by_ns_.end())
        std::ranges::for_each(pods->second, [&](const auto& pod) { mark_pod(pod); });
}

void Compiler::put(const model::Node& node) {
    const model::Text name = node.meta.name.name;
    const auto it = nodes_.find(name);
    if (it != nodes_.end() && it->second.node == node) return;
    remove_node(name);
    NodeState& state = nodes_[name];
    state.node = node;
    state.addresses = addresses_of(node);
    for (const IpAddress& address : state.addresses) {
        addresses_[address].nodes.push_back(name);
        dirty_addresses_.insert(address);
    }
    dirty_nodes_.insert(name);
}

void Compiler::remove_node(const model::Text& name) {
    const auto it = nodes_.find(name);
    if (it == nodes_.end()) return;
    for (const IpAddress& address : it->second.addresses) {
        std::erase(addresses_.at(address).nodes, name);
        dirty_addresses_.insert(address);
    }
    dirty_nodes_.erase(name);
    nodes_.erase(it);
}

void Compiler::put(const model::NetworkPolicy& policy) {
    put_policy(normalise(policy));
}
void Compiler::put(const model::ClusterNetworkPolicy& policy) {
    put_policy(normalise(policy));
}
void Compiler::remove_network_policy(const model::ObjectName& name) {
    drop_policy(name);
}
void Compiler::remove_cluster_policy(const model::Text& name) {
    drop_policy({.ns = "", .name = name});
}

void Compiler::put_policy(Policy policy) {
    drop_policy(policy.name);
    mark_subjects(policy);
    const model::ObjectName name = policy.name;
    policies_[name.ns][name.name] = std::make_shared<const Policy>(std::move(policy));
}

void Compiler::drop_policy(const model::ObjectName& name) {
    const auto ns = policies_.find(name.ns);
    if (ns == policies_.end()) return;
    const auto it = ns->second.find(name.name);
    if (it == ns->second.end()) return;
    mark_subjects(*it->second);
    ns->second.erase(it);
    if (ns->second.empty()) policies_.erase(ns);
}

void Compiler::mark_subjects(const Policy& policy) {
    for (const auto& [id, state] : endpoints_) {
        const PodState* pod = pod_of(state.endpoint);
        if (pod == nullptr) continue;
        const model::ObjectName& name = pod->pod.meta.name;
        if (policy.subject.matches(name, pod->pod.meta.labels, labels_of(name.ns)))
            dirty_endpoints_.insert(id);
    }
}

void Compiler::put(const LocalEndpoint& endpoint) {
    const auto it = endpoints_.find(endpoint.id);
    if (it != endpoints_.end() && it->second.endpoint == endpoint) return;
    const bool same = it != endpoints_.end() && it->second.endpoint.pod == endpoint.pod;
    if (it != endpoints_.end() && !same) remove_endpoint(endpoint.id);
    EndpointState& state = endpoints_[endpoint.id];
    for (const IpAddress& address : state.endpoint.addresses) {
        local_addresses_.erase(address);
        dirty_addresses_.insert(address);
    }
    state.endpoint = endpoint;
    endpoint_of_[endpoint.pod] = endpoint.id;
    for (const IpAddress& address : endpoint.addresses) {
        local_addresses_[address] = endpoint.id;
        dirty_addresses_.insert(address);
    }
    if (const auto pod = pods_.find(endpoint.pod); pod != pods_.end()) {
        leave_pod(endpoint.pod, pod->second);
        enter_pod(endpoint.pod, pod->second);
    }
    dirty_endpoints_.insert(endpoint.id);
}

/// The word goes with the endpoint's element, which is another's business.
void Compiler::remove_endpoint(uint32_t id) {
    const auto it = endpoints_.find(id);
    if (it == endpoints_.end()) return;
    const LocalEndpoint endpoint = it->second.endpoint;
    const uint16_t set = it->second.set;
    if (set > WEIR_POLICY_SET_CLOSED) leaving_.push_back(set);
    for (const IpAddress& address : endpoint.addresses) {
        const auto local = local_addresses_.find(address);
        if (local != local_addresses_.end() && local->second == id) local_addresses_.erase(local);
        dirty_addresses_.insert(address);
    }
    const auto named = endpoint_of_.find(endpoint.pod);
    if (named != endpoint_of_.end() && named->second == id) endpoint_of_.erase(named);
    endpoints_.erase(it);
    dirty_endpoints_.erase(id);
    if (const auto pod = pods_.find(endpoint.pod); pod != pods_.end()) {
        leave_pod(endpoint.pod, pod->second);
        enter_pod(endpoint.pod, pod->second);
    }
}

void Compiler::mark(const TermChange& change) {
    for (const Atom& atom : change.atoms)
        mark_atom(atom);
    if (!change.everybody) return;
    for (const auto& [name, state] : pods_) {
        if (!state.pod.ports.empty()) dirty_pods_.insert(name);
    }
}

void Compiler::mark_atom(const Atom& atom) {
    switch (atom.kind) {
        case Atom::Kind::kBlock:
            mark_range(atom.block);
            for (const IpPrefix& except : atom.except)
                dirty_ranges_.insert(except);
            return;
        case Atom::Kind::kNodes:
            for (const auto& [name, state] : nodes_)
                dirty_nodes_.insert(name);
            return;
        case Atom::Kind::kPods:
            break;
    }
    if (!atom.ns.empty()) return mark_pods_of(atom.ns, atom);
    for (const auto& [ns, pods] : pods_by_ns_) {
        if (atom.namespaces.matches(labels_of(ns))) mark_pods_of(ns, atom);
    }
}

void Compiler::mark_pods_of(const model::Text& ns, const Atom& atom) {
    const auto it = pods_by_ns_.find(ns);
    if (it == pods_by_ns_.end()) return;
    for (const model::ObjectName& name : it->second) {
        if (atom.labels.matches(pods_.at(name).pod.meta.labels)) dirty_pods_.insert(name);
    }
}

void Compiler::mark_range(const IpPrefix& prefix) {
    dirty_ranges_.insert(prefix);
}

}  // namespace weir::policy
