// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "flow/record.h"
#include "weir/ct.h"
#include "weir/limits.h"

namespace weir::flow::fixture {

inline IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}

/// A small world: two pods, this node, one Service port.
class World : public Resolver {
  public:
    World() {
        add_pod(1, "10.1.0.5", {"shop", "web-1"}, {{"app", "web"}});
        add_pod(2, "10.1.0.6", {"shop", "api-0"}, {{"app", "api"}});
        auto node = std::make_shared<Identity>();
        node->kind = PeerKind::kHost;
        node->name.name = "n1";
        addresses_[ip("192.0.2.1")] = node;
    }
    [[nodiscard]] IdentityPtr by_address(const IpAddress& address) const override {
        const auto it = addresses_.find(address);
        return it == addresses_.end() ? std::make_shared<Identity>() : it->second;
    }
    [[nodiscard]] IdentityPtr by_endpoint(uint32_t id) const override {
        const auto it = endpoints_.find(id);
        return it == endpoints_.end() ? nullptr : it->second;
    }
    [[nodiscard]] std::optional<ServicePortName> service(uint32_t index) const override {
        if (index != 7) return std::nullopt;
        return ServicePortName{{"shop", "api"}, "http"};
    }
    [[nodiscard]] std::string rule(uint32_t rule) const override {
        return rule == WEIR_EVENT_RULE(3, 4) ? "NetworkPolicy shop/web ingress[0]" : "";
    }
    [[nodiscard]] std::string device(uint32_t ifindex) const override {
        return ifindex == 3 ? "eth0" : "";
    }

  private:
    void add_pod(uint32_t id, std::string_view address, model::ObjectName name,
                 model::Labels labels) {
        auto pod = std::make_shared<Identity>();
        pod->kind = PeerKind::kPod;
        pod->name = std::move(name);
        pod->labels = std::move(labels);
        addresses_[ip(address)] = pod;
        endpoints_[id] = pod;
    }
    std::map<IpAddress, IdentityPtr> addresses_;
    std::map<uint32_t, IdentityPtr> endpoints_;
};

/// shop/web-1 calls the ClusterIP of shop/api and reaches shop/api-0.
inline weir_event service_flow() {
    weir_event event{};
    event.type = WEIR_EVENT_FLOW_NEW;
    event.family = 4;
    event.proto = IPPROTO_TCP;
    event.hook = WEIR_HOOK_POD_FROM;
    event.ct_kind = WEIR_CT_SERVICE;
    event.tcp_flags = TH_SYN;
    event.saddr = event.nat_saddr = ip("10.1.0.5").abi();
    event.daddr = ip("10.96.0.10").abi();
    event.nat_daddr = ip("10.1.0.6").abi();
    event.sport = event.nat_sport = htons(41234);
    event.dport = htons(80);
    event.nat_dport = htons(8080);
    event.service = 7;
    event.endpoint[0] = 1;
    event.endpoint[1] = 2;
    return event;
}

/// Somebody outside sends to a Service address without a backend.
inline weir_event dropped_packet() {
    weir_event event{};
    event.type = WEIR_EVENT_DROP;
    event.reason = WEIR_DROP_NO_ENDPOINTS;
    event.family = 4;
    event.proto = IPPROTO_UDP;
    event.hook = WEIR_HOOK_DEV_IN;
    event.saddr = ip("198.51.100.9").abi();
    event.daddr = ip("192.0.2.1").abi();
    event.sport = htons(5000);
    event.dport = htons(30053);
    event.length = 99;
    event.ifindex = 3;
    event.suppressed = 12;
    return event;
}

}  // namespace weir::flow::fixture
