// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "kube/decode_kinds.h"
#include "kube/validate.h"

namespace weir::kube {
namespace {

using model::Service;
using model::ServiceType;
using model::TrafficDistribution;
using model::TrafficPolicy;

constexpr uint32_t kDefaultAffinitySeconds = 10800;
constexpr uint32_t kMaxAffinitySeconds = 86400;

constexpr std::array<std::pair<std::string_view, ServiceType>, 4> kTypes = {
    {{"ClusterIP", ServiceType::kClusterIp},
     {"NodePort", ServiceType::kNodePort},
     {"LoadBalancer", ServiceType::kLoadBalancer},
     {"ExternalName", ServiceType::kExternalName}}};
constexpr std::array<std::pair<std::string_view, TrafficPolicy>, 2> kPolicies = {
    {{"Cluster", TrafficPolicy::kCluster}, {"Local", TrafficPolicy::kLocal}}};
constexpr std::array<std::pair<std::string_view, TrafficDistribution>, 3> kDistributions = {
    {{"PreferClose", TrafficDistribution::kSameZone},
     {"PreferSameZone", TrafficDistribution::kSameZone},
     {"PreferSameNode", TrafficDistribution::kSameNode}}};
constexpr std::array<std::pair<std::string_view, Family>, 2> kFamilyNames = {
    {{"IPv4", Family::kIpv4}, {"IPv6", Family::kIpv6}}};
constexpr std::array<std::pair<std::string_view, bool>, 2> kAffinities = {
    {{"None", false}, {"ClientIP", true}}};
constexpr std::array<std::pair<std::string_view, bool>, 2> kIpModes = {
    {{"VIP", false}, {"Proxy", true}}};

void add_cluster_ip(const Cursor& at, Service& service) {
    const auto ip = at.ip();
    if (!ip) return;
    check_reachable(at, *ip);
    const bool second = std::ranges::any_of(service.cluster_ips, [&](const IpAddress& other) {
        return other.family() == ip->family();
    });
    if (second) at.error("{} is a second one of the same family", ip->to_string());
    service.cluster_ips.push_back(*ip);
}

void decode_cluster_ips(const Cursor& spec, Service& service) {
    const Cursor single = spec["clusterIP"];
    const auto first = single.string().value_or("");
    const auto list = spec["clusterIPs"].items();
    service.headless = first == "None" || (!list.empty() && list[0].string() == "None");
    if (service.headless) {
        if (list.size() > 1) list[1].error("must be absent beside \"None\"");
        if (!first.empty() && first != "None") single.error("must be \"None\" as in clusterIPs");
        if (!list.empty() && list[0].string() != "None")
            list[0].error("must be \"None\" as clusterIP");
        return;
    }
    for (const Cursor& item : list)
        add_cluster_ip(item, service);
    if (first.empty()) return;
    if (list.empty()) return add_cluster_ip(single, service);
    const auto ip = single.ip();
    if (ip && !service.cluster_ips.empty() && *ip != service.cluster_ips[0]) {
        single.error("{} is not the first of clusterIPs", first);
    }
}

void decode_families(const Cursor& spec, Service& service) {
    const auto items = spec["ipFamilies"].items();
    for (size_t i = 0; i < items.size(); ++i) {
        const auto named = items[i].one_of(kFamilyNames);
        if (!named) continue;
        const Family family = *named;
        if (std::ranges::find(service.families, family) != service.families.end()) {
            items[i].error("stands twice");
        }
        if (i < service.cluster_ips.size() && service.cluster_ips[i].family() != family) {
            items[i].error("is not the family of {} in clusterIPs",
                           service.cluster_ips[i].to_string());
        }
        service.families.push_back(family);
    }
    if (!service.families.empty()) return;
    for (const IpAddress& ip : service.cluster_ips)
        service.families.push_back(ip.family());
}

void decode_external(const Cursor& root, Service& service) {
    const Cursor spec = root["spec"];
    for (const Cursor& item : spec["externalIPs"].items()) {
        if (const auto ip = item.ip()) {
            check_reachable(item, *ip);
            service.external_ips.push_back(*ip);
        }
    }
    for (const Cursor& item : root["status"]["loadBalancer"]["ingress"].items()) {
        if (item["ip"].string().value_or("").empty()) continue;  // by host name
        if (const auto ip = item["ip"].ip()) {
            service.ingress.push_back({*ip, item["ipMode"].choice(kIpModes, false)});
        }
    }
    for (const Cursor& item : spec["loadBalancerSourceRanges"].items()) {
        if (const auto prefix = item.prefix()) service.source_ranges.push_back(*prefix);
    }
}

model::PortRef decode_target(const Cursor& at, uint16_t port) {
    // Zero and "" are what the API server replaces by the port.
    const bool unset = !at.present() || (at.type() == Tree::Type::kString && at.string() == "") ||
                       (at.type() == Tree::Type::kNumber && at.integer(0, 65535) == 0);
    return unset ? model::PortRef{port, {}} : at.port_ref().value_or(model::PortRef{});
}

model::ServicePort decode_port(const Cursor& entry, const Service& service) {
    model::ServicePort port;
    const Cursor name = entry["name"];
    port.name = name.text();
    if (const auto problem = dns_label_problem(port.name); problem && !port.name.empty()) {
        name.error("\"{}\" is no port name: {}", port.name, *problem);
    }
    port.protocol = entry["protocol"].protocol();
    entry["port"].require();
    port.port = entry["port"].port().value_or(0);
    port.target = decode_target(entry["targetPort"], port.port);
    const Cursor node_port = entry["nodePort"];
    port.node_port = static_cast<uint16_t>(node_port.integer(0, 65535).value_or(0));
    const bool has_node_ports =
        service.type == ServiceType::kNodePort || service.type == ServiceType::kLoadBalancer;
    if (port.node_port != 0 && !has_node_ports) {
        node_port.error("is for a Service of type NodePort or LoadBalancer");
    }
    return port;
}

void decode_ports(const Cursor& ports, Service& service) {
    const auto items = ports.items();
    if (items.empty() && !service.headless && service.type != ServiceType::kExternalName) {
        ports.error("needs at least one port");
    }
    std::set<model::Text> names;
    std::set<std::pair<model::Protocol, uint16_t>> numbers;
    std::set<std::pair<model::Protocol, uint16_t>> node_ports;
    for (const Cursor& entry : items) {
        const model::ServicePort port = decode_port(entry, service);
        if (port.name.empty() && items.size() > 1) {
            entry["name"].error("is required where there are several ports");
        } else if (!names.insert(port.name).second) {
            entry["name"].error("\"{}\" names two ports", port.name);
        }
        if (port.port != 0 && !numbers.emplace(port.protocol, port.port).second) {
            entry["port"].error("{}/{} stands twice", to_string(port.protocol), port.port);
        }
        if (port.node_port != 0 && !node_ports.emplace(port.protocol, port.node_port).second) {
            entry["nodePort"].error("{}/{} stands twice", to_string(port.protocol), port.node_port);
        }
        service.ports.push_back(port);
    }
}

void decode_affinity(const Cursor& spec, Service& service) {
    if (!spec["sessionAffinity"].choice(kAffinities, false)) return;
    const Cursor timeout = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    service.affinity_seconds = static_cast<uint32_t>(
        timeout.integer(1, kMaxAffinitySeconds).value_or(kDefaultAffinitySeconds));
}

}  // namespace

model::Service decode_service(const Cursor& root, model::Meta meta) {
    const Cursor spec = root["spec"];
    Service service;
    service.meta = std::move(meta);
    spec.require();
    service.type = spec["type"].choice(kTypes, ServiceType::kClusterIp);
    decode_cluster_ips(spec, service);
    decode_families(spec, service);
    decode_external(root, service);
    if (spec.present()) decode_ports(spec["ports"], service);
    // An empty selector is stored as none by the API server.
    if (auto selector = decode_labels(spec["selector"]); !selector.empty()) {
        service.selector = std::move(selector);
    }
    service.internal_policy =
        spec["internalTrafficPolicy"].choice(kPolicies, TrafficPolicy::kCluster);
    service.external_policy =
        spec["externalTrafficPolicy"].choice(kPolicies, TrafficPolicy::kCluster);
    decode_affinity(spec, service);
    service.health_check_node_port =
        static_cast<uint16_t>(spec["healthCheckNodePort"].integer(0, 65535).value_or(0));
    service.publish_not_ready = spec["publishNotReadyAddresses"].boolean().value_or(false);
    service.distribution =
        spec["trafficDistribution"].choice(kDistributions, TrafficDistribution::kAny);
    return service;
}

}  // namespace weir::kube
