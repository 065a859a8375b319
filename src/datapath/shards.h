// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "common/result.h"
#include "datapath/map.h"

namespace weir::datapath {

/// An inner map of a map of maps.
struct Shard {
    uint32_t index = 0;
    RawMap map;
};

/// Opens every inner map there is, by index. `read_only`: for reading, which is enough to be
/// allowed to. To be kept where it is needed again: until 6.8 the kernel waits for a grace period
/// at each look into a map of maps, tens of milliseconds. Shards never change once they are in.
Result<std::vector<Shard>> open_shards(const RawMap& outer, bool read_only);

/// Says in weir_ct_counts (weir/ct.h) that a family's tables of established flows have no entries,
/// which must be so.
Result<void> count_no_flows(const RawMap& counts, bool ipv6);

}  // namespace weir::datapath
