// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "common/result.h"

namespace weir::cli::run {

/// A new network namespace bound to `path` (below /run/netns, as `ip netns` does), its loopback
/// device up. Needs CAP_SYS_ADMIN.
Result<void> make_netns(const std::filesystem::path& path);
/// Unbinds and removes the path; fine if it is not there. The namespace ends with its last process.
Result<void> remove_netns(const std::filesystem::path& path);

/// A new cgroup2 directory; kNotFound if its parent is not there.
Result<void> make_cgroup(const std::filesystem::path& path);
/// Kills every process below `path`, waits until they are gone, and removes it; fine if it is not
/// there.
Result<void> remove_cgroup(const std::filesystem::path& path);

}  // namespace weir::cli::run
