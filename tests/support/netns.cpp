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

void NetNs::enter() const {
    if (setns(fd(), CLONE_NEWNET) != 0) throw_errno("setns");
}

uint64_t NetNs::cookie() const {
    const std::string text = in_child({.netns = this}, [] {
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
    const std::string outcome = in_child({.netns = this}, [&]() -> std::string {
        std::vector<char*> arguments;
        for (const std::string& word : command)
            arguments.push_back(const_cast<char*>(word.c_str()));
        arguments.push_back(nullptr);
        execvp(arguments[0], arguments.data());
        throw_errno("execvp");
    });
    if (!outcome.empty()) {
        throw std::runtime_error(fmt::format("{}: {}", fmt::join(command, " "), outcome));
    }
}

}  // namespace weir::test
