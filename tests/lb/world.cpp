// SPDX-License-Identifier: Apache-2.0
#include "lb/world.h"

#include <algorithm>
#include <span>

#include <rapidcheck.h>

#include "lb/build.h"

namespace weir::lb::test {

int below(int limit) {
    return *rc::gen::resize(100, rc::gen::inRange(0, limit));
}
bool one_in(int n) {
    return below(n) == n - 1;
}

namespace {

using model::Protocol;
using model::ServiceType;
using model::TrafficPolicy;

constexpr const char* kCluster4[] = {"10.96.0.1", "10.96.0.2", "10.96.0.3"};
constexpr const char* kCluster6[] = {"fd96::1", "fd96::2"};
constexpr const char* kExternal[] = {"192.0.2.1", "192.0.2.2", "2001:db8::1"};
constexpr const char* kEndpoints4[] = {"10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"};
constexpr const char* kEndpoints6[] = {"fd01::1", "fd01::2"};
constexpr const char* kRanges[] = {"10.0.0.0/8",    "10.1.0.0/16", "172.16.0.0/12",
                                   "0.0.0.0/1",     "128.0.0.0/1", "198.51.100.0/24",
                                   "2001:db8::/32", "fd00::/16",   "::/0"};
constexpr const char* kClients4[] = {"10.1.0.9",  "10.2.0.9",    "172.16.0.1",
                                     "192.0.2.1", "203.0.113.9", "0.0.0.0"};
constexpr const char* kClients6[] = {"2001:db8::1", "2001:db8::9", "fd00::9", "::"};
constexpr const char* kCreated[] = {"", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"};
constexpr uint16_t kPorts[] = {80, 81};
constexpr uint16_t kNodePorts[] = {30080, 30081};
constexpr Protocol kProtocols[] = {Protocol::kTcp, Protocol::kUdp};

template <typename T, size_t N>
const T& pick(const T (&list)[N]) {
    return list[below(static_cast<int>(N))];
}

model::ServicePort random_port(const char* name) {
    return {.name = name,
            .protocol = pick(kProtocols),
            .port = pick(kPorts),
            .node_port = one_in(2) ? pick(kNodePorts) : uint16_t{0}};
}

model::Service random_service(const std::string& name) {
    model::Service s;
    s.meta.name = {.ns = "shop", .name = name};
    s.meta.created = pick(kCreated);
    if (one_in(10)) s.meta.labels["service.kubernetes.io/headless"] = "";
    constexpr ServiceType kTypes[] = {ServiceType::kClusterIp, ServiceType::kNodePort,
                                      ServiceType::kLoadBalancer};
    s.type = one_in(10) ? ServiceType::kExternalName : pick(kTypes);
    if (!one_in(5)) s.cluster_ips.push_back(ip(pick(kCluster4)));
    if (one_in(3)) s.cluster_ips.push_back(ip(pick(kCluster6)));
    if (one_in(3)) s.external_ips.push_back(ip(pick(kExternal)));
    if (one_in(3)) s.ingress.push_back({.ip = ip(pick(kExternal)), .proxy_mode = one_in(4)});
    while (one_in(3))
        s.source_ranges.push_back(IpPrefix::parse(pick(kRanges)).value());
    for (const char* port : {"a", "b"}) {
        if (!one_in(4)) s.ports.push_back(random_port(port));
    }
    if (one_in(3)) s.internal_policy = TrafficPolicy::kLocal;
    if (one_in(3)) s.external_policy = TrafficPolicy::kLocal;
    if (one_in(4)) s.affinity_seconds = 1 + below(100);
    return s;
}

model::Endpoint random_endpoint(const char* address) {
    model::Endpoint e;
    e.address = ip(address);
    const int condition = below(6);
    e.ready = condition <= 3;
    e.serving = condition != 4;
    e.terminating = condition >= 4;
    constexpr const char* kNodes[] = {"node", "other", ""};
    e.node_name = pick(kNodes);
    if (!one_in(3)) e.zone_hints = {one_in(2) ? "a" : "b"};
    if (one_in(4)) e.node_hints = {one_in(2) ? "node" : "other"};
    return e;
}

model::EndpointSlice random_slice(const std::string& service, Family family, int number) {
    model::EndpointSlice s;
    s.meta.name = {.ns = "shop", .name = fmt::format("{}-{}", service, number)};
    s.service = {.ns = "shop", .name = service};
    s.family = family;
    for (const char* name : {"a", "b"}) {
        for (const Protocol protocol : kProtocols) {
            const auto port = static_cast<uint16_t>(one_in(4) ? 9090 : 8080);
            if (!one_in(5)) s.ports.push_back({.name = name, .protocol = protocol, .port = port});
        }
    }
    const auto add = [&](const char* address) {
        if (one_in(2)) s.endpoints.push_back(random_endpoint(address));
    };
    if (family == Family::kIpv4) {
        std::ranges::for_each(kEndpoints4, add);
    } else {
        std::ranges::for_each(kEndpoints6, add);
    }
    return s;
}

std::vector<model::EndpointSlice> random_slices(const std::string& service) {
    std::vector<model::EndpointSlice> out;
    const int count = below(4);
    for (int i = 0; i < count; ++i) {
        out.push_back(random_slice(service, i == 2 ? Family::kIpv6 : Family::kIpv4, i));
    }
    return out;
}

/// Nothing but who is admitted.
bool edit_ranges(World& world, const std::string& name) {
    const auto service = world.services.find(name);
    if (service == world.services.end()) return false;
    auto& ranges = service->second.source_ranges;
    if (!ranges.empty() && one_in(2))
        ranges.erase(ranges.begin() + below(static_cast<int>(ranges.size())));
    if (one_in(2)) ranges.push_back(IpPrefix::parse(pick(kRanges)).value());
    return true;
}

/// One Service or its endpoints, or both at once; sometimes it goes.
void edit_one(World& world, const std::string& name) {
    if (one_in(4) && edit_ranges(world, name)) return;
    const int what = below(8);
    if (what == 0) {
        world.services.erase(name);
        return;
    }
    if (what <= 4) world.slices[name] = random_slices(name);
    if (what >= 4 || !world.services.contains(name)) world.services[name] = random_service(name);
}

std::vector<Question> questions() {
    std::vector<Question> out;
    const auto add = [&](Probe probe) {
        for (const Protocol protocol : kProtocols) {
            for (const bool near : {false, true}) {
                probe.protocol = protocol;
                probe.near = near;
                const auto key = probe.node_port
                                     ? node_port_key(probe.address.family(), probe.port, protocol)
                                     : service_key(probe.address, probe.port, protocol);
                out.push_back({.probe = probe, .key = key});
            }
        }
    };
    const auto add_address = [&](const char* address) {
        for (const uint16_t port : kPorts)
            add({.address = ip(address), .port = port});
    };
    std::ranges::for_each(kCluster4, add_address);
    std::ranges::for_each(kCluster6, add_address);
    for (const char* address : kExternal) {
        for (const char* client : ip(address).is_v4() ? std::span<const char* const>(kClients4)
                                                      : std::span<const char* const>(kClients6)) {
            for (const uint16_t port : kPorts)
                add({.address = ip(address), .port = port, .client = ip(client)});
        }
    }
    for (const uint16_t port : kNodePorts) {
        add({.node_port = true, .address = IpAddress::v4(0), .port = port});
        add({.node_port = true, .address = IpAddress(), .port = port});
    }
    return out;
}

}  // namespace

std::set<std::string> edit(World& world) {
    std::set<std::string> changed;
    const int count = 1 + (one_in(3) ? below(3) : 0);
    for (int i = 0; i < count; ++i) {
        const std::string name = pick(kServices);
        edit_one(world, name);
        changed.insert(name);
    }
    return changed;
}

const std::vector<Question>& all_questions() {
    static const std::vector<Question> kAll = questions();
    return kAll;
}

}  // namespace weir::lb::test
