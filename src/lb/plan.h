// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "model/types.h"
#include "weir/lb.h"

/// What one Service port of one family asks of the tables: the interface between the compiler of
/// Kubernetes' rules and the owner of the tables.
namespace weir::lb {

/// The identity of a Service port: the port's name, not its number, as Kubernetes has it.
struct PortName {
    model::ObjectName service;
    model::Text port;
    model::Protocol protocol = model::Protocol::kTcp;
    Family family = Family::kIpv4;

    /// "shop/web:http/TCP/IPv4"
    [[nodiscard]] std::string to_string() const;
    /// Hash of the above, never 0: finds the port again in tables that an earlier agent wrote.
    [[nodiscard]] uint64_t id() const;
    auto operator<=>(const PortName&) const = default;
};

/// An address and port on which a Service port answers.
struct PlanVip {
    weir_vip_key key{};
    uint32_t flags = 0;  ///< enum weir_vip_flags
};

struct PlanBackend {
    IpAddress address;
    uint16_t port = 0;
    auto operator<=>(const PlanBackend&) const = default;
};

/// Clients that a Service port's restricted addresses (WEIR_VIP_SOURCE_RANGES) admit, or an
/// exception to a shorter prefix.
struct PlanRange {
    IpPrefix prefix;
    bool admit = true;
    auto operator<=>(const PlanRange&) const = default;
};

struct ServicePortPlan {
    uint64_t id = 0;  ///< name.id()
    PortName name;
    /// The Service's creationTimestamp: of two Services that claim one VIP the older has it.
    model::Text created;
    model::Protocol protocol = model::Protocol::kTcp;
    uint16_t port = 0;
    /// Ascending by key, no key twice. Includes the marker of the ClusterIP (marker_vip).
    std::vector<PlanVip> vips;
    /// By enum weir_extent_scope; ascending, no backend twice.
    std::array<std::vector<PlanBackend>, WEIR_SCOPES> backends;
    /// Ascending, no prefix twice. Not empty if one of the VIPs is restricted.
    std::vector<PlanRange> ranges;
    uint32_t flags = 0;  ///< enum weir_service_flags
    weir_lb_algorithm algorithm = WEIR_LB_RANDOM;
    uint32_t affinity_seconds = 0;
};

/// The key of `address`:`port` for addresses that are the Service's own.
weir_vip_key service_key(const IpAddress& address, uint16_t port, model::Protocol protocol);
/// The key of a NodePort: on whichever of the node's addresses.
weir_vip_key node_port_key(Family family, uint16_t port, model::Protocol protocol);
/// Says that `address` is an allocated ClusterIP, so that its undefined ports are refused and not
/// silently dropped. Port, protocol and service index are 0.
PlanVip marker_vip(const IpAddress& address);
bool is_marker(const weir_vip_key& key);
/// The order of ServicePortPlan::vips.
bool key_less(const weir_vip_key& a, const weir_vip_key& b);
bool key_equal(const weir_vip_key& a, const weir_vip_key& b);
/// "10.0.0.1:80/TCP", "NodePort 30080/TCP/IPv4", "ClusterIP 10.0.0.1".
std::string describe(const weir_vip_key& key);

}  // namespace weir::lb
