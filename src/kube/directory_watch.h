// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kube/inotify.h"

namespace weir::kube {

/// Follows directories that may be absent, moved, swapped by a symbolic link and made again:
/// watches each one, the directories above it for their way down to it, and the directories that
/// links in it lead to.
class DirectoryWatch {
  public:
    /// What happened since the last take(); indices are those of the constructor's list.
    struct Changes {
        std::set<std::pair<size_t, std::string>> names;  ///< of files in a directory
        std::set<size_t> directories;                    ///< to be listed again
        bool lost = false;                               ///< events were lost: anything may differ
        [[nodiscard]] bool empty() const { return names.empty() && directories.empty() && !lost; }
    };

    static Result<DirectoryWatch> open(std::vector<std::filesystem::path> directories);
    [[nodiscard]] int fd() const { return inotify_.fd(); }
    /// Takes in the kernel's events; call when the descriptor is readable.
    Result<void> read();
    /// Hands out the changes and watches what has come into being meanwhile: list directories
    /// after this call, so that nothing falls between.
    Changes take();
    /// What take() would hand out now.
    [[nodiscard]] const Changes& pending() const { return changes_; }
    [[nodiscard]] bool changed() const { return !changes_.empty(); }
    /// Directories outside that links of a directory lead to; at most kMaxLinkTargets are watched.
    void set_link_targets(size_t directory, std::set<std::filesystem::path> targets);
    /// Why changes may go unnoticed; empty if they do not.
    [[nodiscard]] const std::string& trouble() const { return trouble_; }

    static constexpr size_t kMaxLinkTargets = 64;

  private:
    /// What a watched inode is to us. One inode may be several things.
    struct Role {
        std::set<size_t> directories;
        std::set<std::pair<size_t, std::string>> ways;  ///< directory, and the next name on the way
        std::set<size_t> link_targets;
    };

    DirectoryWatch(Inotify inotify, std::vector<std::filesystem::path> directories)
        : inotify_(std::move(inotify)),
          directories_(std::move(directories)),
          link_targets_(directories_.size()) {}
    void arm();
    void arm_way(size_t directory, const std::filesystem::path& path, std::map<int, Role>& roles);
    Role* arm_one(const std::filesystem::path& path, uint32_t mask, std::map<int, Role>& roles);
    void handle(const Inotify::Event& event);
    void handle_file(size_t directory, const Inotify::Event& event);

    Inotify inotify_;
    std::vector<std::filesystem::path> directories_;
    std::vector<std::set<std::filesystem::path>> link_targets_;
    std::map<int, Role> roles_;
    std::set<size_t> moved_away_;  ///< their watches tell of a directory that is elsewhere now
    Changes changes_;
    bool stale_ = true;  ///< the watches no longer fit what the paths lead to
    std::string trouble_;
};

}  // namespace weir::kube
