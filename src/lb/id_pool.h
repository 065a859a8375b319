// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weir::lb {

/// Numbers 1...capacity-1, each given to one holder at a time; the lowest fresh ones first, so that
/// arrays indexed by them stay dense.
class IdPool {
  public:
    explicit IdPool(uint32_t capacity) : capacity_(capacity) {}

    /// 0: exhausted.
    [[nodiscard]] uint32_t allocate() {
        if (!free_.empty()) {
            const uint32_t id = free_.back();
            free_.pop_back();
            return id;
        }
        return next_ < capacity_ ? next_++ : 0;
    }
    void release(uint32_t id) { free_.push_back(id); }

    /// Starts over: everything below `used.size()` that is not used is free. Index 0 is ignored.
    void restart(const std::vector<bool>& used) {
        free_.clear();
        next_ = used.empty() ? 1 : static_cast<uint32_t>(used.size());
        for (uint32_t id = next_ - 1; id > 0; --id) {
            if (!used[id]) free_.push_back(id);
        }
    }

    [[nodiscard]] uint32_t in_use() const {
        return next_ - 1 - static_cast<uint32_t>(free_.size());
    }

  private:
    uint32_t capacity_;
    uint32_t next_ = 1;
    std::vector<uint32_t> free_;
};

}  // namespace weir::lb
