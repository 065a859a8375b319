// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

/// Proofs that the cgroup root and the BPF file system an agent was given are the host's own. In a
/// container they often are not, and everything seems to work until nothing is translated, or until
/// the agent restarts and its pins are gone.
namespace weir::datapath {

struct CgroupRoot {
    std::filesystem::path path;
    uint64_t id = 0;       ///< the kernel's number of the cgroup
    bool subtree = false;  ///< not the root: sockets outside of it are not translated at connect
};

/// The cgroup2 root to attach socket hooks to. With `configured`, that directory, which may be a
/// subtree; empty: /sys/fs/cgroup or /sys/fs/cgroup/unified, which must be the host's true root.
Result<CgroupRoot> find_cgroup_root(const std::filesystem::path& configured);

/// The same with another place to look in and another /proc; what find_cgroup_root does on "/".
Result<CgroupRoot> find_cgroup_root_below(const std::filesystem::path& mount_dir,
                                          const std::filesystem::path& proc);

/// Whether `path` is on a mounted BPF file system whose pins survive this process: its mount is the
/// one PID 1 sees, or is shared with it. Else kInvalid with the mount to add.
Result<void> check_bpffs(const std::filesystem::path& path);

/// Mounts a BPF file system on the directory `path` unless one is there. True: it was mounted now.
Result<bool> mount_bpffs(const std::filesystem::path& path);

/// What an entry of /proc/<pid>/mountinfo says. `fields` as in proc(5).
struct Mount {
    unsigned id = 0;
    std::string device;  ///< major:minor
    std::filesystem::path point;
    std::string type;
    std::optional<unsigned> shared;  ///< peer group it shares mounts with
    std::optional<unsigned> master;  ///< peer group it receives mounts from
};
/// Lines that do not parse are skipped.
std::vector<Mount> parse_mountinfo(std::string_view text);

}  // namespace weir::datapath
