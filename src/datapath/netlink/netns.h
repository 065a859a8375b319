// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <semaphore>
#include <string>
#include <thread>

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
    /// As open, and refuses the namespace of the calling thread with kInvalid: a pod never shares
    /// the host's.
    static Result<NetNs> open_pod(const std::filesystem::path& path);
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

/// The one thread that enters namespaces, so that no other thread is ever in a wrong one. Its home
/// is the namespace of the thread that constructs it. Thread-safe; calls wait for their turn.
class NetNsThread {
  public:
    static Result<std::unique_ptr<NetNsThread>> start();
    ~NetNsThread();
    NetNsThread(const NetNsThread&) = delete;
    NetNsThread& operator=(const NetNsThread&) = delete;
    NetNsThread(NetNsThread&&) = delete;
    NetNsThread& operator=(NetNsThread&&) = delete;

    /// Runs `work` inside `ns` and returns what it returned. It must be short.
    Result<void> run_in(const NetNs& ns, const std::function<Result<void>()>& work);
    /// A socket that stays in `ns`, to be used from any thread.
    Result<Socket> open_socket(const NetNs& ns);

  private:
    struct Job {
        const NetNs* ns;
        const std::function<Result<void>()>* work;
        Result<void> result;
        std::binary_semaphore done{0};
    };
    explicit NetNsThread(NetNs home) : home_(std::move(home)) {}
    void serve();
    Result<void> perform(const Job& job);

    NetNs home_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Job*> queue_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace weir::netlink
