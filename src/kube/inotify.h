// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "common/fd.h"

namespace weir::kube {

/// The kernel's file notifications. One thread.
class Inotify {
  public:
    /// `mask`: IN_*. `watch` is -1 when events were lost (IN_Q_OVERFLOW). `name` is "" for the
    /// watched thing itself.
    struct Event {
        int watch;
        uint32_t mask;
        std::string_view name;
    };

    static Result<Inotify> open();
    [[nodiscard]] int fd() const { return fd_.get(); }
    /// Adds to what is watched already of the same inode, whose watch is given again.
    Result<int> watch(const std::filesystem::path& path, uint32_t mask);
    void unwatch(int watch);
    /// All events there are.
    Result<void> read(const std::function<void(const Event&)>& take);

  private:
    explicit Inotify(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

}  // namespace weir::kube
