// SPDX-License-Identifier: Apache-2.0
#include "lb/reference.h"

#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace weir::lb::test {
namespace {

using model::Endpoint;
using model::Service;
using model::ServicePort;
using model::ServiceType;
using model::TrafficPolicy;

enum class Kind { kNone, kClusterIp, kExternal, kRestricted };

bool excluded(const model::Labels& labels) {
    return labels.contains("service.kubernetes.io/headless") ||
           labels.contains("service.kubernetes.io/service-proxy-name");
}

const IpAddress* cluster_ip(const Service& service, Family family) {
    for (const IpAddress& address : service.cluster_ips) {
        if (address.family() == family) return &address;
    }
    return nullptr;
}

bool programmed(const Service& service, Family family) {
    return !excluded(service.meta.labels) && !service.headless &&
           service.type != ServiceType::kExternalName && cluster_ip(service, family) != nullptr;
}

bool node_ports(const Service& service) {
    return service.type == ServiceType::kNodePort || service.type == ServiceType::kLoadBalancer;
}

Kind answers(const Service& service, const ServicePort& port, const Probe& probe) {
    const Family family = probe.address.family();
    if (!programmed(service, family) || port.protocol != probe.protocol) return Kind::kNone;
    if (probe.node_port) {
        const bool has = node_ports(service) && port.node_port == probe.port;
        return has ? Kind::kExternal : Kind::kNone;
    }
    if (port.port != probe.port) return Kind::kNone;
    if (*cluster_ip(service, family) == probe.address) return Kind::kClusterIp;
    for (const auto& ingress : service.ingress) {
        if (ingress.proxy_mode || ingress.ip != probe.address) continue;
        for (const IpPrefix& range : service.source_ranges) {
            if (range.family() == family) return Kind::kRestricted;
        }
        return Kind::kExternal;
    }
    const bool external =
        std::ranges::find(service.external_ips, probe.address) != service.external_ips.end();
    return external ? Kind::kExternal : Kind::kNone;
}

struct Owner {
    const Service* service = nullptr;
    const ServicePort* port = nullptr;
    Kind kind = Kind::kNone;
};

std::string full_name(const Service& service, const ServicePort& port) {
    return fmt::format("{}/{}:{}/{}", service.meta.name.ns, service.meta.name.name, port.name,
                       model::to_string(port.protocol));
}

Owner owner(const World& world, const Probe& probe) {
    Owner best;
    for (const auto& [name, service] : world.services) {
        for (const ServicePort& port : service.ports) {
            const Kind kind = answers(service, port, probe);
            if (kind == Kind::kNone) continue;
            const auto age = [](const Service& s) {
                return s.meta.created.empty() ? std::string("~") : s.meta.created.str();
            };
            const bool first =
                best.service == nullptr ||
                std::pair(age(service), full_name(service, port)) <
                    std::pair(age(*best.service), full_name(*best.service, *best.port));
            if (first) best = {.service = &service, .port = &port, .kind = kind};
        }
    }
    return best;
}

struct Found {
    const Endpoint* endpoint;
    uint16_t port;
};
using Endpoints = std::map<std::pair<IpAddress, uint16_t>, Found>;

bool preferred(const Endpoint& a, const Endpoint& b, const std::string& node) {
    if (a.terminating != b.terminating) return b.terminating;
    if (a.ready != b.ready) return a.ready;
    if (a.serving != b.serving) return a.serving;
    return a.node_name == node && b.node_name != node;
}

Endpoints endpoints_of(const World& world, const Owner& who, Family family) {
    Endpoints out;
    const auto slices = world.slices.find(who.service->meta.name.name);
    if (slices == world.slices.end()) return out;
    for (const model::EndpointSlice& slice : slices->second) {
        if (slice.family != family || excluded(slice.meta.labels)) continue;
        for (const model::EndpointPort& port : slice.ports) {
            if (port.name != who.port->name || port.protocol != who.port->protocol) continue;
            for (const Endpoint& endpoint : slice.endpoints) {
                if (endpoint.address.family() != family) continue;
                const auto [it, fresh] =
                    out.try_emplace({endpoint.address, port.port}, Found{&endpoint, port.port});
                if (!fresh && preferred(endpoint, *it->second.endpoint, world.node)) {
                    it->second = {&endpoint, port.port};
                }
            }
        }
    }
    return out;
}

template <typename Wanted>
std::string listed(const Endpoints& endpoints, Wanted wanted) {
    std::string out;
    for (const auto& [key, found] : endpoints) {
        if (wanted(*found.endpoint)) out += " " + key.first.with_port(key.second);
    }
    return out;
}

bool has(std::span<const model::Text> list, const model::Text& item) {
    return std::ranges::find(list, item) != list.end();
}

std::string cluster_list(const World& world, const Endpoints& endpoints) {
    bool all_nodes = true;
    bool all_zones = true;
    bool our_node = false;
    bool our_zone = false;
    for (const auto& [key, found] : endpoints) {
        const Endpoint& e = *found.endpoint;
        if (!e.ready) continue;
        all_nodes = all_nodes && !e.node_hints.empty();
        all_zones = all_zones && !e.zone_hints.empty();
        our_node = our_node || has(e.node_hints, world.node);
        our_zone = our_zone || has(e.zone_hints, world.zone);
    }
    const bool by_node = all_nodes && our_node;
    const bool by_zone = !by_node && all_zones && our_zone && !world.zone.empty();
    std::string ready = listed(endpoints, [&](const Endpoint& e) {
        return e.ready && (!by_node || has(e.node_hints, world.node)) &&
               (!by_zone || has(e.zone_hints, world.zone));
    });
    if (!ready.empty()) return ready;
    return listed(endpoints, [](const Endpoint& e) { return e.serving && e.terminating; });
}

std::string local_list(const World& world, const Endpoints& endpoints) {
    std::string ready =
        listed(endpoints, [&](const Endpoint& e) { return e.ready && e.node_name == world.node; });
    if (!ready.empty()) return ready;
    return listed(endpoints, [&](const Endpoint& e) {
        return e.serving && e.terminating && e.node_name == world.node;
    });
}

bool local_policy(const Owner& who, const Probe& probe) {
    if (who.kind == Kind::kClusterIp) {
        return who.service->internal_policy == TrafficPolicy::kLocal;
    }
    return who.service->external_policy == TrafficPolicy::kLocal && !probe.near;
}

/// Source ranges: the client is in one, or it is this node (by a load balancer's address that the
/// node has itself, or by none yet) and an address of the node is in one.
bool admitted(const World& world, const Service& service, const Probe& probe) {
    const auto in_ranges = [&](const IpAddress& address) {
        return std::ranges::any_of(service.source_ranges,
                                   [&](const IpPrefix& range) { return range.contains(address); });
    };
    const Family family = probe.address.family();
    const bool node = std::ranges::any_of(world.node_addresses, [&](const IpAddress& address) {
        return address.family() == family && in_ranges(address);
    });
    if (probe.client.is_unspecified()) return node;
    const bool own_address = std::ranges::any_of(service.ingress, [&](const auto& ingress) {
        return !ingress.proxy_mode && ingress.ip == probe.client;
    });
    return in_ranges(probe.client) || (node && own_address);
}

bool allocated(const World& world, const Probe& probe) {
    return std::ranges::any_of(world.services, [&](const auto& item) {
        const Service& service = item.second;
        return programmed(service, probe.address.family()) && !service.ports.empty() &&
               *cluster_ip(service, probe.address.family()) == probe.address;
    });
}

}  // namespace

