// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/ip.h"

namespace weir::kube::api {

/// A Node, as far as its pod ranges are concerned.
struct NodeRanges {
    std::string name;
    std::string uid;
    std::vector<IpPrefix> ranges;
    bool operator==(const NodeRanges&) const = default;
};

/// Which blocks there are to give. Used on the thread that writes, by one at a time.
class BlockSource {
  public:
    virtual ~BlockSource() = default;
    /// A Node gets one of each.
    [[nodiscard]] virtual std::vector<Family> families() const = 0;
    virtual void clear() = 0;
    virtual void taken(const IpPrefix& prefix) = 0;
    /// One that is not taken, which this does not change.
    [[nodiscard]] virtual Result<IpPrefix> pick(Family family) const = 0;
    /// It is of the ranges that blocks are given from.
    [[nodiscard]] virtual bool holds(const IpPrefix& prefix) const = 0;
};

struct BlockOptions {
    std::shared_ptr<BlockSource> source;
    /// A block is free when its Node is gone for that long, and no pod has an address of it.
    std::chrono::seconds rest{300};
    /// Between two looks when nothing changes.
    std::chrono::seconds look{10};
};

struct BlockState {
    uint64_t given = 0;  ///< Nodes that got their blocks, by this agent
    uint64_t freed = 0;  ///< blocks
    std::string error;   ///< what keeps a Node from getting its own
};

}  // namespace weir::kube::api
