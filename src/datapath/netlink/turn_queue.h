// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <semaphore>

namespace weir::netlink {

/// Lets a few callers at a time go on, in the order in which they came. Thread-safe.
class TurnQueue {
  public:
    explicit TurnQueue(size_t at_once) : free_(at_once) {}

    void acquire() {
        std::binary_semaphore own{0};
        {
            const std::lock_guard lock(mutex_);
            if (free_ > 0) {
                --free_;
                return;
            }
            waiting_.push_back(&own);
        }
        own.acquire();
        // Whoever let this caller go may not be done with `own` before it is done with the lock.
        const std::lock_guard left(mutex_);
    }
    void release() {
        const std::lock_guard lock(mutex_);
        if (waiting_.empty()) {
            ++free_;
            return;
        }
        waiting_.front()->release();
        waiting_.pop_front();
    }

  private:
    std::mutex mutex_;
    size_t free_;
    std::deque<std::binary_semaphore*> waiting_;  ///< each on the stack of its caller
};

/// A caller's turn, as long as it lives.
class Turn {
  public:
    explicit Turn(TurnQueue& queue) : queue_(queue) { queue_.acquire(); }
    ~Turn() { queue_.release(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    Turn(Turn&&) = delete;
    Turn& operator=(Turn&&) = delete;

  private:
    TurnQueue& queue_;
};

}  // namespace weir::netlink
