// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace boost::asio {
class io_context;
}

namespace weir::agent {

/// The agent's event loop: one thread, on which everything but long work runs.
class Loop {
  public:
    Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;
    ~Loop();

    /// Runs `work` on the loop's thread. Any thread.
    void post(std::function<void()> work);
    /// Calls `ready` whenever `fd`, which stays the caller's, is readable; not again within `rest`,
    /// so that what comes in a burst is read together.
    void watch(int fd, std::function<void()> ready, std::chrono::milliseconds rest = {});
    /// Calls `work` again and again, the first time after one `period`.
    void every(std::chrono::milliseconds period, std::function<void()> work);
    /// SIGTERM and SIGINT end run().
    void stop_on_signals();
    void stop();
    void run();
    [[nodiscard]] boost::asio::io_context& io();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Threads for work that blocks: requests of container runtimes.
class Workers {
  public:
    explicit Workers(unsigned threads);
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;
    /// Waits for what has begun.
    ~Workers();
    void run(std::function<void()> work);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace weir::agent
