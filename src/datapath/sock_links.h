// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/result.h"
#include "datapath/loader.h"
#include "datapath/pins.h"

namespace weir::datapath {

/// What became of the socket hooks' links, by program name.
struct SockLinks {
    std::vector<std::string> created;
    std::vector<std::string> updated;
    std::vector<std::string> moved;    ///< were on another cgroup
    std::vector<std::string> removed;  ///< switched off, or of no program of this build
};

/// Puts a build's socket programs in force on `cgroup_root`: links pinned as links/<program>,
/// updated one by one by compare-and-swap, so that each hook always runs the old or the new
/// program. A link on another cgroup is made anew here before the old one goes.
Result<SockLinks> attach_sock(const std::vector<LoadedBuild::SockProgram>& programs,
                              const std::filesystem::path& cgroup_root, const PinDir& pins,
                              const StepHook& step);

/// Removes all socket links; their names.
Result<std::vector<std::string>> detach_sock(const PinDir& pins);

}  // namespace weir::datapath
