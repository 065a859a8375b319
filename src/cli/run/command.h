// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

#include "common/result.h"

namespace weir::cli::run {

/// Where a pod's command runs.
struct Place {
    std::filesystem::path netns;
    std::filesystem::path cgroup;
    std::filesystem::path resolv_conf;  ///< empty: the host's
    std::string hostname;
    bool own_mounts = true;  ///< /sys of its network namespace, its own /etc/resolv.conf
};

/// Starts `command` there, with our standard streams; it is killed if this process dies. Fails if
/// the place cannot be entered or the command not executed.
Result<pid_t> start_command(const Place& place, const std::vector<std::string>& command);

}  // namespace weir::cli::run
