// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "common/fd.h"

namespace weir::test {

/// Where a child of a test runs: which network namespace and which cgroup.
struct Place {
    std::string netns;   ///< path; empty: the caller's
    std::string cgroup;  ///< directory; empty: the caller's
};

struct Outcome {
    int status = 0;  ///< exit status; 128 + signal if killed
    std::string out;
    std::string err;
    [[nodiscard]] bool ok() const { return status == 0; }
    [[nodiscard]] std::string describe() const;
};

/// Runs a program to its end, killed at the deadline (status 128 + SIGKILL).
Outcome run(const std::vector<std::string>& argv, const Place& place = {},
            std::chrono::milliseconds deadline = std::chrono::seconds(20));

/// Runs `body` in a child at `place` and returns what it returns: sockets of a test live there. A
/// child that dies or overruns 20 s yields "died: …".
std::string run_in(const Place& place, const std::function<std::string()>& body);

/// A program in the background, killed (SIGKILL) and reaped on destruction. Output goes to `log`.
class Process {
  public:
    static Process start(const std::vector<std::string>& argv, const std::string& log,
                         const Place& place = {});
    Process(Process&& other) noexcept;
    Process& operator=(Process&& other) noexcept;
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process();

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] bool running();
    void send(int signal) const;
    /// Exit status, or nothing if it still runs at the deadline.
    std::optional<int> wait(std::chrono::milliseconds deadline);

  private:
    explicit Process(pid_t pid) : pid_(pid) {}
    void stop();

    pid_t pid_ = -1;
    std::optional<int> status_;
};

/// Polls until `condition` holds; false at the deadline.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds deadline = std::chrono::seconds(10));

}  // namespace weir::test
