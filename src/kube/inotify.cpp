// SPDX-License-Identifier: Apache-2.0
#include "kube/inotify.h"

#include <array>
#include <cerrno>

#include <sys/inotify.h>
#include <unistd.h>

namespace weir::kube {

Result<Inotify> Inotify::open() {
    const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) {
        return fail_errno(errno, "inotify (see the limit fs.inotify.max_user_instances)");
    }
    return Inotify(Fd(fd));
}

Result<int> Inotify::watch(const std::filesystem::path& path, uint32_t mask) {
    const int watch = ::inotify_add_watch(fd_.get(), path.c_str(), mask | IN_MASK_ADD);
    if (watch >= 0) return watch;
    if (errno == ENOSPC) {
        return fail(Errc::kExhausted,
                    "watch {}: no watches left; raise the sysctl fs.inotify.max_user_watches",
                    path.string());
    }
    return fail_errno(errno, "watch {}", path.string());
}

void Inotify::unwatch(int watch) {
    ::inotify_rm_watch(fd_.get(), watch);  // fails only if it is gone, which is what is wanted
}

Result<void> Inotify::read(const std::function<void(const Event&)>& take) {
    alignas(inotify_event) std::array<char, 65536> buffer;
    for (;;) {
        const ssize_t size = ::read(fd_.get(), buffer.data(), buffer.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN) return {};
        if (size < 0) return fail_errno(errno, "read from inotify");
        for (size_t at = 0; at < static_cast<size_t>(size);) {
            const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
            take({event->wd, event->mask, event->len > 0 ? event->name : ""});
            at += sizeof(inotify_event) + event->len;
        }
    }
}

}  // namespace weir::kube
