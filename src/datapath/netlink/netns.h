// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "common/fd.h"
#include "common/result.h"
#include "datapath/netlink/socket.h"

namespace weir::netlink {

/// A network namespace held open: it lives at least as long as this object.
class NetNs {
  public:
    /// The namespace mounted at `path`. kNotFound: nothing is there; kInvalid: it is not a network
    /// namespace (a file whose mount is gone, say).
    static Result<NetNs> open(const std::filesystem::path& path);
    /// The calling thread's.
    static Result<NetNs> current();

    [[nodiscard]] bool same_as(const NetNs& other) const {
        return device_ == other.device_ && inode_ == other.inode_;
    }
    [[nodiscard]] int fd() const { return fd_.get(); }
    /// For messages.
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    NetNs(Fd fd, uint64_t device, uint64_t inode, std::string path)
        : fd_(std::move(fd)), device_(device), inode_(inode), path_(std::move(path)) {}
    Fd fd_;
    uint64_t device_;
    uint64_t inode_;
    std::string path_;
};

/// The namespace in which this process's threads are, and from which they step into others for a
/// moment. Thread-safe.
class HomeNetNs {
  public:
    /// That of the calling thread; all that use this object are in it.
    static Result<HomeNetNs> current();

    /// As NetNs::open, and refuses this namespace with kInvalid: a pod never shares the host's.
    [[nodiscard]] Result<NetNs> open_pod(const std::filesystem::path& path) const;
    /// Runs `work` inside `ns`, on the calling thread, and returns what it returned. It starts no
    /// thread and must be short.
    Result<void> run_in(const NetNs& ns, const std::function<Result<void>()>& work) const;
    /// A socket that stays in `ns`, to be used from any thread.
    [[nodiscard]] Result<Socket> open_socket(const NetNs& ns) const;

  private:
    explicit HomeNetNs(NetNs home) : home_(std::move(home)) {}
    NetNs home_;
};

}  // namespace weir::netlink
