// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>

namespace weir::lb {

/// Blocks of 2^order units, aligned to their size, out of [1, capacity). Freed blocks join with
/// their free neighbours, so nothing fragments for good. Costs grow with the logarithm of the
/// number of free blocks.
class Buddy {
  public:
    static constexpr unsigned kMaxOrder = 17;

    /// `capacity` need not be a power of two. Unit 0 is never given away.
    explicit Buddy(uint32_t capacity);

    /// The smallest order that holds `count` units; count >= 1.
    static unsigned order_for(uint32_t count);

    /// First unit of a block, the lowest of the best fit; nullopt: none is free.
    [[nodiscard]] std::optional<uint32_t> allocate(unsigned order);
    /// Takes exactly this block; false if any part of it is not free, or it is not aligned.
    [[nodiscard]] bool reserve(uint32_t first, unsigned order);
    /// Gives back a block that was allocated or reserved with this order.
    void release(uint32_t first, unsigned order);

    [[nodiscard]] uint32_t free_units() const { return free_units_; }
    [[nodiscard]] uint32_t units() const { return units_; }
    /// Free blocks of one order.
    [[nodiscard]] const std::set<uint32_t>& free_blocks(unsigned order) const {
        return free_[order];
    }

  private:
    void split_down(uint32_t first, unsigned from, unsigned to, uint32_t keep);

    std::array<std::set<uint32_t>, kMaxOrder + 1> free_;
    uint32_t units_ = 0;
    uint32_t free_units_ = 0;
};

}  // namespace weir::lb
