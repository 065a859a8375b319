// SPDX-License-Identifier: Apache-2.0
#include "native/world.h"

#include <array>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "support/lb_slot.h"
#include "weir/ct.h"
#include "weir/limits.h"

namespace weir::native {
namespace {

constexpr std::array kProtocols = {uint8_t{IPPROTO_TCP}, uint8_t{IPPROTO_UDP},
                                   uint8_t{IPPROTO_SCTP}};
constexpr std::array kAddresses4 = {"10.244.0.5", "10.244.0.6", "10.244.0.1",   "10.244.1.7",
                                    "10.96.0.10", "10.96.0.11", "10.96.0.12",   "10.96.0.13",
                                    "192.0.2.1",  "192.0.2.2",  "198.51.100.9", "10.96.0.99",
                                    "127.0.0.1",  "224.0.0.1",  "10.244.0.77",  "169.254.1.1"};
constexpr std::array kAddresses6 = {"fd00:10:244::5",
                                    "fd00:10:244::6",
                                    "fd00:10:244::1",
                                    "fd00:10:244:1::7",
                                    "fd00:10:96::10",
                                    "fd00:10:96::11",
                                    "fd00:10:96::12",
                                    "fd00:10:96::13",
                                    "2001:db8::1",
                                    "2001:db8::2",
                                    "2001:db8:9::9",
                                    "fd00:10:96::99",
                                    "::1",
                                    "ff02::1",
                                    "fd00:10:244::77",
                                    "fe80::ecee:eeff:feee:eeee"};
static_assert(kAddresses4.size() == kAddresses6.size());

enum Kind : uint32_t { kThree = 0, kNone = 1, kNoLocal = 2, kRanges = 3, kKinds = 4 };

uint32_t next_slot;
uint32_t next_backend;

void put_backend(uint32_t index, const char* at, uint16_t port, uint8_t proto) {
    put("weir_backends", index,
        weir_backend{.addr = address(at),
                     .port = htons(port),
                     .proto = proto,
                     .state = WEIR_BACKEND_READY,
                     .generation = 1,
                     .spare = {}});
}

uint64_t put_extent(uint32_t first_backend, uint32_t count) {
    const uint32_t tag = next_slot + 7;
    const uint64_t extent = WEIR_EXTENT(next_slot, count, tag);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t id = first_backend + i;
        weir_backend backend;
        std::memcpy(&backend, Machine::get().find("weir_backends")->lookup(&id), sizeof backend);
        put("weir_slots", next_slot++, test::slot_of(backend, id, tag));
    }
    return extent;
}

void put_vip(const char* at, uint16_t port, uint8_t proto, uint8_t scope, uint32_t service,
             uint32_t flags) {
    weir_vip_key key = {.addr = address(at), .port = htons(port), .proto = proto, .scope = scope};
    put("weir_vips", key,
        weir_vip{
            .service = service, .flags = flags, .check = weir_vip_check(&key, service, flags)});
}

void put_service(uint32_t index, uint8_t proto, Kind kind, bool v6) {
    const uint32_t first = next_backend;
    put_backend(next_backend++, v6 ? kAddresses6[0] : kAddresses4[0], 8080, proto);
    put_backend(next_backend++, v6 ? kAddresses6[1] : kAddresses4[1], 8080, proto);
    put_backend(next_backend++, v6 ? kAddresses6[3] : kAddresses4[3], 8080, proto);
    weir_service service{};
    service.proto = proto;
    service.port = htons(80);
    service.generation = 1;
    service.flags = WEIR_SVC_IN_USE;
    if (kind != kNone) {
        service.flags |= WEIR_SVC_ANY_ENDPOINT;
        service.extent[WEIR_SCOPE_CLUSTER] = put_extent(first, 3);
    }
    if (kind == kNoLocal) {
        service.flags |= WEIR_SVC_INTERNAL_LOCAL | WEIR_SVC_EXTERNAL_LOCAL;
    } else if (kind != kNone) {
        service.extent[WEIR_SCOPE_LOCAL] = put_extent(first, 2);
    }
    if (kind == kThree && proto == IPPROTO_UDP) {
        service.flags |= WEIR_SVC_AFFINITY;
        service.affinity_seconds = 2;
    }
    put("weir_services", index, service);
    const uint32_t flags =
        kind == kRanges ? WEIR_VIP_EXTERNAL | WEIR_VIP_SOURCE_RANGES : WEIR_VIP_CLUSTER_IP;
    put_vip(v6 ? kAddresses6[4 + kind] : kAddresses4[4 + kind], 80, proto, WEIR_VIP_SERVICE, index,
            flags);
    if (kind == kRanges) {  // one pod is admitted, and the host is not
        const weir_addr pod = address(v6 ? kAddresses6[0] : kAddresses4[0]);
        put("weir_ranges",
            weir_range_key{
                .prefixlen = WEIR_RANGE_SERVICE_BITS + 128, .service = index, .addr = pod},
            uint32_t{WEIR_RANGE_ADMIT});
    }
    if (kind == kThree) {
        put_vip(v6 ? "::" : "0.0.0.0", 30080, proto, WEIR_VIP_NODEPORT, index, WEIR_VIP_EXTERNAL);
    }
}

void put_pod(uint32_t id, uint32_t ifindex) {
    weir_endpoint pod{};
    pod.addr[0] = address(kAddresses4[id - 1]);
    pod.addr[1] = address(kAddresses6[id - 1]);
    pod.ifindex = ifindex;
    pod.flags = WEIR_EP_IN_USE;
    pod.mac[0] = 2;
    pod.mac[5] = static_cast<uint8_t>(id);
    pod.generation = 1;
    put("weir_endpoints", id, pod);
    weir_device device{};
    device.kind = WEIR_DEV_POD;
    device.endpoint = id;
    device.mtu = 1500;
    put("weir_devices", ifindex, device);
    for (const weir_addr& at : pod.addr)
        put("weir_pods", at, weir_pod_ref{.endpoint = id});
}

void put_device(uint32_t ifindex, uint32_t kind) {
    weir_device device{};
    device.addr[0] = address("192.0.2.1");
    device.addr[1] = address("2001:db8::1");
    device.kind = kind;
    device.mtu = 1500;
    put("weir_devices", ifindex, device);
}

void put_range(const char* at, uint32_t length, uint32_t flags) {
    const bool v6 = std::strchr(at, ':') != nullptr;
    put("weir_cidrs", weir_cidr_key{.prefixlen = v6 ? length : 96 + length, .addr = address(at)},
        flags);
}

uint32_t hash_of(const std::string& key, bool v6) {
    weir_ct_key4 k4{};
    weir_ct_key6 k6{};
    if (v6) {
        std::memcpy(&k6, key.data(), sizeof k6);
        return weir_ct_hash6(&k6);
    }
    std::memcpy(&k4, key.data(), sizeof k4);
    return weir_ct_hash4(&k4);
}

uint64_t& word_of_counts(uint32_t index) {
    return *static_cast<uint64_t*>(Machine::get().find("weir_ct_counts")->lookup(&index));
}

bool start_counts() {
    if (Machine::get().find("weir_ct_counts") == nullptr) return false;  // a target without them
    for (uint32_t i = 0; i < 2 * WEIR_CT_COUNT_WORDS; i++)
        word_of_counts(i) = WEIR_CT_COUNTS_NONE;
    return true;
}

void uncount(const std::string& key, bool v6) {
    const uint32_t hash = hash_of(key, v6);
    uint64_t& word = word_of_counts(WEIR_CT_COUNT_WORD(hash, v6));
    const uint64_t own = word >> WEIR_CT_COUNT_SHIFT(hash) & 15;
    if (own == WEIR_CT_COUNT_NONE || own == WEIR_CT_COUNT_UNKNOWN)
        broken("an established entry is not counted");
    word -= uint64_t{1} << WEIR_CT_COUNT_SHIFT(hash);
}

}  // namespace

