// SPDX-License-Identifier: Apache-2.0
#include "datapath/sweep.h"

#include <array>
#include <cstring>
#include <thread>

#include <bpf/bpf.h>

namespace weir::datapath {
namespace {

/// struct bpf_timer at the start of the element.
constexpr size_t kTimerSize = 16;
/// The kernel takes no frame shorter than an Ethernet header.
constexpr size_t kFrameSize = 64;

}  // namespace

Result<void> start_sweep(const LoadedBuild& build) {
    const auto program = build.tc().find("sweep_start");
    if (program == build.tc().end()) return fail(Errc::kInternal, "no object has sweep_start");
    const std::array<std::byte, kFrameSize> frame{};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(), .data_size_in = frame.size(),
                .repeat = 1);
    if (const int error = bpf_prog_test_run_opts(program->second, &opts); error != 0) {
        return fail_errno(-error, "run sweep_start");
    }
    if (opts.retval == 0) return {};
    return fail(Errc::kSystem, "sweep_start could not arm the timer: it returned {}",
                static_cast<int>(opts.retval));
}

Result<weir_sweep_stats> read_sweep(const RawMap& sweep) {
    if (sweep.info().value_size != kTimerSize + sizeof(weir_sweep_stats)) {
        return fail(Errc::kInvalid, "map {}: its element has {} bytes, not {}", sweep.info().name,
                    sweep.info().value_size, kTimerSize + sizeof(weir_sweep_stats));
    }
    std::array<std::byte, kTimerSize + sizeof(weir_sweep_stats)> element{};
    const uint32_t key = 0;
    WEIR_TRY(sweep.find(&key, element.data()));
    weir_sweep_stats stats;
    std::memcpy(&stats, element.data() + kTimerSize, sizeof stats);
    return stats;
}

Result<weir_sweep_stats> wait_for_sweep(const RawMap& sweep, std::chrono::milliseconds limit) {
    const uint64_t before = WEIR_TRY(read_sweep(sweep)).runs;
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
        const weir_sweep_stats now = WEIR_TRY(read_sweep(sweep));
        if (now.runs > before) return now;
        if (std::chrono::steady_clock::now() >= deadline) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return fail(Errc::kUnavailable,
                "the sweep of expired flows has not run for {} ms: flows will pile up until the "
                "tables are full; restart the agent, which arms its timer again",
                limit.count());
}

}  // namespace weir::datapath
