// SPDX-License-Identifier: Apache-2.0
#include "native/host/skb.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <sys/mman.h>

#include <sanitizer/asan_interface.h>

// NOLINTBEGIN(performance-no-int-to-ptr): __sk_buff holds addresses as numbers
namespace weir::native {
namespace {

constexpr uintptr_t kArena = 0x20000000;  // of no program's or library's; checked by mmap
constexpr size_t kHalf = size_t{1} << 18;
constexpr size_t kHeadroom = 256;

/// Two halves, used in turn.
uint8_t* arena(size_t half) {
    static uint8_t* const memory = [] {
        void* mapped = mmap(reinterpret_cast<void*>(kArena), 2 * kHalf, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (mapped == MAP_FAILED) {
            throw std::system_error(errno, std::generic_category(), "packet memory below 4 GiB");
        }
        ASAN_POISON_MEMORY_REGION(mapped, 2 * kHalf);
        return static_cast<uint8_t*>(mapped);
    }();
    return memory + half * kHalf;
}

uint8_t* pointer(uint32_t address) {
    return reinterpret_cast<uint8_t*>(static_cast<uintptr_t>(address));
}

}  // namespace

Skb::Skb(std::span<const uint8_t> packet, size_t linear) {
    place(packet, linear);
}

Skb::~Skb() {
    hide();
}

Skb& Skb::of(const void* context) {
    static_assert(offsetof(Skb, context_) == 0);
    return *static_cast<Skb*>(const_cast<void*>(context));
}

void Skb::hide() {
    ASAN_POISON_MEMORY_REGION(arena(half_), kHalf);
}

void Skb::place(std::span<const uint8_t> packet, size_t linear) {
    linear = std::min(linear, packet.size());
    half_ = 1 - half_;
    uint8_t* data = arena(half_) + kHeadroom;
    ASAN_UNPOISON_MEMORY_REGION(data, linear);
    if (linear != 0) std::memcpy(data, packet.data(), linear);
    rest_.assign(packet.begin() + static_cast<long>(linear), packet.end());
    const auto address = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(data));
    context_.data = address;
    context_.data_end = address + static_cast<uint32_t>(linear);
    context_.data_meta = address;
    context_.len = static_cast<uint32_t>(packet.size());
}

std::vector<uint8_t> Skb::bytes() const {
    std::vector<uint8_t> result(pointer(context_.data), pointer(context_.data_end));
    result.insert(result.end(), rest_.begin(), rest_.end());
    return result;
}

void Skb::assign(std::span<const uint8_t> packet) {
    const std::vector<uint8_t> copy(packet.begin(), packet.end());
    hide();
    place(copy, copy.size());
}

long Skb::load(uint32_t offset, void* to, uint32_t size) const {
    if (offset > context_.len || size > context_.len - offset) {
        std::memset(to, 0, size);
        return -EFAULT;
    }
    const std::vector<uint8_t> all = bytes();
    std::memcpy(to, all.data() + offset, size);
    return 0;
}

long Skb::store(uint32_t offset, const void* from, uint32_t size) {
    if (offset > context_.len || size > context_.len - offset) return -EFAULT;
    std::vector<uint8_t> all = bytes();
    std::memcpy(all.data() + offset, from, size);
    const size_t linear = std::max<size_t>(context_.data_end - context_.data, offset + size);
    hide();
    place(all, linear);
    return 0;
}

long Skb::pull(uint32_t size) {
    if (size > context_.len) return -ENOMEM;
    const std::vector<uint8_t> all = bytes();
    const size_t linear = std::max<size_t>(context_.data_end - context_.data, size);
    hide();
    place(all, linear);
    return 0;
}

}  // namespace weir::native
// NOLINTEND(performance-no-int-to-ptr)
