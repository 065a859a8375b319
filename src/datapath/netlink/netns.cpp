// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/netns.h"

#include <cerrno>
#include <cstdlib>
#include <optional>

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
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

namespace {

/// Takes the thread home again.
class Return {
  public:
    explicit Return(const NetNs& home) : home_(home) {}
    ~Return() {
        if (::setns(home_.fd(), CLONE_NEWNET) == 0) return;
        // Everything after this would happen in the pod's namespace.
        log::error("cannot leave the network namespace of a pod (errno {})", errno);
        std::abort();
    }
    Return(const Return&) = delete;
    Return& operator=(const Return&) = delete;
    Return(Return&&) = delete;
    Return& operator=(Return&&) = delete;

  private:
    const NetNs& home_;
};

}  // namespace

Result<HomeNetNs> HomeNetNs::current() {
    return HomeNetNs(WEIR_TRY(NetNs::current()));
}

Result<NetNs> HomeNetNs::open_pod(const std::filesystem::path& path) const {
    NetNs ns = WEIR_TRY(NetNs::open(path));
    if (ns.same_as(home_)) {
        return fail(Errc::kInvalid,
                    "{} is the host's own network namespace: a pod needs one of its own "
                    "(pods with hostNetwork are not given to CNI)",
                    path.string());
    }
    return ns;
}

Result<void> HomeNetNs::run_in(const NetNs& ns, const std::function<Result<void>()>& work) const {
    if (::setns(ns.fd(), CLONE_NEWNET) != 0) {
        return fail_errno(errno, "enter the network namespace {}", ns.path());
    }
    const Return home(home_);
    return work();
}

Result<Socket> HomeNetNs::open_socket(const NetNs& ns) const {
    std::optional<Socket> socket;
    WEIR_CHECK(run_in(ns, [&socket]() -> Result<void> {
        socket.emplace(WEIR_TRY(Socket::open()));
        return {};
    }));
    if (!socket) return fail(Errc::kInternal, "no socket was opened in {}", ns.path());
    return std::move(*socket);
}

}  // namespace weir::netlink
