// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/netns.h"

#include <cerrno>
#include <cstdlib>
#include <optional>

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/log.h"

namespace weir::netlink {

Result<NetNs> NetNs::open(const std::filesystem::path& path) {
    const int raw = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (raw < 0) return fail_errno(errno, "network namespace {}", path.string());
    Fd fd(raw);
    struct statfs fs{};
    if (::fstatfs(raw, &fs) != 0) return fail_errno(errno, "statfs {}", path.string());
    if (fs.f_type != NSFS_MAGIC) {
        return fail(
            Errc::kInvalid,
            "{} is not a network namespace: an ordinary file, so the namespace once mounted "
            "there is gone, or the path is wrong",
            path.string());
    }
    if (::ioctl(raw, NS_GET_NSTYPE) != CLONE_NEWNET) {
        return fail(Errc::kInvalid, "{} is a namespace, but not a network namespace",
                    path.string());
    }
    struct stat status{};
    if (::fstat(raw, &status) != 0) return fail_errno(errno, "stat {}", path.string());
    return NetNs(std::move(fd), status.st_dev, status.st_ino, path.string());
}

Result<NetNs> NetNs::current() {
    // Not /proc/self: that is the main thread's.
    return open("/proc/thread-self/ns/net");
}

Result<NetNs> NetNs::open_pod(const std::filesystem::path& path) {
    NetNs ns = WEIR_TRY(open(path));
    const NetNs host = WEIR_TRY(current());
    if (ns.same_as(host)) {
        return fail(Errc::kInvalid,
                    "{} is the host's own network namespace: a pod needs one of its own "
                    "(pods with hostNetwork are not given to CNI)",
                    path.string());
    }
    return ns;
}

Result<std::unique_ptr<NetNsThread>> NetNsThread::start() {
    NetNs home = WEIR_TRY(NetNs::current());
    std::unique_ptr<NetNsThread> self(new NetNsThread(std::move(home)));
    self->thread_ = std::thread([raw = self.get()] { raw->serve(); });
    ::pthread_setname_np(self->thread_.native_handle(), "weir-netns");
    return self;
}

NetNsThread::~NetNsThread() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
}

void NetNsThread::serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        Job* job = queue_.front();
        queue_.pop_front();
        lock.unlock();
        job->result = perform(*job);
        job->done.release();
        lock.lock();
    }
}

Result<void> NetNsThread::perform(const Job& job) {
    if (::setns(job.ns->fd(), CLONE_NEWNET) != 0) {
        return fail_errno(errno, "enter the network namespace {}", job.ns->path());
    }
    auto result = (*job.work)();
    if (::setns(home_.fd(), CLONE_NEWNET) != 0) {
        // Everything after this would happen in the pod's namespace.
        log::error("cannot leave the network namespace {} (errno {})", job.ns->path(), errno);
        std::abort();
    }
    return result;
}

Result<void> NetNsThread::run_in(const NetNs& ns, const std::function<Result<void>()>& work) {
    Job job{&ns, &work, {}};
    {
        const std::lock_guard lock(mutex_);
        queue_.push_back(&job);
    }
    wake_.notify_one();
    job.done.acquire();
    return std::move(job.result);
}

Result<Socket> NetNsThread::open_socket(const NetNs& ns) {
    std::optional<Socket> socket;
    WEIR_CHECK(run_in(ns, [&socket]() -> Result<void> {
        socket.emplace(WEIR_TRY(Socket::open()));
        return {};
    }));
    if (!socket) return fail(Errc::kInternal, "no socket was opened in {}", ns.path());
    return std::move(*socket);
}

}  // namespace weir::netlink
