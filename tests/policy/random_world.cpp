// SPDX-License-Identifier: Apache-2.0
#include "policy/random_world.h"

#include <algorithm>

#include <rapidcheck.h>

namespace weir::policy::test {

int below(int limit) {
    return *rc::gen::resize(100, rc::gen::inRange(0, limit));
}
bool one_in(int n) {
    return below(n) == n - 1;
}

namespace {

using model::ClusterPolicyPeer;
using model::LabelRequirement;
using model::Protocol;

constexpr const char* kNamespaces[] = {"x", "y", "z"};
constexpr const char* kPods[] = {"a", "b", "c"};
constexpr const char* kKeys[] = {"app", "role"};
constexpr const char* kValues[] = {"web", "db"};
constexpr const char* kPortNames[] = {"http", "dns"};
constexpr uint16_t kPorts[] = {80, 81, 53};
constexpr uint16_t kEdges[] = {1, 53, 80, 81, 82, 443, 65535};
constexpr Protocol kProtocols[] = {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp};
constexpr const char* kAddresses4[] = {"10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.1.1",
                                       "10.1.1.2", "10.1.1.3", "10.1.2.1", "10.1.2.2"};
constexpr const char* kAddresses6[] = {"fd01::1", "fd01::2", "fd01::1:1", "fd01::1:2"};
constexpr const char* kOutside[] = {"192.0.2.1",  "198.51.100.7", "2001:db8::7",
                                    "172.18.0.2", "172.18.0.3",   "fd00::2"};
constexpr const char* kBlocks[] = {"0.0.0.0/0",   "10.1.0.0/16",     "10.1.0.0/24",  "10.1.1.0/24",
                                   "10.1.0.2/32", "192.0.2.0/24",    "::/0",         "fd01::/16",
                                   "fd01::/112",  "198.51.100.0/24", "172.18.0.2/32"};

template <typename T, size_t N>
const T& pick(const T (&list)[N]) {
    return list[below(static_cast<int>(N))];
}

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

model::Labels random_labels() {
    model::Labels out;
    for (const char* key : kKeys) {
        if (!one_in(3)) out.emplace(key, pick(kValues));
    }
    return out;
}

model::LabelSelector random_selector() {
    using Op = LabelRequirement::Op;
    model::LabelSelector out;
    const int count = below(3);
    for (int i = 0; i < count; ++i) {
        constexpr Op kOps[] = {Op::kIn,    Op::kIn,     Op::kIn,
                               Op::kNotIn, Op::kExists, Op::kDoesNotExist};
        LabelRequirement requirement{.key = pick(kKeys), .op = pick(kOps)};
        if (requirement.op == Op::kIn || requirement.op == Op::kNotIn) {
            requirement.values = {pick(kValues)};
            if (one_in(4)) requirement.values = {"web", "db"};
        }
        out.requirements.push_back(std::move(requirement));
    }
    return out;
}

model::LabelSelector namespace_selector() {
    model::LabelSelector out = random_selector();
    if (one_in(3))
        out.requirements = {{.key = "kubernetes.io/metadata.name", .values = {pick(kNamespaces)}}};
    return out;
}

IpPrefix random_block() {
    return IpPrefix::parse(pick(kBlocks)).value();
}

std::vector<IpPrefix> random_excepts(const IpPrefix& block) {
    std::vector<IpPrefix> out;
    for (const char* text : kBlocks) {
        const IpPrefix except = IpPrefix::parse(text).value();
        const bool inside = block.contains(except.address()) && except.length() > block.length();
        if (inside && one_in(3)) out.push_back(except);
    }
    return out;
}

model::PolicyPeer random_peer() {
    model::PolicyPeer peer;
    const int kind = below(4);
    if (kind == 0) {
        peer.block = random_block();
        peer.except = random_excepts(*peer.block);
    }
    if (kind == 1 || kind == 3) peer.pods = random_selector();
    if (kind == 2 || kind == 3) peer.namespaces = namespace_selector();
    return peer;
}

model::PolicyPort random_port() {
    model::PolicyPort port{.protocol = pick(kProtocols)};
    const int kind = below(5);
    if (kind == 0) return port;
    if (kind <= 2) {
        port.port = model::PortRef{.number = 0, .name = pick(kPortNames)};
        return port;
    }
    port.port = model::PortRef{.number = pick(kEdges)};
    if (kind == 4) port.end_port = std::max(port.port->number, pick(kEdges));
    return port;
}

model::PolicyRule random_rule() {
    model::PolicyRule rule;
    for (int i = below(3); i > 0; --i)
        rule.peers.push_back(random_peer());
    for (int i = below(3); i > 0; --i)
        rule.ports.push_back(random_port());
    return rule;
}

model::NetworkPolicy random_policy(const model::ObjectName& name) {
    model::NetworkPolicy policy;
    policy.meta.name = name;
    policy.subjects = random_selector();
    const int types = below(3);
    policy.ingress = types != 1;
    policy.egress = types != 0;
    for (int i = below(3); i > 0; --i)
        policy.ingress_rules.push_back(random_rule());
    for (int i = below(3); i > 0; --i)
        policy.egress_rules.push_back(random_rule());
    return policy;
}

ClusterPolicyPeer cluster_peer(bool egress) {
    using Kind = ClusterPolicyPeer::Kind;
    ClusterPolicyPeer peer;
    constexpr Kind kIngress[] = {Kind::kNamespaces, Kind::kPods};
    constexpr Kind kEgress[] = {Kind::kNamespaces, Kind::kPods, Kind::kNodes, Kind::kNetworks};
    peer.kind = egress ? pick(kEgress) : pick(kIngress);
    if (one_in(20)) peer.kind = Kind::kUnsupported;
    if (peer.kind == Kind::kNamespaces || peer.kind == Kind::kPods)
        peer.namespaces = namespace_selector();
    if (peer.kind == Kind::kPods) peer.pods = random_selector();
    if (peer.kind == Kind::kNodes) peer.nodes = random_selector();
    if (peer.kind == Kind::kNetworks) peer.networks = {random_block(), random_block()};
    return peer;
}

model::ClusterPolicyRule cluster_rule(bool egress) {
    using Kind = ClusterPolicyPeer::Kind;
    constexpr model::PolicyAction kActions[] = {
        model::PolicyAction::kAccept, model::PolicyAction::kDeny, model::PolicyAction::kPass};
    model::ClusterPolicyRule rule{.action = pick(kActions)};
    for (int i = 1 + below(2); i > 0; --i)
        rule.peers.push_back(cluster_peer(egress));
    const bool pods_only = std::ranges::none_of(rule.peers, [](const ClusterPolicyPeer& peer) {
        return peer.kind == Kind::kNetworks || peer.kind == Kind::kNodes;
    });
    for (int i = below(3); i > 0; --i) {
        auto& port = rule.ports.emplace_back();
        if (pods_only && one_in(3)) {
            port.name = pick(kPortNames);
            continue;
        }
        port.protocol = pick(kProtocols);
        if (one_in(3)) continue;
        port.first = pick(kEdges);
        port.last = std::max(port.first, pick(kEdges));
    }
    return rule;
}

model::ClusterNetworkPolicy cluster_policy(const model::ObjectName& name) {
    model::ClusterNetworkPolicy policy;
    policy.meta.name = name;
    policy.tier = one_in(2) ? model::PolicyTier::kAdmin : model::PolicyTier::kBaseline;
    policy.priority = static_cast<uint16_t>(below(3));
    policy.subject.kind =
        one_in(2) ? ClusterPolicyPeer::Kind::kNamespaces : ClusterPolicyPeer::Kind::kPods;
    policy.subject.namespaces = namespace_selector();
    if (policy.subject.kind == ClusterPolicyPeer::Kind::kPods)
        policy.subject.pods = random_selector();
    for (int i = below(4); i > 0; --i)
        policy.ingress_rules.push_back(cluster_rule(false));
    for (int i = below(4); i > 0; --i)
        policy.egress_rules.push_back(cluster_rule(true));
    return policy;
}

model::Namespace random_namespace(const char* name) {
    model::Namespace ns;
    ns.meta.name = {.ns = "", .name = name};
    ns.meta.labels = random_labels();
    ns.meta.labels.emplace("kubernetes.io/metadata.name", name);
    return ns;
}

model::Pod random_pod(const model::ObjectName& name) {
    model::Pod pod;
    pod.meta.name = name;
    pod.meta.labels = random_labels();
    pod.phase = one_in(10) ? model::PodPhase::kSucceeded : model::PodPhase::kRunning;
    pod.host_network = one_in(12);
    if (pod.host_network) {
        pod.ips = {ip("172.18.0.2")};
        return pod;
    }
    if (!one_in(8)) pod.ips.push_back(ip(pick(kAddresses4)));
    if (one_in(3)) pod.ips.push_back(ip(pick(kAddresses6)));
    for (const char* port : kPortNames) {
        for (const Protocol protocol : kProtocols) {
            if (one_in(4))
                pod.ports.push_back({.name = port, .protocol = protocol, .port = pick(kPorts)});
        }
    }
    return pod;
}

void place_locally(World& world, uint32_t id) {
    world.local.erase(id);
    std::vector<model::ObjectName> free;
    for (const auto& [name, pod] : world.pods) {
        const bool taken = std::ranges::any_of(
            world.local, [&](const auto& one) { return one.second.pod == name; });
        if (!taken && !pod.host_network) free.push_back(name);
    }
    if (free.empty() || one_in(6)) return;
    LocalPod local{.pod = free[static_cast<size_t>(below(static_cast<int>(free.size())))]};
    local.addresses = {ip(kAddresses4[id]), ip(kAddresses6[id])};
    world.local.emplace(id, std::move(local));
}

model::ObjectName random_pod_name() {
    return {.ns = pick(kNamespaces), .name = pick(kPods)};
}

void remove_pod(World& world, const model::ObjectName& name) {
    world.pods.erase(name);
    std::erase_if(world.local, [&](const auto& one) { return one.second.pod == name; });
}

void edit_node(World& world) {
    const model::ObjectName name{.ns = "", .name = one_in(2) ? "n1" : "n2"};
    world.nodes.erase(name);
    if (one_in(3)) return;
    model::Node node;
    node.meta.name = name;
    node.meta.labels = random_labels();
    node.internal_ips = {ip(name.name == "n1" ? "172.18.0.2" : "172.18.0.3")};
    if (one_in(3)) node.internal_ips.push_back(ip("fd00::2"));
    world.nodes.emplace(name, std::move(node));
}

template <typename Policy>
Policy maybe_audited(Policy policy) {
    if (one_in(5)) policy.meta.annotations.emplace("policy.weir.io/audit", "true");
    return policy;
}

}  // namespace

Edit edit_policy(World& world) {
    if (one_in(3)) {
        const model::ObjectName name{.ns = "", .name = one_in(2) ? "one" : "two"};
        world.cluster_policies.erase(name);
        if (!one_in(4)) world.cluster_policies.emplace(name, maybe_audited(cluster_policy(name)));
        return Edit::kPolicy;
    }
    const model::ObjectName name{.ns = pick(kNamespaces), .name = one_in(2) ? "p" : "q"};
    world.network_policies.erase(name);
    if (!one_in(4)) world.network_policies.emplace(name, maybe_audited(random_policy(name)));
    return Edit::kPolicy;
}

Edit edit_cluster(World& world) {
    const int what = below(10);
    const model::ObjectName name = random_pod_name();
    if (what == 0) {
        remove_pod(world, name);
    } else if (what <= 5) {
        world.pods.insert_or_assign(name, random_pod(name));
        if (world.pods.at(name).host_network)
            std::erase_if(world.local, [&](const auto& one) { return one.second.pod == name; });
    } else if (what == 6) {
        const char* ns = pick(kNamespaces);
        world.namespaces.insert_or_assign({.ns = "", .name = ns}, random_namespace(ns));
    } else if (what == 7) {
        edit_node(world);
    } else {
        place_locally(world, static_cast<uint32_t>(1 + below(3)));
    }
    return Edit::kCluster;
}

World random_world() {
    World world;
    for (const char* ns : kNamespaces) {
        world.namespaces.emplace(model::ObjectName{.ns = "", .name = ns}, random_namespace(ns));
        for (const char* pod : kPods) {
            const model::ObjectName name{.ns = ns, .name = pod};
            if (!one_in(4)) world.pods.emplace(name, random_pod(name));
        }
    }
    edit_node(world);
    edit_node(world);
    for (uint32_t id = 1; id <= 3; ++id)
        place_locally(world, id);
    for (int i = 2 + below(6); i > 0; --i)
        edit_policy(world);
    return world;
}

Question random_question(const World& world, uint32_t endpoint) {
    Question q{.pod = world.local.at(endpoint).pod, .egress = one_in(2)};
    const int where = below(6);
    q.peer = ip(where < 3 ? pick(kAddresses4) : where == 3 ? pick(kAddresses6) : pick(kOutside));
    constexpr uint8_t kProto[] = {6, 6, 17, 132, 1};
    q.protocol = pick(kProto);
    q.port = q.protocol == 1 ? uint16_t{0} : (one_in(4) ? pick(kEdges) : pick(kPorts));
    if (!one_in(8)) return q;
    q.self = true;
    q.peer = world.local.at(endpoint).addresses[static_cast<size_t>(below(2))];
    return q;
}

}  // namespace weir::policy::test
