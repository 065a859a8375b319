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
    std::vector<PlanRange> ranges;  ///< of ingress_ips; empty: they admit everybody
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

/// Who may use the load-balancer addresses: clients of the Service's ranges of this family; none of
/// this family: everybody. If a range holds an address of this node, also this node by whichever
/// source: a load balancer's address is often one of the node's own, and then the source of what
/// the node sends to it. The unspecified address stands for the node before it has chosen a source.
std::vector<PlanRange> ranges_of(const model::Service& service, Family family,
                                 const std::vector<IpAddress>& ingress_ips,
                                 const NodeContext& node) {
    std::vector<PlanRange> out;
    for (const IpPrefix& range : service.source_ranges) {
        if (range.family() == family) out.push_back({.prefix = range});
    }
    if (out.empty() || ingress_ips.empty()) return {};
    const auto admits = [&](const IpAddress& address) {
        return std::ranges::any_of(service.source_ranges, [&](const IpPrefix& range) {
            return range.family() == family && range.contains(address);
        });
    };
    const bool this_node = std::ranges::any_of(node.addresses, admits);
    const auto host_prefix = [&](const IpAddress& address) {
        return IpPrefix::make(address, family == Family::kIpv4 ? 32 : 128).value();
    };
    if (this_node) {
        for (const IpAddress& address : ingress_ips)
            out.push_back({.prefix = host_prefix(address)});
    }
    const IpAddress any = family == Family::kIpv4 ? IpAddress::v4(0) : IpAddress();
    if (this_node || admits(any)) out.push_back({.prefix = host_prefix(any), .admit = this_node});
    std::ranges::sort(out);
    const auto twice = std::ranges::unique(out, {}, &PlanRange::prefix);
    out.erase(twice.begin(), twice.end());
    return out;
}

std::optional<FamilyView> view_of(const model::Service& service, Family family,
                                  const NodeContext& node) {
    const auto cluster_ip = std::ranges::find(service.cluster_ips, family,
                                              [](const IpAddress& a) { return a.family(); });
    if (cluster_ip == service.cluster_ips.end()) return std::nullopt;
    FamilyView view{
        .family = family,
        .cluster_ip = *cluster_ip,
        .external_ips = usable_of_family(service.external_ips, family,
                                         [](const IpAddress& a) { return std::optional(a); }),
        .ingress_ips = usable_of_family(service.ingress, family,
                                        [](const model::LoadBalancerIngress& ingress) {
                                            return ingress.proxy_mode ? std::nullopt
                                                                      : std::optional(ingress.ip);
                                        }),
        .ranges = {}};
    view.ranges = ranges_of(service, family, view.ingress_ips, node);
    return view;
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
        WEIR_VIP_EXTERNAL | (view.ranges.empty() ? 0U : WEIR_VIP_SOURCE_RANGES);
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
            .ranges = view.ranges,
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
        const auto view = view_of(service, family, node);
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
