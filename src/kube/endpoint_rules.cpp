// SPDX-License-Identifier: Apache-2.0
#include "kube/endpoint_rules.h"

#include <algorithm>
#include <map>

namespace weir::kube {
namespace {

using model::Endpoint;
using model::EndpointPort;
using model::EndpointSlice;
using model::Pod;
using model::Service;

/// Ports of an endpoint, ordered; the key by which endpoints share a slice.
using PortSet = std::vector<std::tuple<model::Text, model::Protocol, uint16_t>>;

uint16_t resolve(const model::ServicePort& port, const Pod& pod) {
    if (port.target.number != 0) return port.target.number;
    for (const auto& candidate : pod.ports) {
        if (candidate.name == port.target.name && candidate.protocol == port.protocol) {
            return candidate.port;
        }
    }
    return 0;
}

/// A named port that a pod does not have is left out for that pod; the pod stays.
PortSet resolve_all(const Service& service, const Pod& pod) {
    PortSet ports;
    for (const auto& port : service.ports) {
        if (const uint16_t number = resolve(port, pod)) {
            ports.emplace_back(port.name, port.protocol, number);
        }
    }
    std::ranges::sort(ports);
    return ports;
}

void add_hints(const Service& service, Endpoint& endpoint) {
    if (service.distribution == model::TrafficDistribution::kAny || !endpoint.ready) return;
    if (!endpoint.zone.empty()) endpoint.zone_hints = {endpoint.zone};
    if (service.distribution == model::TrafficDistribution::kSameNode &&
        !endpoint.node_name.empty()) {
        endpoint.node_hints = {endpoint.node_name};
    }
}

Endpoint make_endpoint(const Service& service, const Pod& pod, const IpAddress& address,
                       const ZoneOf& zone_of) {
    Endpoint endpoint;
    endpoint.address = address;
    endpoint.serving = pod.ready;
    endpoint.terminating = pod.meta.deleting;
    endpoint.ready = service.publish_not_ready || (pod.ready && !pod.meta.deleting);
    endpoint.node_name = pod.node_name;
    if (!pod.node_name.empty()) endpoint.zone = zone_of(pod.node_name);
    endpoint.target = pod.meta.name;
    add_hints(service, endpoint);
    return endpoint;
}

const IpAddress* address_of(const Pod& pod, Family family) {
    const auto it = std::ranges::find(pod.ips, family, &IpAddress::family);
    return it == pod.ips.end() ? nullptr : &*it;
}

/// The same for the same ports, on any machine (FNV-1a).
uint64_t fingerprint(const PortSet& ports) {
    uint64_t hash = 0xcbf29ce484222325ULL;
    const auto add = [&hash](unsigned byte) { hash = (hash ^ byte) * 0x100000001b3ULL; };
    for (const auto& [name, protocol, number] : ports) {
        for (const char c : name.view())
            add(static_cast<unsigned char>(c));
        add(0);
        add(static_cast<unsigned>(protocol));
        add(number >> 8);
        add(number & 0xffU);
    }
    return hash;
}

model::Meta slice_meta(const Service& service, Family family, const PortSet& ports) {
    model::Meta meta;
    meta.name = {service.meta.name.ns,
                 fmt::format("{}-ipv{}-{:016x}", service.meta.name.name,
                             static_cast<unsigned>(family), fingerprint(ports))};
    meta.labels = service.meta.labels;  // proxies filter slices by the labels of their Service
    meta.labels["kubernetes.io/service-name"] = service.meta.name.name;
    meta.labels["endpointslice.kubernetes.io/managed-by"] = "weir-agent";
    if (service.headless) meta.labels["service.kubernetes.io/headless"] = "";
    return meta;
}

EndpointSlice make_slice(const Service& service, Family family, const PortSet& ports) {
    EndpointSlice slice;
    slice.meta = slice_meta(service, family, ports);
    slice.service = service.meta.name;
    slice.family = family;
    for (const auto& [name, protocol, number] : ports) {
        slice.ports.push_back({name, protocol, number});
    }
    return slice;
}

}  // namespace

bool wants_endpoints(const Service& service) {
    return service.selector && !service.selector->empty() &&
           service.type != model::ServiceType::kExternalName;
}

bool selects(const Service& service, const Pod& pod) {
    if (!wants_endpoints(service) || service.meta.name.ns != pod.meta.name.ns) return false;
    return std::ranges::all_of(*service.selector, [&](const auto& wanted) {
        const auto it = pod.meta.labels.find(wanted.first);
        return it != pod.meta.labels.end() && it->second == wanted.second;
    });
}

std::vector<EndpointSlice> make_slices(const Service& service, std::span<const Pod* const> pods,
                                       const ZoneOf& zone_of) {
    std::vector<const Pod*> ordered(pods.begin(), pods.end());
    std::ranges::sort(ordered, {}, [](const Pod* pod) { return pod->meta.name; });
    std::vector<EndpointSlice> slices;
    for (const Family family : kFamilies) {
        const bool wanted = service.families.empty() ||
                            std::ranges::find(service.families, family) != service.families.end();
        if (!wanted) continue;
        std::map<PortSet, EndpointSlice> by_ports;
        for (const Pod* pod : ordered) {
            const IpAddress* address = address_of(*pod, family);
            if (pod->finished() || address == nullptr) continue;
            const PortSet ports = resolve_all(service, *pod);
            auto it = by_ports.find(ports);
            if (it == by_ports.end()) {
                it = by_ports.emplace(ports, make_slice(service, family, ports)).first;
            }
            it->second.endpoints.push_back(make_endpoint(service, *pod, *address, zone_of));
        }
        for (auto& [ports, slice] : by_ports)
            slices.push_back(std::move(slice));
    }
    return slices;
}

}  // namespace weir::kube
