// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lb/merge.h"
#include "lb/plan.h"
#include "model/types.h"

/// Short ways to write objects in tests.
namespace weir::lb::test {

inline IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}

inline model::Service service(const std::string& name, std::string_view cluster_ip,
                              std::vector<model::ServicePort> ports = {{.port = 80}}) {
    model::Service out;
    out.meta.name = {.ns = "shop", .name = name};
    out.meta.created = "2024-01-01T00:00:00Z";
    if (!cluster_ip.empty()) out.cluster_ips = {ip(cluster_ip)};
    out.ports = std::move(ports);
    return out;
}

struct EndpointSpec {
    std::string_view address;
    bool ready = true;
    bool serving = true;
    bool terminating = false;
    std::string node;
    std::vector<model::Text> zones;
    std::vector<model::Text> nodes;
};

inline model::Endpoint endpoint(const EndpointSpec& spec) {
    model::Endpoint out;
    out.address = ip(spec.address);
    out.ready = spec.ready;
    out.serving = spec.serving;
    out.terminating = spec.terminating;
    out.node_name = spec.node;
    out.zone_hints = spec.zones;
    out.node_hints = spec.nodes;
    return out;
}

inline model::EndpointSlice slice(const model::Service& of, const std::vector<EndpointSpec>& specs,
                                  std::vector<model::EndpointPort> ports = {{.port = 8080}}) {
    model::EndpointSlice out;
    out.meta.name = {.ns = of.meta.name.ns, .name = of.meta.name.name + "-1"};
    out.service = of.meta.name;
    out.ports = std::move(ports);
    for (const EndpointSpec& spec : specs)
        out.endpoints.push_back(endpoint(spec));
    if (!out.endpoints.empty()) out.family = out.endpoints.front().address.family();
    return out;
}

/// "10.0.0.1:80 10.0.0.2:80"
inline std::string show(const std::vector<PlanBackend>& backends) {
    std::string out;
    for (const PlanBackend& backend : backends) {
        if (!out.empty()) out += ' ';
        out += backend.address.with_port(backend.port);
    }
    return out;
}

/// "ClusterIP 10.0.0.1=2 10.0.0.1:80/TCP=2", key and flags, in the plan's order.
inline std::string show(const std::vector<PlanVip>& vips) {
    std::string out;
    for (const PlanVip& vip : vips) {
        if (!out.empty()) out += ", ";
        out += fmt::format("{}={}", describe(vip.key), vip.flags);
    }
    return out;
}

}  // namespace weir::lb::test
