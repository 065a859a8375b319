// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// What the local API says of pod addresses; see api_types.h.
namespace weir::api {

struct IpamPool {
    std::string family;
    std::string cidr;
    std::string router;
    uint64_t capacity = 0;
    uint64_t used = 0;
    uint64_t cooling = 0;

    static constexpr void fields(auto&& add) {
        add("family", &IpamPool::family, "IPv4 or IPv6");
        add("cidr", &IpamPool::cidr, "pod range of this node");
        add("router", &IpamPool::router, "address of weir0, never given to a pod");
        add("capacity", &IpamPool::capacity, "addresses that pods can have");
        add("used", &IpamPool::used, "addresses that pods have");
        add("cooling", &IpamPool::cooling, "released a moment ago, not given out yet");
    }
};

struct IpamAddress {
    std::string address;
    std::string ns;
    std::string pod;
    std::string container_id;
    std::string ifname;
    std::string since;

    static constexpr void fields(auto&& add) {
        add("address", &IpamAddress::address, "the address");
        add("namespace", &IpamAddress::ns, "namespace of the pod that has it");
        add("pod", &IpamAddress::pod, "the pod");
        add("container_id", &IpamAddress::container_id, "the runtime's id of the sandbox");
        add("ifname", &IpamAddress::ifname, "interface in the pod");
        add("since", &IpamAddress::since, "RFC 3339 time of allocation");
    }
};

/// GET /v1/ipam
struct Ipam {
    std::vector<IpamPool> pools;
    std::vector<IpamAddress> addresses;

    static constexpr void fields(auto&& add) {
        add("pools", &Ipam::pools, "ranges");
        add("addresses", &Ipam::addresses, "addresses in use (not in /v1/status)");
    }
};

}  // namespace weir::api
