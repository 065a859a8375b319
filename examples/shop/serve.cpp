// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <csignal>
#include <thread>

#include <netinet/in.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "common/ip.h"
#include "common/sockets.h"
#include "shop/http.h"
#include "shop/shop.h"

namespace shop {
namespace {

using weir::fail_errno;
using weir::Fd;
using weir::Result;

std::string peer_of(int fd) {
    sockaddr_in6 peer{};
    socklen_t length = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) return "?";
    std::array<uint8_t, 16> bytes{};
    std::copy_n(peer.sin6_addr.s6_addr, bytes.size(), bytes.begin());
    return weir::IpAddress::from_bytes(bytes).to_string();
}

/// The upstream's words, or why there are none.
Result<std::string> ask(const ServeOptions& options) {
    const auto target = WEIR_TRY(parse_url(options.upstream));
    const auto fd = WEIR_TRY(connect_to(target, options.timeout));
    WEIR_CHECK(send_all(fd.get(), request("/")));
    return WEIR_TRY(receive(fd.get())).body;
}

void serve_connection(const Fd& fd, const ServeOptions& options) {
    for (;;) {
        const auto message = receive(fd.get());
        if (!message || message->start_line.empty()) return;
        std::string body = fmt::format("{} to {}", options.name, peer_of(fd.get()));
        int status = 200;
        if (!options.upstream.empty()) {
            const auto answer = ask(options);
            status = answer ? 200 : 502;
            body += " via " + (answer ? *answer : answer.error().message());
        }
        if (!send_all(fd.get(), response(status, options.name, body + "\n"))) return;
    }
}

void echo_datagram(int fd, const std::string& name) {
    std::array<char, 65536> buffer{};
    sockaddr_in6 peer{};
    socklen_t length = sizeof peer;
    const ssize_t n = ::recvfrom(fd, buffer.data(), buffer.size(), MSG_DONTWAIT,
                                 reinterpret_cast<sockaddr*>(&peer), &length);
    if (n < 0) return;
    const std::string answer = name + " " + std::string(buffer.data(), static_cast<size_t>(n));
    ::sendto(fd, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&peer), length);
}

}  // namespace

Result<void> serve(const ServeOptions& options) {
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &stop, nullptr);
    const int raw = ::signalfd(-1, &stop, SFD_CLOEXEC);
    if (raw < 0) return fail_errno(errno, "signalfd");
    const Fd signals(raw);
    const auto tcp = WEIR_TRY(weir::bind_any(SOCK_STREAM, options.port));
    const auto udp = WEIR_TRY(weir::bind_any(SOCK_DGRAM, options.port));

    using Clock = std::chrono::steady_clock;
    auto deadline = Clock::time_point::max();
    while (Clock::now() < deadline) {
        std::array<pollfd, 3> fds{
            {{tcp.get(), POLLIN, 0}, {udp.get(), POLLIN, 0}, {signals.get(), POLLIN, 0}}};
        const bool draining = deadline != Clock::time_point::max();
        // The signal stays readable: once draining it is not polled again.
        if (::poll(fds.data(), draining ? 2 : 3, draining ? 50 : -1) < 0 && errno != EINTR) {
            return fail_errno(errno, "poll");
        }
        if ((fds[2].revents & POLLIN) != 0 && !draining) deadline = Clock::now() + options.drain;
        if ((fds[1].revents & POLLIN) != 0) echo_datagram(udp.get(), options.name);
        if ((fds[0].revents & POLLIN) != 0) {
            const int client = ::accept4(tcp.get(), nullptr, nullptr, SOCK_CLOEXEC);
            if (client < 0) continue;
            std::thread([fd = Fd(client), &options] { serve_connection(fd, options); }).detach();
        }
    }
    std::_Exit(0);  // connections still open end with the process, as in any pod
}

}  // namespace shop
