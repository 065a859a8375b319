// SPDX-License-Identifier: Apache-2.0
// The helpers that read and change packets. Checksums are those of CHECKSUM_NONE: all in the
// packet.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <vector>

#include <linux/bpf.h>

#include "native/host/skb.h"

using weir::native::Skb;

namespace {

constexpr uint32_t kMaxOffset = 0xffff;
constexpr uint32_t kMaxLength = 0x10000 + 14;
constexpr uint16_t kMangledZero = 0xffff;
constexpr uint32_t kEthernet = 14;
constexpr uint64_t kFieldMask = 0xf;

uint32_t add(uint32_t a, uint32_t b) {
    const uint32_t sum = a + b;
    return sum + (sum < b ? 1U : 0U);
}
uint16_t fold(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
}
/// A checksum field after `from` became `to` in what it covers; size 0: `to` is the difference.
uint16_t replaced(uint16_t field, uint64_t from, uint64_t to, uint64_t size) {
    uint32_t sum = ~static_cast<uint32_t>(field);
    if (size != 0) sum = add(sum, ~static_cast<uint32_t>(from));
    return fold(add(sum, static_cast<uint32_t>(to)));
}
bool bad_replacement(uint64_t from, uint64_t size) {
    return (size == 0 && from != 0) || (size != 0 && size != 2 && size != 4);
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): the linker's names of the helpers
extern "C" {

long weir_host_bpf_skb_load_bytes(const void* skb, uint32_t offset, void* to, uint32_t size) {
    return Skb::of(skb).load(offset, to, size);
}

long weir_host_bpf_skb_store_bytes(__sk_buff* skb, uint32_t offset, const void* from, uint32_t size,
                                   uint64_t flags) {
    if ((flags & ~uint64_t{BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH}) != 0) return -EINVAL;
    if (offset > INT32_MAX) return -EFAULT;
    return Skb::of(skb).store(offset, from, size);
}

long weir_host_bpf_skb_pull_data(__sk_buff* skb, uint32_t size) {
    return Skb::of(skb).pull(size);
}

long weir_host_bpf_skb_change_tail(__sk_buff* skb, uint32_t size, uint64_t flags) {
    if (flags != 0 || size > kMaxLength || size < kEthernet) return -EINVAL;
    std::vector<uint8_t> bytes = Skb::of(skb).bytes();
    bytes.resize(size);
    Skb::of(skb).assign(bytes);
    return 0;
}

long weir_host_bpf_skb_change_head(__sk_buff* skb, uint32_t size, uint64_t flags) {
    if (flags != 0 || skb->len + size > kMaxLength) return -EINVAL;
    std::vector<uint8_t> bytes = Skb::of(skb).bytes();
    bytes.insert(bytes.begin(), size, 0);
    Skb::of(skb).assign(bytes);
    return 0;
}

long weir_host_bpf_skb_adjust_room(__sk_buff* skb, int32_t difference, uint32_t mode,
                                   uint64_t /*flags*/) {
    std::vector<uint8_t> bytes = Skb::of(skb).bytes();
    uint32_t at = kEthernet;
    if (mode == BPF_ADJ_ROOM_NET) {
        if (bytes.size() < kEthernet + 1) return -EINVAL;
        at += bytes[kEthernet] >> 4 == 4 ? (bytes[kEthernet] & 0xfU) * 4U : 40U;
    }
    if (at > bytes.size()) return -EINVAL;
    const auto position = bytes.begin() + at;
    if (difference >= 0) {
        bytes.insert(position, static_cast<size_t>(difference), 0);
    } else {
        if (static_cast<size_t>(-difference) > bytes.size() - at) return -ENOTSUP;
        bytes.erase(position, position - difference);
    }
    Skb::of(skb).assign(bytes);
    return 0;
}

long weir_host_bpf_skb_change_type(__sk_buff* skb, uint32_t type) {
    skb->pkt_type = type;
    return 0;
}

long weir_host_bpf_l3_csum_replace(__sk_buff* skb, uint32_t offset, uint64_t from, uint64_t to,
                                   uint64_t flags) {
    const uint64_t size = flags & kFieldMask;
    uint16_t field = 0;
    if ((flags & ~kFieldMask) != 0 || bad_replacement(from, size)) return -EINVAL;
    if (offset > kMaxOffset || offset % 2 != 0) return -EFAULT;
    if (Skb::of(skb).load(offset, &field, sizeof field) != 0) return -EFAULT;
    field = replaced(field, from, to, size);
    return Skb::of(skb).store(offset, &field, sizeof field);
}

long weir_host_bpf_l4_csum_replace(__sk_buff* skb, uint32_t offset, uint64_t from, uint64_t to,
                                   uint64_t flags) {
    const uint64_t known =
        kFieldMask | BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE;
    const uint64_t size = flags & kFieldMask;
    uint16_t field = 0;
    if ((flags & ~known) != 0 || bad_replacement(from, size)) return -EINVAL;
    if (offset > kMaxOffset || offset % 2 != 0) return -EFAULT;
    if (Skb::of(skb).load(offset, &field, sizeof field) != 0) return -EFAULT;
    const bool zero_is_none = (flags & BPF_F_MARK_MANGLED_0) != 0;
    if (zero_is_none && (flags & BPF_F_MARK_ENFORCE) == 0 && field == 0) {
        return Skb::of(skb).pull(0);
    }
    field = replaced(field, from, to, size);
    if (zero_is_none && field == 0) field = kMangledZero;
    return Skb::of(skb).store(offset, &field, sizeof field);
}

int64_t weir_host_bpf_csum_diff(uint32_t* from, uint32_t from_size, uint32_t* to, uint32_t to_size,
                                uint32_t seed) {
    if (from_size % 4 != 0 || to_size % 4 != 0 || from_size + to_size > 512) return -EINVAL;
    uint32_t sum = seed;
    for (uint32_t i = 0; i < from_size / 4; i++)
        sum = add(sum, ~from[i]);
    for (uint32_t i = 0; i < to_size / 4; i++)
        sum = add(sum, to[i]);
    return sum;
}
int64_t weir_host_bpf_csum_update(__sk_buff* /*skb*/, uint32_t /*sum*/) {
    return -ENOTSUP;  // as without CHECKSUM_COMPLETE
}
long weir_host_bpf_csum_level(__sk_buff* /*skb*/, uint64_t /*level*/) {
    return -EACCES;
}
void weir_host_bpf_set_hash_invalid(__sk_buff* /*skb*/) {}
uint32_t weir_host_bpf_get_hash_recalc(__sk_buff* skb) {
    return skb->hash;
}
}
// NOLINTEND(readability-identifier-naming)
