// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "model/policy_writes.h"
#include "policy/cells.h"

namespace weir::policy {

/// Numbers 1...capacity-1, each given to one holder at a time; the lowest fresh ones first.
class NumberPool {
  public:
    explicit NumberPool(uint32_t capacity, uint32_t reserved = 0)
        : capacity_(capacity), next_(1 + reserved) {}
    /// 0: exhausted.
    [[nodiscard]] uint32_t allocate() {
        if (!free_.empty()) {
            const uint32_t number = free_.back();
            free_.pop_back();
            return number;
        }
        return next_ < capacity_ ? next_++ : 0;
    }
    void release(uint32_t number) { free_.push_back(number); }
    [[nodiscard]] uint32_t in_use() const {
        return next_ - 1 - static_cast<uint32_t>(free_.size());
    }
    [[nodiscard]] uint32_t capacity() const { return capacity_ - 1; }

  private:
    uint32_t capacity_;
    uint32_t next_;
    std::vector<uint32_t> free_;
};

/// Ranges of indices 1...capacity-1 of an array: the smallest gap that fits, neighbours coalesce.
class RangePool {
  public:
    explicit RangePool(uint32_t capacity);
    /// First index; 0: no gap of this length.
    [[nodiscard]] uint32_t allocate(uint32_t length);
    void release(uint32_t first, uint32_t length);
    [[nodiscard]] uint32_t in_use() const { return used_; }
    [[nodiscard]] uint32_t capacity() const { return capacity_ - 1; }

  private:
    void add_gap(uint32_t first, uint32_t length);
    void drop_gap(std::map<uint32_t, uint32_t>::iterator gap);

    uint32_t capacity_;
    uint32_t used_ = 0;
    std::map<uint32_t, uint32_t> gaps_;                  ///< first -> length
    std::set<std::pair<uint32_t, uint32_t>> by_length_;  ///< length, first
};

/// The cells of rows; equal ones are stored once. A block is named by its first index.
class CellPool {
  public:
    explicit CellPool(uint32_t capacity) : ranges_(capacity) {}
    /// Takes a reference. 0: no room. The write is added when the block is new.
    [[nodiscard]] uint32_t acquire(const Cells& cells, std::vector<model::PolicyWrite>& writes);
    /// Gives a reference back; with the last one goes the room, which no reader may reach any more.
    void release(uint32_t block);
    /// Everything but the check.
    [[nodiscard]] weir_policy_row row(uint32_t block) const;
    [[nodiscard]] const Cells& cells(uint32_t block) const { return blocks_.at(block).cells; }
    [[nodiscard]] const RangePool& ranges() const { return ranges_; }

  private:
    struct Block {
        Cells cells;
        uint32_t references = 0;
        uint64_t hash = 0;
    };
    RangePool ranges_;
    std::unordered_map<uint32_t, Block> blocks_;
    std::unordered_multimap<uint64_t, uint32_t> by_content_;
};

}  // namespace weir::policy
