// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "common/fd.h"
#include "support/place.h"

namespace weir::test {

/// Where cgroup2 is mounted: /sys/fs/cgroup, or below it on hosts that have both versions.
std::filesystem::path cgroup2_mount();

/// A cgroup2 directory of the test's own, removed with this object; its processes must be gone by
/// then. Needs root and a mounted cgroup2 hierarchy. Failures throw.
class Cgroup {
  public:
    /// Below the root of the mounted hierarchy.
    Cgroup();
    /// Below another; that one must outlive this.
    static Cgroup below(const Cgroup& parent) { return Cgroup(parent.path()); }
    Cgroup(const Cgroup&) = delete;
    Cgroup& operator=(const Cgroup&) = delete;
    Cgroup(Cgroup&&) = delete;
    Cgroup& operator=(Cgroup&&) = delete;
    ~Cgroup();

    /// For attaching programs.
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// For children of this process.
    [[nodiscard]] Place place() const { return {.cgroup = path_}; }

  private:
    explicit Cgroup(const std::filesystem::path& parent);

    std::filesystem::path path_;
    Fd fd_;
};

}  // namespace weir::test
