// SPDX-License-Identifier: Apache-2.0
#include "netns/sock_hooks.h"

#include <cerrno>
#include <numeric>
#include <stdexcept>
#include <system_error>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "support/lb_slot.h"

namespace weir::test {
namespace {

void check(bool good, const std::string& what) {
    if (!good) throw std::system_error(errno, std::generic_category(), what);
}

template <typename Key, typename Value>
void put(const bpf_map* map, const Key& key, const Value& value) {
    check(bpf_map_update_elem(bpf_map__fd(map), &key, &value, BPF_ANY) == 0, bpf_map__name(map));
}

weir_addr address_of(const std::string& text) {
    auto address = IpAddress::parse(text);
    if (!address) throw std::runtime_error(address.error().message());
    return address->abi();
}

weir_vip_key key_of(const SockHooks::Vip& vip) {
    weir_vip_key key = {.addr = address_of(vip.address),
                        .port = htons(vip.port),
                        .proto = vip.proto,
                        .scope = vip.scope};
    if (vip.scope == WEIR_VIP_NODEPORT) {
        const bool v4 = IpAddress(key.addr).is_v4();
        key.addr = {};
        if (v4) key.addr.w[2] = htonl(0xffff);
    }
    return key;
}

}  // namespace

SockHooks::SockHooks(const Cgroup& cgroup, uint32_t flags) : skeleton_(weir_sock_bpf::open()) {
    check(skeleton_ != nullptr, "open");
    weir_config config{};
    config.flags = flags;
    config.nodeport_min = 30000;
    config.nodeport_max = 32767;
    const_cast<weir_config&>(
        reinterpret_cast<const volatile weir_config&>(skeleton_->rodata->cfg)) = config;
    check(weir_sock_bpf::load(skeleton_.get()) == 0, "load");
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, skeleton_->obj) {
        bpf_link* link = bpf_program__attach_cgroup(program, cgroup.fd());
        check(link != nullptr, bpf_program__name(program));
        links_.emplace_back(link);
    }
}

void SockHooks::serve(const NetNs& netns, uint32_t endpoint, uint32_t flags) {
    put(skeleton_->maps.weir_netns, netns.cookie(),
        weir_netns{.endpoint = endpoint, .flags = flags});
}

void SockHooks::node_address(const std::string& address, uint32_t flags) {
    put(skeleton_->maps.weir_node_addrs, address_of(address), flags);
}

void SockHooks::vip(const Vip& vip, uint32_t service) {
    const weir_vip_key key = key_of(vip);
    put(skeleton_->maps.weir_vips, key,
        weir_vip{.service = service,
                 .flags = vip.flags,
                 .check = weir_vip_check(&key, service, vip.flags)});
}

void SockHooks::range(uint32_t service, const std::string& prefix, uint32_t verdict) {
    const auto parsed = IpPrefix::parse(prefix).value();
    put(skeleton_->maps.weir_ranges,
        weir_range_key{.prefixlen = WEIR_RANGE_SERVICE_BITS + parsed.mapped_length(),
                       .service = service,
                       .addr = parsed.address().abi()},
        verdict);
}

void SockHooks::endpoint(uint32_t id, const std::string& v4, const std::string& v6) {
    weir_endpoint value{};
    value.flags = WEIR_EP_IN_USE;
    value.addr[0] = address_of(v4);
    value.addr[1] = address_of(v6);
    put(skeleton_->maps.weir_endpoints, id, value);
}

void SockHooks::remove_vip(const Vip& vip) {
    const weir_vip_key key = key_of(vip);
    check(bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.weir_vips), &key) == 0, "remove vip");
}

void SockHooks::backend(uint32_t id, const std::string& address, uint16_t port, uint8_t proto,
                        uint8_t state) {
    backends_[id] = weir_backend{.addr = address_of(address),
                                 .port = htons(port),
                                 .proto = proto,
                                 .state = state,
                                 .generation = 1,
                                 .spare = {}};
    put(skeleton_->maps.weir_backends, id, backends_[id]);
}

uint64_t SockHooks::extent(const std::vector<uint32_t>& backends) {
    const uint32_t first = next_slot_;
    const uint32_t tag = next_tag_++;
    for (const uint32_t id : backends) {
        put(skeleton_->maps.weir_slots, next_slot_++, slot_of(backends_.at(id), id, tag));
    }
    return WEIR_EXTENT(first, backends.size(), tag);
}

void SockHooks::service(uint32_t index, const Service& service) {
    weir_service value{};
    value.extent[WEIR_SCOPE_CLUSTER] = extent(service.cluster);
    value.extent[WEIR_SCOPE_LOCAL] = extent(service.local);
    value.flags = service.flags;
    if (!service.cluster.empty() || !service.local.empty()) value.flags |= WEIR_SVC_ANY_ENDPOINT;
    value.generation = service.generation;
    put(skeleton_->maps.weir_services, index, value);
}

uint64_t SockHooks::counter(enum weir_counter which) const {
    std::vector<uint64_t> each(static_cast<size_t>(libbpf_num_possible_cpus()));
    const auto key = static_cast<uint32_t>(which);
    const int fd = bpf_map__fd(skeleton_->maps.weir_counters);
    check(bpf_map_lookup_elem(fd, &key, each.data()) == 0, "weir_counters");
    return std::accumulate(each.begin(), each.end(), uint64_t{0});
}

size_t SockHooks::remembered() const {
    const int fd = bpf_map__fd(skeleton_->maps.weir_socks);
    size_t count = 0;
    weir_sock_key key{};
    for (bool more = bpf_map_get_next_key(fd, nullptr, &key) == 0; more;
         more = bpf_map_get_next_key(fd, &key, &key) == 0) {
        count++;
    }
    return count;
}

}  // namespace weir::test
