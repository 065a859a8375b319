// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <vector>

#include "ipam/range.h"

namespace weir::ipam {

/// Blocks of one size out of ranges of one family: what nodes are given for their pods. Pure; who
/// has which block is recorded elsewhere, and told by taken(). One thread.
class BlockPool {
  public:
    /// Fails if a range has no room for a block, is of another family, or overlaps another one.
    static Result<BlockPool> make(std::vector<IpPrefix> ranges, unsigned block_length);

    /// The prefix, a block or not, is somebody's.
    void taken(const IpPrefix& prefix);
    /// Nothing is anybody's.
    void clear() { taken_.clear(); }
    /// The lowest free block of the first range that has one; it is not taken by that. kExhausted
    /// naming the ranges and what to do.
    [[nodiscard]] Result<IpPrefix> pick() const;
    /// It is a block of these ranges, or a part of one.
    [[nodiscard]] bool holds(const IpPrefix& prefix) const;
    [[nodiscard]] Number size() const;  ///< blocks in all
    [[nodiscard]] std::string describe() const;

  private:
    BlockPool(std::vector<IpPrefix> ranges, unsigned length)
        : ranges_(std::move(ranges)), length_(length) {}
    [[nodiscard]] Number block_size() const;

    std::vector<IpPrefix> ranges_;
    unsigned length_;
    std::map<Number, Number> taken_;  ///< first -> last address
};

}  // namespace weir::ipam