std::string expected(const World& world, const Probe& probe) {
    const Owner who = owner(world, probe);
    const bool refused = who.kind == Kind::kRestricted && !admitted(world, *who.service, probe);
    return refused ? "RANGES" : expected_open(world, probe);
}

std::string expected_open(const World& world, const Probe& probe) {
    const Owner who = owner(world, probe);
    if (who.service == nullptr) {
        return !probe.node_port && allocated(world, probe) ? "REFUSE" : "MISS";
    }
    const Endpoints endpoints = endpoints_of(world, who, probe.address.family());
    const bool any = std::ranges::any_of(endpoints, [](const auto& item) {
        const Endpoint& e = *item.second.endpoint;
        return e.ready || (e.serving && e.terminating);
    });
    if (!any) return "REJECT";
    const std::string list =
        local_policy(who, probe) ? local_list(world, endpoints) : cluster_list(world, endpoints);
    return list.empty() ? "DROP" : "LB" + list;
}

std::string expected_details(const World& world, const Probe& probe) {
    const Owner who = owner(world, probe);
    if (who.service == nullptr) return "";
    const auto& affinity = who.service->affinity_seconds;
    return fmt::format("affinity {} {} port {} proto {}", affinity ? 8 : 0, affinity.value_or(0),
                       who.port->port, static_cast<unsigned>(who.port->protocol));
}

std::string expected_owner(const World& world, const Probe& probe) {
    const Owner who = owner(world, probe);
    return who.service == nullptr ? "" : full_name(*who.service, *who.port);
}

}  // namespace weir::lb::test
