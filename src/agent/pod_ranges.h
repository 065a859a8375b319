// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "common/ip.h"
#include "ipam/record.h"

namespace weir::agent {

/// The ranges to serve when the node's change: those of the node in their order and, behind them,
/// those of `served` that are not the node's any more but that a record still has an address of.
std::vector<IpPrefix> ranges_to_serve(std::vector<IpPrefix> of_node,
                                      std::span<const IpPrefix> served,
                                      std::span<const ipam::Record> records);

}  // namespace weir::agent
