// SPDX-License-Identifier: Apache-2.0
#include "lb/plan.h"

#include <cstring>

#include <arpa/inet.h>

#include "lb/hash.h"

namespace weir::lb {
namespace {

std::string_view to_string(Family family) {
    return family == Family::kIpv4 ? "IPv4" : "IPv6";
}

weir_vip_key make_key(const IpAddress& address, uint16_t port, model::Protocol protocol,
                      weir_vip_scope scope) {
    return {.addr = address.abi(),
            .port = htons(port),
            .proto = static_cast<uint8_t>(protocol),
            .scope = static_cast<uint8_t>(scope)};
}

}  // namespace

std::string PortName::to_string() const {
    return fmt::format("{}:{}/{}/{}", service.to_string(), port, model::to_string(protocol),
                       lb::to_string(family));
}

uint64_t PortName::id() const {
    const uint64_t hash = stable_hash(to_string());
    return hash != 0 ? hash : 1;
}

weir_vip_key service_key(const IpAddress& address, uint16_t port, model::Protocol protocol) {
    return make_key(address, port, protocol, WEIR_VIP_SERVICE);
}

weir_vip_key node_port_key(Family family, uint16_t port, model::Protocol protocol) {
    const IpAddress any = family == Family::kIpv4 ? IpAddress::v4(0) : IpAddress();
    return make_key(any, port, protocol, WEIR_VIP_NODEPORT);
}

PlanVip marker_vip(const IpAddress& address) {
    return {.key = {.addr = address.abi(), .port = 0, .proto = 0, .scope = WEIR_VIP_SERVICE},
            .flags = WEIR_VIP_CLUSTER_IP};
}

bool is_marker(const weir_vip_key& key) {
    return key.proto == 0;
}

bool key_less(const weir_vip_key& a, const weir_vip_key& b) {
    return std::memcmp(&a, &b, sizeof a) < 0;
}

bool key_equal(const weir_vip_key& a, const weir_vip_key& b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

std::string describe(const weir_vip_key& key) {
    const IpAddress address(key.addr);
    if (is_marker(key)) return fmt::format("ClusterIP {}", address.to_string());
    const auto protocol = model::to_string(static_cast<model::Protocol>(key.proto));
    if (key.scope == WEIR_VIP_NODEPORT) {
        return fmt::format("NodePort {}/{}/{}", ntohs(key.port), protocol,
                           to_string(address.family()));
    }
    return fmt::format("{}/{}", address.with_port(ntohs(key.port)), protocol);
}

}  // namespace weir::lb
