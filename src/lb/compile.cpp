// SPDX-License-Identifier: Apache-2.0
#include "lb/compile.h"

#include <algorithm>

namespace weir::lb {
namespace {

/// The VIPs of one plan, kept free of duplicates.
class VipList {
  public:
    void add(const weir_vip_key& key, uint32_t flags) {
        const auto it = std::ranges::find_if(
            vips_, [&](const PlanVip& vip) { return key_equal(vip.key, key); });
        if (it == vips_.end()) {
            vips_.push_back({.key = key, .flags = flags});
        } else if (((it->flags | flags) & WEIR_VIP_CLUSTER_IP) != 0) {
            it->flags = WEIR_VIP_CLUSTER_IP;  // an address that is both answers as the ClusterIP
        } else {
            it->flags |= flags;
        }
    }

    std::vector<PlanVip> take() && {
        std::ranges::sort(vips_, key_less, &PlanVip::key);
        return std::move(vips_);
    }

  private:
    std::vector<PlanVip> vips_;
};

/// What all ports of one family of the Service share.
struct FamilyView {
    Family family;
    IpAddress cluster_ip;
    std::vector<IpAddress> external_ips;
    std::vector<IpAddress> ingress_ips;
    bool source_ranges = false;
};

template <typename Addresses, typename Projection>
std::vector<IpAddress> usable_of_family(const Addresses& addresses, Family family,
                                        Projection address_of) {
    std::vector<IpAddress> out;
    for (const auto& item : addresses) {
        const std::optional<IpAddress> address = address_of(item);
        if (address && address->family() == family && !unusable(*address)) out.push_back(*address);
    }
    return out;
}

std::optional<FamilyView> view_of(const model::Service& service, Family family) {
    const auto cluster_ip = std::ranges::find(service.cluster_ips, family,
                                              [](const IpAddress& a) { return a.family(); });
    if (cluster_ip == service.cluster_ips.end()) return std::nullopt;
    const auto ranges = std::ranges::any_of(
        service.source_ranges, [&](const IpPrefix& range) { return range.family() == family; });
    return FamilyView{
        .family = family,
        .cluster_ip = *cluster_ip,
        .external_ips = usable_of_family(service.external_ips, family,
                                         [](const IpAddress& a) { return std::optional(a); }),
        .ingress_ips = usable_of_family(service.ingress, family,
                                        [](const model::LoadBalancerIngress& ingress) {
                                            return ingress.proxy_mode ? std::nullopt
                                                                      : std::optional(ingress.ip);
                                        }),
        .source_ranges = ranges};
}

uint16_t node_port_of(const model::Service& service, const model::ServicePort& port) {
    const bool has = service.type == model::ServiceType::kNodePort ||
                     service.type == model::ServiceType::kLoadBalancer;
    return has ? port.node_port : uint16_t{0};
}

std::vector<PlanVip> vips_of(const FamilyView& view, const model::ServicePort& port,
                             uint16_t node_port) {
    VipList vips;
    const auto add = [&](const IpAddress& address, uint32_t flags) {
        vips.add(service_key(address, port.port, port.protocol), flags);
    };
    add(view.cluster_ip, WEIR_VIP_CLUSTER_IP);
    for (const IpAddress& address : view.external_ips)
        add(address, WEIR_VIP_EXTERNAL);
    const uint32_t ingress_flags =
        WEIR_VIP_EXTERNAL | (view.source_ranges ? WEIR_VIP_SOURCE_RANGES : 0U);
    for (const IpAddress& address : view.ingress_ips)
        add(address, ingress_flags);
    if (node_port != 0) {
        vips.add(node_port_key(view.family, node_port, port.protocol), WEIR_VIP_EXTERNAL);
    }
    const PlanVip marker = marker_vip(view.cluster_ip);
    vips.add(marker.key, marker.flags);
    return std::move(vips).take();
}

ServicePortPlan plan_of(const model::Service& service, const FamilyView& view,
                        const model::ServicePort& port, Slices slices, const NodeContext& node) {
    const PortName name{.service = service.meta.name,
                        .port = port.name,
                        .protocol = port.protocol,
                        .family = view.family};
    const uint16_t node_port = node_port_of(service, port);
    const bool external = node_port != 0 || !view.external_ips.empty() || !view.ingress_ips.empty();
    const bool internal_local = service.internal_policy == model::TrafficPolicy::kLocal;
    const bool external_local = external && service.external_policy == model::TrafficPolicy::kLocal;
    Categories endpoints = categorize(
        merge_endpoints(slices, name, node.name), node,
        {.cluster = !internal_local || external, .local = internal_local || external_local});
    uint32_t flags = WEIR_SVC_IN_USE;
    if (internal_local) flags |= WEIR_SVC_INTERNAL_LOCAL;
    if (external_local) flags |= WEIR_SVC_EXTERNAL_LOCAL;
    if (endpoints.any) flags |= WEIR_SVC_ANY_ENDPOINT;
    if (service.affinity_seconds) flags |= WEIR_SVC_AFFINITY;
    return {.id = name.id(),
            .name = name,
            .created = service.meta.created,
            .protocol = port.protocol,
            .port = port.port,
            .vips = vips_of(view, port, node_port),
            .backends = std::move(endpoints.backends),
            .flags = flags,
            .algorithm = WEIR_LB_RANDOM,
            .affinity_seconds = service.affinity_seconds.value_or(0)};
}

/// Kubernetes rejects a second port of the same name and protocol; a file may still hold one.
bool repeated(const model::Service& service, size_t position) {
    const model::ServicePort& port = service.ports[position];
    return std::any_of(service.ports.begin(), service.ports.begin() + static_cast<long>(position),
                       [&](const model::ServicePort& other) {
                           return other.name == port.name && other.protocol == port.protocol;
                       });
}

}  // namespace

bool is_proxied(const model::Labels& labels) {
    return !labels.contains("service.kubernetes.io/service-proxy-name") &&
           !labels.contains("service.kubernetes.io/headless");
}

CompiledService compile(const model::Service& service, Slices slices, const NodeContext& node) {
    CompiledService out;
    if (service.type == model::ServiceType::kExternalName || service.headless ||
        !is_proxied(service.meta.labels)) {
        return out;
    }
    std::vector<const model::EndpointSlice*> proxied;
    std::ranges::copy_if(slices, std::back_inserter(proxied),
                         [](const auto* slice) { return is_proxied(slice->meta.labels); });
    out.warnings = endpoint_warnings(proxied);
    for (const Family family : kFamilies) {
        const auto view = view_of(service, family);
        if (!view) continue;
        for (size_t i = 0; i < service.ports.size(); ++i) {
            if (!repeated(service, i)) {
                out.plans.push_back(plan_of(service, *view, service.ports[i], proxied, node));
            } else if (family == service.cluster_ips.front().family()) {
                out.warnings.push_back(
                    fmt::format("Service {}: port \"{}\" is given twice for {}; the first counts",
                                service.meta.name.to_string(), service.ports[i].name,
                                model::to_string(service.ports[i].protocol)));
            }
        }
    }
    return out;
}

}  // namespace weir::lb
