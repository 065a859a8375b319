// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "support/process.h"

namespace weir::test {

/// A process in a pod of its own, on a Node or one of two Nodes.
struct RunningPod {
    std::string name;
    std::string v4;
    std::string v6;
    Place place;
    Process process;  ///< `weir run`
    /// v4 or v6 by the argument 4 or 6.
    [[nodiscard]] const std::string& ip(int family) const { return family == 4 ? v4 : v6; }
};

/// The end of a command line of `weir run`: the command, run by a shell that writes its pid first.
std::vector<std::string> telling_pid(const std::filesystem::path& pid_file,
                                     const std::vector<std::string>& command);
/// What the shell wrote; 0 if it has not.
pid_t told_pid(const std::filesystem::path& pid_file);

/// What `weir run` writes of a pod, below the agent's run directory.
std::filesystem::path pod_manifest(const std::filesystem::path& run_dir, const std::string& name);

/// Waits until the pod is ready, and fills in its addresses and place; fails the test, with what
/// its log says, if it does not become so.
void settle(RunningPod& pod, const std::filesystem::path& manifest,
            const std::filesystem::path& pid_file, const std::filesystem::path& log);

}  // namespace weir::test
