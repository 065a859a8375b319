// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include <time.h>

namespace weir {

/// Time since boot, suspend included. The same for every process of the host and across restarts of
/// the agent, never set back: what is kept on a tmpfs may be stamped with it.
using BootTime = std::chrono::nanoseconds;

inline BootTime boot_now() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace weir
