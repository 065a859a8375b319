// SPDX-License-Identifier: Apache-2.0
#include "lb/buddy.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace weir::lb {

Buddy::Buddy(uint32_t capacity) {
    uint32_t at = 1;
    while (at < capacity) {
        const auto aligned = static_cast<unsigned>(std::countr_zero(at));
        const auto fits = static_cast<unsigned>(std::bit_width(capacity - at)) - 1;
        const unsigned order = std::min({aligned, fits, kMaxOrder});
        free_[order].insert(at);
        at += 1U << order;
        units_ += 1U << order;
    }
    free_units_ = units_;
}

unsigned Buddy::order_for(uint32_t count) {
    assert(count >= 1);
    return static_cast<unsigned>(std::bit_width(count - 1));
}

std::optional<uint32_t> Buddy::allocate(unsigned order) {
    for (unsigned from = order; from <= kMaxOrder; ++from) {
        if (free_[from].empty()) continue;
        const uint32_t first = *free_[from].begin();
        free_[from].erase(free_[from].begin());
        split_down(first, from, order, first);
        free_units_ -= 1U << order;
        return first;
    }
    return std::nullopt;
}

bool Buddy::reserve(uint32_t first, unsigned order) {
    if (order > kMaxOrder || (first & ((1U << order) - 1)) != 0) return false;
    for (unsigned from = order; from <= kMaxOrder; ++from) {
        const uint32_t parent = first & ~((1U << from) - 1);
        if (free_[from].erase(parent) == 0) continue;
        split_down(parent, from, order, first);
        free_units_ -= 1U << order;
        return true;
    }
    return false;
}

/// Halves the block `first` of order `from` until the half that begins with `keep` has order `to`;
/// the other halves are free.
void Buddy::split_down(uint32_t first, unsigned from, unsigned to, uint32_t keep) {
    while (from > to) {
        --from;
        const uint32_t upper = first + (1U << from);
        if (keep >= upper) {
            free_[from].insert(first);
            first = upper;
        } else {
            free_[from].insert(upper);
        }
    }
}

void Buddy::release(uint32_t first, unsigned order) {
    free_units_ += 1U << order;
    while (order < kMaxOrder && free_[order].erase(first ^ (1U << order)) != 0) {
        first &= ~(1U << order);
        ++order;
    }
    [[maybe_unused]] const bool fresh = free_[order].insert(first).second;
    assert(fresh);
}

}  // namespace weir::lb
