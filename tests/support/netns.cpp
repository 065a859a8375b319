// SPDX-License-Identifier: Apache-2.0
#include "support/netns.h"

#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/ranges.h>

#include "support/child.h"
#include "support/process.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace weir::test {
namespace {

[[noreturn]] void throw_errno(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void loopback_up() {
    Fd sock(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    request.ifr_flags = IFF_UP;
    if (ioctl(sock.get(), SIOCSIFFLAGS, &request) != 0) throw_errno("lo up");
}

int make_namespace() {
    int fd = -1;
    std::exception_ptr failure;
    std::thread([&] {  // a thread, because unshare() cannot be undone
        try {
            if (unshare(CLONE_NEWNET) != 0) throw_errno("unshare(CLONE_NEWNET), needs root");
            loopback_up();
            fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
            if (fd < 0) throw_errno("open /proc/thread-self/ns/net");
        } catch (...) {
            failure = std::current_exception();
        }
    })
        .join();
    if (failure) std::rethrow_exception(failure);
    return fd;
}

}  // namespace

NetNs::NetNs() : fd_(make_namespace()) {}

Place NetNs::place() const {
    return {.netns = fmt::format("/proc/self/fd/{}", fd())};  // a child has this descriptor too
}

uint64_t NetNs::cookie() const {
    const std::string text = in_child(place(), [] {
        Fd sock(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        uint64_t value = 0;
        socklen_t size = sizeof value;
        if (getsockopt(sock.get(), SOL_SOCKET, SO_NETNS_COOKIE, &value, &size) != 0) {
            throw_errno("SO_NETNS_COOKIE");
        }
        return std::to_string(value);
    });
    return std::stoull(text);
}

void NetNs::run(const std::vector<std::string>& command) const {
    const Outcome outcome = test::run(command, {.place = place()});
    if (!outcome.ok()) {
        throw std::runtime_error(
            fmt::format("{}: {}", fmt::join(command, " "), outcome.describe()));
    }
}

}  // namespace weir::test
