// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include "cli/run/record.h"
#include "common/fd.h"

namespace weir::cli::run {

/// Takes everything of a run down: object, processes, CNI DEL, network namespace, cgroup, and last
/// the record. Repeatable; what does not exist is fine. On failure the record stays, so that the
/// next run tries again; the failures are the message.
Result<void> tear_down(const RecordFile& file, const Record& record);

/// The process that outlives the front process of a run and takes it down when that ends, even by
/// SIGKILL: it holds the other end of a pipe that only the front process has open.
struct Reaper {
    pid_t pid;
    Fd alive;  ///< closing it, or dying, starts the end
};
Result<Reaper> start_reaper(const RecordFile& file, const Record& record);

/// Takes down runs whose front process and reaper are both dead. Returns how many; failures are
/// complained about.
size_t reap_abandoned(const std::filesystem::path& run_dir);

}  // namespace weir::cli::run
