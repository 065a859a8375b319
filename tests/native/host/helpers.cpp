// SPDX-License-Identifier: Apache-2.0
// The helpers of shim/bpf/bpf_helpers.h, with the answers of the kernel's.
#include <cerrno>
#include <cstdint>
#include <cstring>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "native/host/machine.h"

using weir::native::Machine;
using weir::native::Map;
using weir::native::PointerMap;
using weir::native::Redirect;
using weir::native::RingMap;

// NOLINTBEGIN(readability-identifier-naming): the linker's names of the helpers
extern "C" {

// --- maps

void* weir_host_bpf_map_lookup_elem(const void* map, const void* key) {
    return Machine::get().map(map).lookup(key);
}
long weir_host_bpf_map_update_elem(const void* map, const void* key, const void* value,
                                   uint64_t flags) {
    return Machine::get().map(map).update(key, value, flags);
}
long weir_host_bpf_map_delete_elem(const void* map, const void* key) {
    return Machine::get().map(map).erase(key);
}

long weir_host_bpf_for_each_map_elem(const void* handle, void* callback, void* context,
                                     uint64_t /*flags*/) {
    using Callback = long (*)(const void* map, const void* key, void* value, void* context);
    Map& map = Machine::get().map(handle);
    long count = 0;
    for (const std::string& key : map.keys()) {
        void* value = map.lookup(key.data());
        if (value == nullptr) continue;  // deleted by the callback
        count++;
        if (reinterpret_cast<Callback>(callback)(handle, key.data(), value, context) != 0) break;
    }
    return count;
}

long weir_host_bpf_loop(uint32_t count, void* callback, void* context, uint64_t /*flags*/) {
    using Callback = long (*)(uint32_t index, void* context);
    for (uint32_t i = 0; i < count; i++) {
        if (reinterpret_cast<Callback>(callback)(i, context) != 0) return i + 1;
    }
    return count;
}

void* weir_host_bpf_ringbuf_reserve(const void* map, uint64_t size, uint64_t /*flags*/) {
    return dynamic_cast<RingMap&>(Machine::get().map(map)).reserve(size);
}

void weir_host_bpf_ringbuf_submit(void* record, uint64_t /*flags*/) {
    Machine::get().finish_record(record, true);
}
void weir_host_bpf_ringbuf_discard(void* record, uint64_t /*flags*/) {
    Machine::get().finish_record(record, false);
}
long weir_host_bpf_ringbuf_output(const void* map, void* data, uint64_t size, uint64_t flags) {
    void* record = weir_host_bpf_ringbuf_reserve(map, size, flags);
    if (record == nullptr) return -EAGAIN;
    std::memcpy(record, data, size);
    Machine::get().finish_record(record, true);
    return 0;
}
uint64_t weir_host_bpf_ringbuf_query(const void* /*map*/, uint64_t /*flags*/) {
    return 0;
}

long weir_host_bpf_tail_call(void* /*context*/, const void* map, uint32_t index) {
    Machine::get().tail_call(dynamic_cast<PointerMap&>(Machine::get().map(map)), index);
    return -ENOENT;
}

long weir_host_bpf_timer_init(bpf_timer* timer, const void* map, uint64_t /*flags*/) {
    auto [entry, created] = Machine::get().timers.try_emplace(timer);
    if (!created) return -EBUSY;
    entry->second.map = map;
    return 0;
}
long weir_host_bpf_timer_set_callback(bpf_timer* timer, void* callback) {
    auto found = Machine::get().timers.find(timer);
    if (found == Machine::get().timers.end()) return -EINVAL;
    found->second.callback = callback;
    return 0;
}
long weir_host_bpf_timer_start(bpf_timer* timer, uint64_t /*ns*/, uint64_t /*flags*/) {
    auto found = Machine::get().timers.find(timer);
    if (found == Machine::get().timers.end()) return -EINVAL;
    found->second.armed = true;
    return 0;
}
long weir_host_bpf_timer_cancel(bpf_timer* timer) {
    auto found = Machine::get().timers.find(timer);
    if (found == Machine::get().timers.end()) return -EINVAL;
    found->second.armed = false;
    return 0;
}
void weir_host_bpf_spin_lock(bpf_spin_lock* /*lock*/) {}
void weir_host_bpf_spin_unlock(bpf_spin_lock* /*lock*/) {}

// --- time, chance, place

uint64_t weir_host_bpf_ktime_get_ns() {
    return Machine::get().now_ns;
}
uint64_t weir_host_bpf_ktime_get_boot_ns() {
    return Machine::get().now_ns;
}
uint64_t weir_host_bpf_ktime_get_coarse_ns() {
    return Machine::get().now_ns;
}
uint64_t weir_host_bpf_jiffies64() {
    return Machine::get().now_ns / 4000000;
}
uint32_t weir_host_bpf_get_prandom_u32() {
    return Machine::get().random();
}
uint32_t weir_host_bpf_get_smp_processor_id() {
    return 0;
}

// --- sending packets elsewhere

static long redirect(uint32_t ifindex, uint64_t flags, Redirect::Kind kind, uint64_t allowed) {
    if ((flags & ~allowed) != 0) return TC_ACT_SHOT;
    Machine::get().redirect = {.ifindex = ifindex, .flags = flags, .kind = kind};
    return TC_ACT_REDIRECT;
}
long weir_host_bpf_redirect(uint32_t ifindex, uint64_t flags) {
    return redirect(ifindex, flags, Redirect::Kind::kDevice, BPF_F_INGRESS);
}
long weir_host_bpf_redirect_peer(uint32_t ifindex, uint64_t flags) {
    return redirect(ifindex, flags, Redirect::Kind::kPeer, 0);
}
long weir_host_bpf_redirect_neigh(uint32_t ifindex, bpf_redir_neigh* params, int size,
                                  uint64_t flags) {
    if (size != 0 && (params == nullptr || size < static_cast<int>(sizeof *params)))
        return TC_ACT_SHOT;
    return redirect(ifindex, flags, Redirect::Kind::kNeighbour, 0);
}
long weir_host_bpf_clone_redirect(__sk_buff* /*skb*/, uint32_t /*ifindex*/, uint64_t /*flags*/) {
    return 0;
}
long weir_host_bpf_fib_lookup(void* /*context*/, bpf_fib_lookup* params, int size, uint32_t flags) {
    if (size < static_cast<int>(sizeof *params)) return -EINVAL;
    if (!Machine::get().route) return BPF_FIB_LKUP_RET_NOT_FWDED;
    return Machine::get().route(*params, flags);
}
// No packet of this machine comes through a tunnel.
long weir_host_bpf_skb_get_tunnel_key(__sk_buff* /*skb*/, bpf_tunnel_key* /*key*/,
                                      uint32_t /*size*/, uint64_t /*flags*/) {
    return -EINVAL;
}
long weir_host_bpf_skb_set_tunnel_key(__sk_buff* /*skb*/, bpf_tunnel_key* /*key*/, uint32_t size,
                                      uint64_t /*flags*/) {
    return size == sizeof(bpf_tunnel_key) ? 0 : -EINVAL;
}
long weir_host_bpf_check_mtu(void* /*context*/, uint32_t /*ifindex*/, uint32_t* mtu,
                             int32_t /*difference*/, uint64_t /*flags*/) {
    if (mtu != nullptr) *mtu = 1500;
    return 0;
}

// --- sockets: a context without a socket, and a host on which nobody listens

uint64_t weir_host_bpf_get_socket_cookie(void* /*context*/) {
    return Machine::get().socket_cookie;
}
uint64_t weir_host_bpf_get_netns_cookie(void* /*context*/) {
    return Machine::get().netns_cookie;
}
int weir_host_bpf_set_retval(int value) {
    Machine::get().retval = value;
    return 0;
}
bpf_sock* weir_host_bpf_skc_lookup_tcp(void* /*context*/, bpf_sock_tuple* /*tuple*/,
                                       uint32_t /*size*/, uint64_t /*netns*/, uint64_t /*flags*/) {
    return nullptr;
}
bpf_sock* weir_host_bpf_sk_lookup_tcp(void* /*context*/, bpf_sock_tuple* /*tuple*/,
                                      uint32_t /*size*/, uint64_t /*netns*/, uint64_t /*flags*/) {
    return nullptr;
}
bpf_sock* weir_host_bpf_sk_lookup_udp(void* /*context*/, bpf_sock_tuple* /*tuple*/,
                                      uint32_t /*size*/, uint64_t /*netns*/, uint64_t /*flags*/) {
    return nullptr;
}
long weir_host_bpf_sk_release(void* /*sock*/) {
    Machine::get().sockets_held--;
    return 0;
}
}
// NOLINTEND(readability-identifier-naming)