weir_addr address(const char* text) {
    auto parsed = IpAddress::parse(text);
    if (!parsed) {
        weir_addr any{};  // "0.0.0.0" and "::" of NodePorts are among those that parse
        return any;
    }
    return parsed->abi();
}

weir_addr some_address(uint8_t number, bool v6) {
    const size_t index = number % kAddresses4.size();
    return address(v6 ? kAddresses6[index] : kAddresses4[index]);
}

weir_config world_config() {
    weir_config config{};
    config.flags = WEIR_CFG_SOCK_PODS | WEIR_CFG_SOCK_HOST | WEIR_CFG_MASQ4 | WEIR_CFG_MASQ6 |
                   WEIR_CFG_FLOW_EVENTS | WEIR_CFG_REDIRECT_PEER;
    config.host_ifindex = 3;
    config.nodeport_min = 30000;
    config.nodeport_max = 32767;
    config.snat_min = 45056;
    config.snat_max = 45087;  // few, so that they run out
    config.host_netns_cookie = kHostNetns;
    config.router[0] = address("10.244.0.1");
    config.router[1] = address("fd00:10:244::1");
    config.gateway[0] = address("169.254.1.1");
    config.gateway[1] = address("fe80::ecee:eeff:feee:eeee");
    std::memset(config.host_mac, 0xee, sizeof config.host_mac);
    config.timeout = {.tcp_syn = 30,
                      .tcp_established = 8000,
                      .tcp_closing = 10,
                      .udp_new = 30,
                      .udp_established = 120,
                      .icmp = 30,
                      .sctp_new = 30,
                      .sctp_established = 8000,
                      .other = 60,
                      .pad = 0};
    return config;
}

