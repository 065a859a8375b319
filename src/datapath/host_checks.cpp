// SPDX-License-Identifier: Apache-2.0
#include "datapath/host_checks.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <sstream>

#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/fd.h"

namespace weir::datapath {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMountCgroup =
    "in a container, mount the host's /sys/fs/cgroup at the same path with hostPath and run "
    "without "
    "a private cgroup namespace (`docker run --cgroupns=host`); on a host, `mount -t cgroup2 none "
    "/sys/fs/cgroup`; or name a cgroup2 directory with --cgroup-root";

bool on_filesystem(const fs::path& path, uint64_t magic) {
    struct statfs status{};
    return ::statfs(path.c_str(), &status) == 0 && static_cast<uint64_t>(status.f_type) == magic;
}

/// Only the kernel's true root lacks these; the root of a cgroup namespace has them.
bool is_true_root(const fs::path& path) {
    std::error_code error;
    return !fs::exists(path / "cgroup.events", error) && !fs::exists(path / "cgroup.type", error);
}

/// The cgroup2 line ("0::/path") of a /proc/<pid>/cgroup.
std::optional<std::string> cgroup_of(const fs::path& file) {
    const auto text = read_file(file);
    if (!text) return std::nullopt;
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("0::")) return line.substr(3);
    }
    return std::nullopt;
}

Result<CgroupRoot> describe(const fs::path& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) {
        return fail_errno(errno, "the cgroup root {}", path.string());
    }
    return CgroupRoot{.path = path, .id = status.st_ino, .subtree = !is_true_root(path)};
}

/// A path above the namespace's root shows as "/../..": PID 1 is outside of our cgroup namespace.
bool in_private_cgroup_namespace(const fs::path& proc) {
    const auto init = cgroup_of(proc / "1/cgroup");
    return init && init->starts_with("/..");
}

std::string mount_hint(const fs::path& path) {
    return fmt::format(
        "in a container, add a hostPath volume for {0} with mountPropagation: Bidirectional "
        "(`docker "
        "run -v {0}:{0}:shared`); on a host, `mount -t bpf bpf {0}`",
        path.string());
}

/// The mount that covers `path`: the last of the longest mount points that contain it.
const Mount* mount_of(const std::vector<Mount>& mounts, const fs::path& path) {
    const Mount* best = nullptr;
    for (const Mount& mount : mounts) {
        const auto [end, at] = std::ranges::mismatch(mount.point, path);
        const bool contains = end == mount.point.end() || mount.point == "/";
        if (!contains) continue;
        const auto length = [](const Mount& m) { return m.point.native().size(); };
        if (best == nullptr || length(mount) >= length(*best)) best = &mount;
    }
    return best;
}

std::string link_target(const char* path) {
    std::array<char, 64> text{};
    const ssize_t length = ::readlink(path, text.data(), text.size() - 1);
    return {text.data(), length > 0 ? static_cast<size_t>(length) : 0};
}

/// Whether our PID 1 is the host's. The first PID namespace has a number of its own in every
/// kernel.
bool sees_host_init() {
    return link_target("/proc/self/ns/pid") == "pid:[4026531836]";
}

bool same_mounts_as_init() {
    const std::string ours = link_target("/proc/self/ns/mnt");
    return !ours.empty() && ours == link_target("/proc/1/ns/mnt");
}

/// Whether the host has this file system mounted too, so that it outlives our mount namespace.
Result<bool> host_has(const Mount& mount) {
    if (!sees_host_init()) return mount.shared || mount.master;  // it came from, or went to, others
    const auto init = parse_mountinfo(WEIR_TRY(read_file("/proc/1/mountinfo")));
    return std::ranges::any_of(init, [&](const Mount& other) {
        return other.type == "bpf" && other.device == mount.device;
    });
}

}  // namespace

Result<CgroupRoot> find_cgroup_root_below(const fs::path& mount_dir, const fs::path& proc) {
    for (const fs::path& candidate : {mount_dir, mount_dir / "unified"}) {
        if (!on_filesystem(candidate, CGROUP2_SUPER_MAGIC)) continue;
        CgroupRoot root = WEIR_TRY(describe(candidate));
        if (!root.subtree) return root;
        const bool in_namespace = in_private_cgroup_namespace(proc);
        return fail(
            Errc::kInvalid, "{} is not the host's cgroup root but {}: {}", candidate.string(),
            in_namespace ? "that of a private cgroup namespace" : "a part of it", kMountCgroup);
    }
    return fail(Errc::kNotFound, "no cgroup2 file system at {} or {}: {}", mount_dir.string(),
                (mount_dir / "unified").string(), kMountCgroup);
}

Result<CgroupRoot> find_cgroup_root(const fs::path& configured) {
    if (configured.empty()) return find_cgroup_root_below("/sys/fs/cgroup", "/proc");
    std::error_code error;
    if (!fs::is_directory(configured, error)) {
        return fail(Errc::kNotFound,
                    "the cgroup root {} is not a directory: make it, or name another",
                    configured.string());
    }
    if (!on_filesystem(configured, CGROUP2_SUPER_MAGIC)) {
        return fail(Errc::kInvalid, "{} is not on a cgroup2 file system: {}", configured.string(),
                    kMountCgroup);
    }
    return describe(configured);
}

// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue
std::vector<Mount> parse_mountinfo(std::string_view text) {
    std::vector<Mount> mounts;
    std::istringstream lines{std::string(text)};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        Mount mount;
        std::string parent;
        std::string root;
        std::string point;
        std::string options;
        if (!(fields >> mount.id >> parent >> mount.device >> root >> point >> options)) continue;
        mount.point = point;
        for (std::string field; fields >> field && field != "-";) {
            const size_t colon = field.find(':');
            if (colon == std::string::npos) continue;
            unsigned group = 0;
            std::from_chars(field.data() + colon + 1, field.data() + field.size(), group);
            if (field.starts_with("shared:")) mount.shared = group;
            if (field.starts_with("master:")) mount.master = group;
        }
        if (fields >> mount.type) mounts.push_back(std::move(mount));
    }
    return mounts;
}

Result<void> check_bpffs(const fs::path& path) {
    if (!on_filesystem(path, BPF_FS_MAGIC)) {
        return fail(Errc::kInvalid, "{} is not on a BPF file system: {}", path.string(),
                    mount_hint(path));
    }
    if (sees_host_init() && same_mounts_as_init()) return {};
    std::error_code error;
    const fs::path real = fs::canonical(path, error);
    const auto mounts = parse_mountinfo(WEIR_TRY(read_file("/proc/self/mountinfo")));
    const Mount* mount = mount_of(mounts, real);
    if (mount != nullptr && WEIR_TRY(host_has(*mount))) return {};
    return fail(
        Errc::kInvalid,
        "the BPF file system at {} is private to this mount namespace, so that what is pinned "
        "there would be lost with the agent: {}",
        path.string(), mount_hint(path));
}

Result<bool> mount_bpffs(const fs::path& path) {
    if (on_filesystem(path, BPF_FS_MAGIC)) return false;
    if (::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
        return fail_errno(errno, "mount a BPF file system at {}", path.string());
    }
    return true;
}

}  // namespace weir::datapath
