// SPDX-License-Identifier: Apache-2.0
// Both ends of the network benchmarks. One process is the server, another measures:
//
//   netbench server PORT [CPU]
//   netbench rr|udp|crr|stream ADDRESS PORT MILLISECONDS [CPU] [STREAMS]
//
// rr: request/response of 64 bytes on one connection; udp: the same over datagrams; crr: connect,
// request, response, close for each; stream: bulk. The result is one number a line: transactions or
// bytes a second.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/fd.h"
#include "common/ip.h"
#include "common/sockets.h"

namespace {

using weir::Errc;
using weir::fail;
using weir::fail_errno;
using weir::Fd;
using weir::Result;
using Clock = std::chrono::steady_clock;

constexpr size_t kMessage = 64;
/// Before the measurement: caches, neighbours, tracking entries, congestion windows.
constexpr std::chrono::milliseconds kWarmUp{40};
constexpr char kEcho = 'e';  ///< first byte of a connection that wants its messages back
constexpr char kSink = 's';  ///< of one whose bytes are thrown away

void pin_to(int cpu) {
    if (cpu < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

struct Address {
    sockaddr_storage storage{};
    socklen_t length = 0;
    [[nodiscard]] const sockaddr* raw() const {
        return reinterpret_cast<const sockaddr*>(&storage);
    }
};

Result<Address> make_address(const std::string& text, uint16_t port) {
    const auto ip = WEIR_TRY(weir::IpAddress::parse(text));
    Address out;
    if (ip.is_v4()) {
        sockaddr_in in{.sin_family = AF_INET, .sin_port = htons(port)};
        in.sin_addr.s_addr = htonl(ip.low32());
        std::memcpy(&out.storage, &in, out.length = sizeof in);
    } else {
        sockaddr_in6 in{.sin6_family = AF_INET6, .sin6_port = htons(port)};
        std::memcpy(&in.sin6_addr, ip.bytes().data(), sizeof in.sin6_addr);
        std::memcpy(&out.storage, &in, out.length = sizeof in);
    }
    return out;
}

Result<Fd> connect_socket(const Address& to, int type) {
    const int raw = ::socket(to.storage.ss_family, type | SOCK_CLOEXEC, 0);
    if (raw < 0) return fail_errno(errno, "socket");
    Fd fd(raw);
    const timeval limit{2, 0};
    ::setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const int on = 1;
    if (type == SOCK_STREAM) ::setsockopt(raw, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(raw, to.raw(), to.length) != 0) return fail_errno(errno, "connect");
    return fd;
}

/// The server: one thread, one epoll; `sinks` remembers which connections only swallow.
class Server {
  public:
    Server(Fd tcp, Fd udp, Fd epoll)
        : tcp_(std::move(tcp)), udp_(std::move(udp)), epoll_(std::move(epoll)) {
        watch(tcp_.get());
        watch(udp_.get());
    }

    [[noreturn]] void run() {
        for (;;) {
            std::array<epoll_event, 64> events{};
            const int n = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
            for (int i = 0; i < n; ++i)
                serve(events[static_cast<size_t>(i)].data.fd);
        }
    }

  private:
    void watch(int fd) {
        epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
    }

    void serve(int fd) {
        if (fd == tcp_.get()) return accept_one();
        if (fd == udp_.get()) return echo_datagram();
        const ssize_t n = ::recv(fd, buffer_.data(), buffer_.size(), 0);
        if (n <= 0) {
            ::close(fd);
            return;
        }
        if (buffer_[0] == kEcho) ::send(fd, buffer_.data(), static_cast<size_t>(n), MSG_NOSIGNAL);
    }

    void accept_one() {
        const int fd = ::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) return;
        const int on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(fd);
    }

    void echo_datagram() {
        sockaddr_in6 peer{};
        socklen_t length = sizeof peer;
        const ssize_t n = ::recvfrom(udp_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT,
                                     reinterpret_cast<sockaddr*>(&peer), &length);
        if (n < 0) return;
        ::sendto(udp_.get(), buffer_.data(), static_cast<size_t>(n), 0,
                 reinterpret_cast<sockaddr*>(&peer), length);
    }

    Fd tcp_;
    Fd udp_;
    Fd epoll_;
    std::vector<char> buffer_ = std::vector<char>(1 << 18);
};

Result<void> exchange(int fd) {
    std::array<char, kMessage> message{};
    message.fill(kEcho);
    if (::send(fd, message.data(), message.size(), MSG_NOSIGNAL) != kMessage) {
        return fail_errno(errno, "send");
    }
    const ssize_t n = ::recv(fd, message.data(), message.size(), MSG_WAITALL);
    if (n != kMessage) return fail_errno(n < 0 ? errno : ECONNRESET, "recv");
    return {};
}

Result<double> transactions(const Address& to, int type, bool reconnect,
                            std::chrono::milliseconds length) {
    auto fd = WEIR_TRY(connect_socket(to, type));
    auto repeat = [&](std::chrono::milliseconds until) -> Result<double> {
        const auto begin = Clock::now();
        uint64_t count = 0;
        while (Clock::now() - begin < until) {
            if (reconnect) fd = WEIR_TRY(connect_socket(to, type));
            WEIR_CHECK(exchange(fd.get()));
            ++count;
        }
        const std::chrono::duration<double> took = Clock::now() - begin;
        return static_cast<double>(count) / took.count();
    };
    WEIR_TRY(repeat(kWarmUp));
    return repeat(length);
}

Result<double> stream(const Address& to, unsigned streams, std::chrono::milliseconds length) {
    std::vector<Fd> fds;
    for (unsigned i = 0; i < streams; ++i)
        fds.push_back(WEIR_TRY(connect_socket(to, SOCK_STREAM)));
    std::atomic<uint64_t> bytes{0};
    std::vector<std::thread> threads;
    const auto begin = Clock::now() + kWarmUp;
    for (const auto& fd : fds) {
        threads.emplace_back([&, raw = fd.get()] {
            const std::vector<char> chunk(1 << 17, kSink);
            for (auto now = Clock::now(); now < begin + length; now = Clock::now()) {
                const ssize_t n = ::send(raw, chunk.data(), chunk.size(), MSG_NOSIGNAL);
                if (n <= 0) return;
                if (now >= begin) bytes += static_cast<uint64_t>(n);
            }
        });
    }
    for (auto& thread : threads)
        thread.join();
    const std::chrono::duration<double> took = Clock::now() - begin;
    return static_cast<double>(bytes.load()) / took.count();
}

Result<double> measure(const std::string& mode, const Address& to, std::chrono::milliseconds length,
                       unsigned streams) {
    if (mode == "rr") return transactions(to, SOCK_STREAM, false, length);
    if (mode == "udp") return transactions(to, SOCK_DGRAM, false, length);
    if (mode == "crr") return transactions(to, SOCK_STREAM, true, length);
    if (mode == "stream") return stream(to, streams, length);
    return fail(Errc::kInvalid, "no mode \"{}\"", mode);
}

Result<void> run(const std::vector<std::string>& args) {
    auto number = [&](size_t i, int fallback) {
        return i < args.size() ? std::atoi(args[i].c_str()) : fallback;  // NOLINT(cert-err34-c)
    };
    if (args.size() >= 2 && args[0] == "server") {
        pin_to(number(2, -1));
        const auto port = static_cast<uint16_t>(number(1, 0));
        auto tcp = WEIR_TRY(weir::bind_any(SOCK_STREAM, port, 4096));
        auto udp = WEIR_TRY(weir::bind_any(SOCK_DGRAM, port));
        Server(std::move(tcp), std::move(udp), Fd(::epoll_create1(EPOLL_CLOEXEC))).run();
    }
    if (args.size() < 4) return fail(Errc::kInvalid, "usage: see the head of netbench.cpp");
    pin_to(number(4, -1));
    const auto to = WEIR_TRY(make_address(args[1], static_cast<uint16_t>(number(2, 0))));
    const auto streams = static_cast<unsigned>(number(5, 1));
    const auto result =
        WEIR_TRY(measure(args[0], to, std::chrono::milliseconds(number(3, 500)), streams));
    fmt::print("{:.1f}\n", result);
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    const auto result = run({argv + 1, argv + argc});
    if (result) return 0;
    fmt::print(stderr, "netbench: {}\n", result.error().message());
    return 1;
}
