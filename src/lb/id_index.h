// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weir::lb {

/// A hash index of small numbers into an array that the caller keeps: open addressing, linear
/// probing, 4 bytes a cell, at most three quarters full. 0 is never an entry.
class IdIndex {
  public:
    /// The entry of this hash for which `equal(id)`; 0: none.
    template <typename Equal>
    [[nodiscard]] uint32_t find(uint64_t hash, Equal equal) const {
        if (cells_.empty()) return 0;
        for (size_t at = hash & mask(); cells_[at] != 0; at = (at + 1) & mask()) {
            if (equal(cells_[at])) return cells_[at];
        }
        return 0;
    }

    /// `id` is not in it yet. `hash_of(id)` gives the hash of any entry.
    template <typename HashOf>
    void insert(uint32_t id, HashOf hash_of) {
        if ((size_ + 1) * 4 > cells_.size() * 3) grow(hash_of);
        place(id, hash_of(id));
        ++size_;
    }

    /// Removes `id`; nothing happens if it is not in it. Its hash must still be what it was.
    template <typename HashOf>
    void erase(uint32_t id, HashOf hash_of) {
        if (cells_.empty()) return;
        size_t hole = hash_of(id) & mask();
        while (cells_[hole] != id) {
            if (cells_[hole] == 0) return;
            hole = (hole + 1) & mask();
        }
        cells_[hole] = 0;
        --size_;
        // Entries behind the hole move up unless that would put them before their home cell.
        for (size_t at = (hole + 1) & mask(); cells_[at] != 0; at = (at + 1) & mask()) {
            const size_t home = hash_of(cells_[at]) & mask();
            if (((at - home) & mask()) < ((at - hole) & mask())) continue;
            cells_[hole] = cells_[at];
            cells_[at] = 0;
            hole = at;
        }
    }

    [[nodiscard]] size_t size() const { return size_; }

  private:
    [[nodiscard]] size_t mask() const { return cells_.size() - 1; }

    void place(uint32_t id, uint64_t hash) {
        size_t at = hash & mask();
        while (cells_[at] != 0)
            at = (at + 1) & mask();
        cells_[at] = id;
    }

    template <typename HashOf>
    void grow(HashOf hash_of) {
        const std::vector<uint32_t> old = std::move(cells_);
        cells_ = std::vector<uint32_t>(old.empty() ? 16 : old.size() * 2);
        for (const uint32_t id : old) {
            if (id != 0) place(id, hash_of(id));
        }
    }

    std::vector<uint32_t> cells_;  ///< a power of two of them
    size_t size_ = 0;
};

}  // namespace weir::lb
