// SPDX-License-Identifier: Apache-2.0
#include "lb/host_ports.h"

#include <map>

namespace weir::lb {
namespace {

/// Later than every creationTimestamp: an API object keeps what it has.
constexpr std::string_view kYoungest = "~";

bool is_for(const model::HostPort& port, Family family) {
    return !port.host_ip || port.host_ip->family() == family;
}

ServicePortPlan plan_of(const HostPortPod& pod, const model::HostPort& port,
                        const IpAddress& address) {
    const bool one_address = port.host_ip && !port.host_ip->is_unspecified();
    const std::string owner = fmt::format("{}{}", model::kHostPortOwner, pod.name.name);
    const std::string name =
        one_address ? port.host_ip->with_port(port.host_port) : std::to_string(port.host_port);
    const PortName id{.service = {pod.name.ns, model::Text(owner)},
                      .port = model::Text(name),
                      .protocol = port.protocol,
                      .family = address.family()};
    const auto key = one_address ? service_key(*port.host_ip, port.host_port, port.protocol)
                                 : node_port_key(address.family(), port.host_port, port.protocol);
    return {.id = id.id(),
            .name = id,
            .created = model::Text(kYoungest),
            .protocol = port.protocol,
            .port = port.host_port,
            .vips = {{.key = key, .flags = WEIR_VIP_EXTERNAL}},
            .backends = {{{{.address = address, .port = port.container_port}}, {}}},
            .ranges = {},
            .flags = WEIR_SVC_IN_USE | WEIR_SVC_ANY_ENDPOINT,
            .algorithm = WEIR_LB_RANDOM,
            .affinity_seconds = 0};
}

}  // namespace

std::vector<ServicePortPlan> compile_host_ports(const HostPortPod& pod) {
    std::vector<ServicePortPlan> plans;
    for (const model::HostPort& port : pod.ports) {
        for (const IpAddress& address : pod.addresses) {
            if (is_for(port, address.family())) plans.push_back(plan_of(pod, port, address));
        }
    }
    return plans;
}

Changes HostPortPlanner::update(const std::vector<HostPortPod>& pods) {
    std::map<uint64_t, ServicePortPlan> wanted;
    for (const HostPortPod& pod : pods) {
        for (ServicePortPlan& plan : compile_host_ports(pod))
            wanted.insert_or_assign(plan.id, std::move(plan));
    }
    Changes changes;
    for (const uint64_t id : ids_) {
        if (!wanted.contains(id)) changes.removed.push_back(id);
    }
    ids_.clear();
    for (auto& [id, plan] : wanted) {
        ids_.insert(id);
        changes.upserts.push_back(std::move(plan));
    }
    return changes;
}

}  // namespace weir::lb
