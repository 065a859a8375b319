// SPDX-License-Identifier: Apache-2.0
#include "cli/run/probe.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/run/process.h"

namespace weir::cli::run {
namespace {

constexpr int kTimeoutMs = 1000;
constexpr useconds_t kFirstPause = 20'000;
constexpr useconds_t kPause = 1'000'000;
constexpr int kFailureThreshold = 3;

bool wait_for(int fd, short events) {
    pollfd poll{.fd = fd, .events = events, .revents = 0};
    return ::poll(&poll, 1, kTimeoutMs) == 1;
}

bool connect_to(int fd, const IpAddress& address, uint16_t port) {
    int result = 0;
    if (address.is_v4()) {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(address.low32());
        result = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    } else {
        sockaddr_in6 to{};
        to.sin6_family = AF_INET6;
        to.sin6_port = htons(port);
        std::memcpy(&to.sin6_addr, address.bytes().data(), 16);
        result = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    }
    if (result == 0) return true;
    if (errno != EINPROGRESS || !wait_for(fd, POLLOUT)) return false;
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

// A status from 200 to 399 is success.
bool http_answers(int fd, const Readiness& readiness, const IpAddress& address) {
    const std::string request = fmt::format(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: weir-run\r\nConnection: close\r\n\r\n",
        readiness.path, address.with_port(readiness.port));
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0) return false;
    constexpr size_t kStatusLine = 12;  // "HTTP/1.1 200"
    std::string line;
    while (line.size() < kStatusLine) {
        std::array<char, 64> chunk{};
        if (!wait_for(fd, POLLIN)) return false;
        const ssize_t n = ::recv(fd, chunk.data(), chunk.size(), 0);
        if (n <= 0) return false;
        line.append(chunk.data(), static_cast<size_t>(n));
    }
    return line.starts_with("HTTP/1.") && (line[9] == '2' || line[9] == '3');
}

bool probe(const Readiness& readiness, const IpAddress& address) {
    const int raw = ::socket(address.is_v4() ? AF_INET : AF_INET6,
                             SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (raw < 0) return false;
    const Fd fd(raw);
    if (!connect_to(fd.get(), address, readiness.port)) return false;
    return readiness.kind != Readiness::Kind::kHttp || http_answers(fd.get(), readiness, address);
}

[[noreturn]] void probe_forever(const Readiness& readiness, const IpAddress& address, int out) {
    bool ready = false;
    bool ever_ready = false;
    int failures = 0;
    for (;;) {
        const bool good = probe(readiness, address);
        failures = good ? 0 : failures + 1;
        const bool now = good || (ready && failures < kFailureThreshold);
        if (now != ready) {
            ready = now;
            if (::write(out, ready ? "R" : "N", 1) != 1) ::_exit(0);
        }
        ever_ready = ever_ready || ready;
        ::usleep(ever_ready ? kPause : kFirstPause);
    }
}

}  // namespace

Result<Prober> start_prober(const Readiness& readiness, const std::filesystem::path& netns,
                            const IpAddress& address) {
    const int raw = ::open(netns.c_str(), O_RDONLY | O_CLOEXEC);
    if (raw < 0) return fail_errno(errno, "open {}", netns.string());
    const Fd ns(raw);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    Fd reading(ends[0]);
    const Fd writing(ends[1]);
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) return fail_errno(errno, "fork a prober");
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent || ::setns(ns.get(), CLONE_NEWNET) != 0) ::_exit(1);
        // Nothing of the parent's may live on in here: not its lock, not the reaper's pipe.
        const int out = ::dup2(writing.get(), STDIN_FILENO);
        ::close_range(STDERR_FILENO + 1, ~0U, 0);
        ::close(STDOUT_FILENO);
        reset_signals();
        ::prctl(PR_SET_NAME, "weir-probe");
        probe_forever(readiness, address, out);
    }
    return Prober{child, std::move(reading)};
}

}  // namespace weir::cli::run
