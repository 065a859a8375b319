// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "common/result.h"

namespace weir::datapath {

/// Waits until every BPF program that was running when it was called has finished: an RCU grace
/// period, some 10 ms. Uses membarrier(GLOBAL), which is synchronize_rcu(); where the kernel
/// refuses that (nohz_full), an update of a map of maps, which waits for the same.
Result<void> wait_grace_period();

/// Grace periods without blocking the caller: one thread that waits, and serves all requests that
/// came meanwhile with one wait. Destruction drops what still waits.
class GraceWorker {
  public:
    GraceWorker();
    GraceWorker(const GraceWorker&) = delete;
    GraceWorker& operator=(const GraceWorker&) = delete;
    ~GraceWorker();

    /// Calls `done` on the worker's thread after a grace period that starts after this call; its
    /// argument is an error if no grace period could be had. Must not throw. Any thread.
    void after(std::function<void(const Result<void>&)> done);

  private:
    void run();

    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::function<void(const Result<void>&)>> waiting_;
    bool stop_ = false;
    std::thread thread_;  // last: it uses the others
};

}  // namespace weir::datapath
