// SPDX-License-Identifier: Apache-2.0
#include "lb/slots.h"

#include <algorithm>

namespace weir::lb {
namespace {

constexpr uint32_t kTags = 1U << WEIR_EXTENT_TAG_BITS;

/// Tag 0 is what never-written slots carry.
uint32_t after(uint32_t tag) {
    return tag + 1 < kTags ? tag + 1 : 1;
}

}  // namespace

std::optional<uint64_t> SlotTable::place(std::span<const uint32_t> backends) {
    if (backends.empty()) return 0;
    const auto count = static_cast<uint32_t>(backends.size());
    const auto first = buddy_.allocate(Buddy::order_for(count));
    if (!first) return std::nullopt;
    remember(*first, count);
    std::ranges::copy(backends, backends_.begin() + *first);
    const uint32_t tag = next_tag_;
    next_tag_ = after(tag);
    return WEIR_EXTENT(*first, count, tag);
}

bool SlotTable::adopt(uint64_t extent, std::span<const weir_slot> slots) {
    const uint32_t count = WEIR_EXTENT_COUNT(extent);
    if (count == 0) return true;
    const uint32_t first = WEIR_EXTENT_FIRST(extent);
    if (uint64_t{first} + count > slots.size()) return false;
    if (!buddy_.reserve(first, Buddy::order_for(count))) return false;
    remember(first, count);
    std::ranges::transform(slots.subspan(first, count), backends_.begin() + first,
                           [](const weir_slot& slot) { return slot.backend; });
    if (WEIR_EXTENT_TAG(extent) >= next_tag_) next_tag_ = after(WEIR_EXTENT_TAG(extent));
    return true;
}

std::span<const uint32_t> SlotTable::backends(uint64_t extent) const {
    const uint32_t count = WEIR_EXTENT_COUNT(extent);
    if (count == 0) return {};
    return std::span(backends_).subspan(WEIR_EXTENT_FIRST(extent), count);
}

void SlotTable::release(uint64_t extent) {
    const uint32_t count = WEIR_EXTENT_COUNT(extent);
    if (count != 0) buddy_.release(WEIR_EXTENT_FIRST(extent), Buddy::order_for(count));
}

void SlotTable::remember(uint32_t first, uint32_t count) {
    if (backends_.size() < size_t{first} + count) backends_.resize(size_t{first} + count);
}

}  // namespace weir::lb
