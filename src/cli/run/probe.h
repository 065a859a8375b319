// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include <sys/types.h>

#include "cli/run/spec.h"
#include "common/fd.h"
#include "common/ip.h"

namespace weir::cli::run {

/// A process in the pod's network namespace that probes the pod's own address; it dies with its
/// parent. Reads of `changes` give 'R' when the pod becomes ready and 'N' when it no longer is
/// (after three failures, as a kubelet counts).
struct Prober {
    pid_t pid;
    Fd changes;
};
Result<Prober> start_prober(const Readiness& readiness, const std::filesystem::path& netns,
                            const IpAddress& address);

}  // namespace weir::cli::run
