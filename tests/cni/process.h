// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

namespace weir::test {

struct Finished {
    int exit_code = -1;  ///< -1: killed by a signal, or took too long
    std::string out;
    std::string err;
};

using Variables = std::map<std::string, std::string>;

/// Runs a program to its end with exactly these variables (PATH is added) and this stdin.
Finished run(const std::vector<std::string>& arguments, const Variables& variables = {},
             std::string_view input = {}, std::chrono::seconds limit = std::chrono::seconds(120));

/// Output of a shell command; fails the test if it exits non-zero.
std::string sh(const std::string& command);
bool succeeds(const std::string& command);

/// A process in the background; killed (SIGKILL) and awaited on destruction.
class Background {
  public:
    explicit Background(const std::vector<std::string>& arguments);
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;
    ~Background() { stop(9); }
    /// Sends the signal and waits for the end.
    void stop(int signal);
    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] bool running();

  private:
    pid_t pid_ = -1;
};

/// Polls until `condition` holds, up to the limit.
template <typename Condition>
bool eventually(Condition&& condition, std::chrono::seconds limit = std::chrono::seconds(10));

}  // namespace weir::test

#include <thread>

template <typename Condition>
bool weir::test::eventually(Condition&& condition, std::chrono::seconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
}