void check_counts() {
    static unsigned calls = 0;
    for (const bool v6 : {false, true}) {
        auto* outer = dynamic_cast<PointerMap*>(Machine::get().find(v6 ? "weir_ct6" : "weir_ct4"));
        for (uint32_t shard = 0; shard < WEIR_CT_SHARDS; ++shard) {
            for (const std::string& key : static_cast<Map*>(outer->get(shard))->keys())
                uncount(key, v6);
        }
    }
    if (calls++ % 256 != 0) return;  // it takes a millisecond
    for (uint32_t i = 0; i < 2 * WEIR_CT_COUNT_WORDS; i++) {
        if (word_of_counts(i) != WEIR_CT_COUNTS_NONE)
            broken("an entry is counted that is not established");
    }
}

void fill_world() {
    Machine::get().clear_dynamic();
    static const bool counted = start_counts();
    (void)counted;
    next_slot = 1;
    next_backend = 1;
    uint32_t index = 1;
    for (const bool v6 : {false, true}) {
        for (const uint8_t proto : kProtocols) {
            for (uint32_t kind = 0; kind < kKinds; kind++) {
                put_service(index++, proto, static_cast<Kind>(kind), v6);
            }
        }
    }
    put_pod(1, 11);
    put_pod(2, 12);
    put_device(2, WEIR_DEV_EXTERNAL);
    put_device(3, WEIR_DEV_HOST);
    for (const char* own : {"192.0.2.1", "2001:db8::1", "127.0.0.1"}) {
        put("weir_node_addrs", address(own), uint32_t{WEIR_NODE_ADDR_NODEPORT});
    }
    for (const char* own : {"10.244.0.1", "fd00:10:244::1"}) {
        put("weir_node_addrs", address(own), uint32_t{0});
    }
    put_range("10.96.0.0", 16, WEIR_CIDR_SERVICE);
    put_range("fd00:10:96::", 112, WEIR_CIDR_SERVICE);
    put_range("10.244.0.0", 16, WEIR_CIDR_POD);
    put_range("10.244.0.0", 24, WEIR_CIDR_POD | WEIR_CIDR_LOCAL_PODS);
    put_range("fd00:10:244::", 48, WEIR_CIDR_POD);
    put_range("fd00:10:244::", 64, WEIR_CIDR_POD | WEIR_CIDR_LOCAL_PODS);
    put("weir_netns", kHostNetns, weir_netns{.endpoint = 0, .flags = 0});
    put("weir_netns", kPodNetns, weir_netns{.endpoint = 1, .flags = 0});
    put("weir_netns", kOptedOutNetns, weir_netns{.endpoint = 2, .flags = WEIR_EP_SOCK_OFF});
}

}  // namespace weir::native
