// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lb/buddy.h"
#include "weir/lb.h"

namespace weir::lb {

inline constexpr uint32_t kMaxExtent = (1U << WEIR_EXTENT_COUNT_BITS) - 1;

/// The array of slots: who owns which part of it, and which backends stand in each.
class SlotTable {
  public:
    explicit SlotTable(uint32_t capacity) : buddy_(capacity) {}

    /// Takes room for these backends and returns the extent word, with a tag that no extent of
    /// recent times has; 0 for no backends; nullopt: there is no room. At most kMaxExtent.
    [[nodiscard]] std::optional<uint64_t> place(std::span<const uint32_t> backends);
    /// Takes the extent as it stands in the kernel. False if it overlaps another one or is out of
    /// range: then nothing is taken.
    [[nodiscard]] bool adopt(uint64_t extent, std::span<const weir_slot> slots);
    /// The backends of an extent placed or adopted. Valid until the next place or adopt.
    [[nodiscard]] std::span<const uint32_t> backends(uint64_t extent) const;
    /// No reader sees the extent any more.
    void release(uint64_t extent);

    [[nodiscard]] uint32_t used() const { return buddy_.units() - buddy_.free_units(); }
    [[nodiscard]] uint32_t capacity() const { return buddy_.units(); }

  private:
    void remember(uint32_t first, uint32_t count);

    Buddy buddy_;
    std::vector<uint32_t> backends_;  ///< by slot, up to the highest ever used
    uint32_t next_tag_ = 1;
};

}  // namespace weir::lb
