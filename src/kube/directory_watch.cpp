// SPDX-License-Identifier: Apache-2.0
#include "kube/directory_watch.h"

#include <utility>

#include <sys/inotify.h>
#include <sys/stat.h>

namespace weir::kube {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kFileMask = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO |
                               IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr uint32_t kWayMask = IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR;

/// A regular file that was just opened for writing: its content comes with IN_CLOSE_WRITE.
bool being_written(const fs::path& path) {
    struct stat info{};
    return ::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 1;
}

}  // namespace

Result<DirectoryWatch> DirectoryWatch::open(std::vector<fs::path> directories) {
    for (auto& directory : directories) {
        std::error_code error;
        const fs::path absolute = fs::absolute(directory, error);
        if (error) return fail_errno(error.value(), "{}", directory.string());
        directory = absolute.lexically_normal();
        if (!directory.has_filename()) directory = directory.parent_path();
    }
    return DirectoryWatch(WEIR_TRY(Inotify::open()), std::move(directories));
}

Result<void> DirectoryWatch::read() {
    return inotify_.read([this](const Inotify::Event& event) { handle(event); });
}

void DirectoryWatch::handle(const Inotify::Event& event) {
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
        changes_.lost = true;
        stale_ = true;
        return;
    }
    const auto it = roles_.find(event.watch);
    if (it == roles_.end()) return;
    const Role& role = it->second;
    for (const auto& [directory, name] : role.ways) {
        if (event.name != name) continue;
        changes_.directories.insert(directory);
        stale_ = true;
    }
    changes_.directories.insert(role.link_targets.begin(), role.link_targets.end());
    for (const size_t directory : role.directories)
        handle_file(directory, event);
}

void DirectoryWatch::handle_file(size_t directory, const Inotify::Event& event) {
    if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) != 0) {
        moved_away_.insert(directory);
        changes_.directories.insert(directory);
        stale_ = true;
        return;
    }
    // After a move the same watch tells of a directory that is no longer ours.
    if (event.name.empty() || moved_away_.contains(directory)) return;
    // "..data" is the link by which a mounted ConfigMap swaps all of its files at once.
    if (event.name.starts_with("..")) {
        changes_.directories.insert(directory);
        return;
    }
    if ((event.mask & IN_CREATE) != 0 && being_written(directories_[directory] / event.name))
        return;
    changes_.names.emplace(directory, event.name);
}

DirectoryWatch::Changes DirectoryWatch::take() {
    if (stale_) arm();
    return std::exchange(changes_, {});
}

void DirectoryWatch::set_link_targets(size_t directory, std::set<fs::path> targets) {
    while (targets.size() > kMaxLinkTargets)
        targets.erase(std::prev(targets.end()));
    if (targets == link_targets_[directory]) return;
    link_targets_[directory] = std::move(targets);
    // Armed on the next round, which lists the directory once more: nothing falls between.
    changes_.directories.insert(directory);
    stale_ = true;
}

void DirectoryWatch::arm() {
    stale_ = false;
    moved_away_.clear();
    trouble_.clear();
    std::map<int, Role> roles;
    for (size_t i = 0; i < directories_.size(); ++i) {
        arm_way(i, directories_[i], roles);
        std::error_code ignored;
        arm_way(i, fs::weakly_canonical(directories_[i], ignored), roles);
        if (Role* role = arm_one(directories_[i], kFileMask, roles)) role->directories.insert(i);
        for (const auto& target : link_targets_[i]) {
            if (Role* role = arm_one(target, kFileMask, roles)) role->link_targets.insert(i);
        }
    }
    for (const auto& [watch, role] : roles_) {
        if (!roles.contains(watch)) inotify_.unwatch(watch);
    }
    roles_ = std::move(roles);
}

void DirectoryWatch::arm_way(size_t directory, const fs::path& path, std::map<int, Role>& roles) {
    for (fs::path at = path; at.has_relative_path(); at = at.parent_path()) {
        if (Role* role = arm_one(at.parent_path(), kWayMask, roles)) {
            role->ways.emplace(directory, at.filename().string());
        }
    }
}

DirectoryWatch::Role* DirectoryWatch::arm_one(const fs::path& path, uint32_t mask,
                                              std::map<int, Role>& roles) {
    const auto watch = inotify_.watch(path, mask);
    if (watch) return &roles[*watch];
    // What does not exist is awaited by the watches above it.
    const int code = watch.error().os_errno();
    if (code != ENOENT && code != ENOTDIR) trouble_ = watch.error().message();
    return nullptr;
}

}  // namespace weir::kube
