// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cassert>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "common/result.h"

namespace weir {

/// An owned file descriptor, closed on destruction. Absence is std::optional<Fd>, never -1.
class Fd {
  public:
    explicit Fd(int fd) : fd_(fd) { assert(fd >= 0); }
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd();

    /// Borrowed; valid as long as this object.
    [[nodiscard]] int get() const { return fd_; }
    /// The caller closes it from now on.
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  private:
    int fd_;
};

/// The whole file. Errors name the path.
Result<std::string> read_file(const std::filesystem::path& path);

/// Replaces `path` by `content` so that a reader sees the old or the new file whole: temporary file
/// in the same directory, fsync, rename, fsync of the directory.
Result<void> write_file_atomic(const std::filesystem::path& path, std::string_view content,
                               unsigned mode = 0644);

}  // namespace weir
