// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "support/place.h"
#include "support/temp_dir.h"

/// Programs as tests run them. A program that cannot be started ends with status 127.
namespace weir::test {

using Variables = std::map<std::string, std::string>;

struct Outcome {
    int status = -1;  ///< exit status; 128 + signal if killed
    std::string out;
    std::string err;
    [[nodiscard]] bool ok() const { return status == 0; }
    [[nodiscard]] std::string describe() const;
};

struct RunOptions {
    Place place = {};
    std::optional<Variables> environment = {};  ///< exactly these and PATH; unset: the test's
    std::string_view input = {};                ///< standard input
    std::chrono::milliseconds deadline = std::chrono::seconds(60);
};

/// Runs a program to its end, killed at the deadline (status 128 + SIGKILL). From any thread.
Outcome run(const std::vector<std::string>& argv, const RunOptions& options = {});

/// Output of a shell command; fails the test if it exits non-zero.
std::string sh(const std::string& command);
bool succeeds(const std::string& command);

/// A program in the background, killed (SIGKILL) and reaped on destruction.
class Process {
  public:
    struct Options {
        Place place = {};
        std::filesystem::path log = {};  ///< gets its output appended; empty: see out() and err()
    };
    explicit Process(const std::vector<std::string>& argv, const Options& options);
    explicit Process(const std::vector<std::string>& argv) : Process(argv, Options()) {}
    Process(Process&& other) noexcept;
    Process& operator=(Process&& other) noexcept;
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process();

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] bool running() { return !wait_for(std::chrono::milliseconds(0)).has_value(); }
    void send(int signal) const;
    /// Exit status as in Outcome, or nothing if it still runs at the deadline.
    std::optional<int> wait_for(std::chrono::milliseconds deadline);
    /// The same, however long it takes.
    int wait();
    /// Sends the signal, unless it has ended, and waits for the end.
    int stop(int signal);

    /// What it has said so far, unless that goes to a log.
    [[nodiscard]] std::string out() const;
    [[nodiscard]] std::string err() const;

  private:
    std::unique_ptr<TempDir> output_;
    pid_t pid_ = -1;
    std::optional<int> status_;
};

/// Polls until `condition` holds; false at the deadline.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds deadline = std::chrono::seconds(10));

}  // namespace weir::test
