// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include "common/result.h"
#include "datapath/loader.h"
#include "datapath/maps.h"
#include "weir/ct.h"

/// The in-kernel timer that removes expired flows. It lives as long as its map is pinned; each
/// build points it at its own code.
namespace weir::datapath {

/// Runs sweep_start of a build, which (re)arms the timer with this build's sweep.
Result<void> start_sweep(const LoadedBuild& build);

/// The sweep's figures.
Result<weir_sweep_stats> read_sweep(const RawMap& sweep);

/// Waits until the sweep has run at least once more; kUnavailable if it has not after `limit`.
Result<weir_sweep_stats> wait_for_sweep(const RawMap& sweep, std::chrono::milliseconds limit);

}  // namespace weir::datapath
