// SPDX-License-Identifier: Apache-2.0
#include "support/peers.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/time.h>

#include "support/netns.h"

namespace weir::test {
namespace {

constexpr time_t kWaitSeconds = 3;
constexpr int kBacklog = 64;

void check(long result, const std::string& what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
}

IpAddress parse(const std::string& text) {
    auto address = IpAddress::parse(text);
    if (!address) throw std::runtime_error(address.error().message());
    return *address;
}

/// Answers what is there on one connection; false: the other side has gone.
bool answer_stream(int fd, const std::string& name) {
    std::array<char, 2048> buffer{};
    const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
    if (got <= 0) return false;
    const std::string reply = name + ": " + std::string(buffer.data(), static_cast<size_t>(got));
    return send(fd, reply.data(), reply.size(), MSG_NOSIGNAL) >= 0;
}

void answer_datagram(int fd, const std::string& name) {
    std::array<char, 2048> buffer{};
    SocketAddress from;
    socklen_t size = SocketAddress::kCapacity;
    const ssize_t got = recvfrom(fd, buffer.data(), buffer.size(), 0, from.get(), &size);
    if (got < 0) return;
    const std::string reply = name + ": " + std::string(buffer.data(), static_cast<size_t>(got));
    sendto(fd, reply.data(), reply.size(), 0, from.get(), size);
}

[[noreturn]] void serve(const std::string& name, const SocketAddress& at,
                        const BackgroundChild::Ready& ready) {
    Fd listener = make_socket(at.family(), SOCK_STREAM);
    Fd datagrams = make_socket(at.family(), SOCK_DGRAM);
    bind_to(listener, at);
    bind_to(datagrams, at);
    check(listen(listener.get(), kBacklog), "listen");
    ready();
    std::vector<pollfd> waiting = {{.fd = listener.get(), .events = POLLIN, .revents = 0},
                                   {.fd = datagrams.get(), .events = POLLIN, .revents = 0}};
    std::vector<Fd> connections;
    for (;;) {
        check(poll(waiting.data(), waiting.size(), -1), "poll");
        if (waiting[1].revents != 0) answer_datagram(datagrams.get(), name);
        for (size_t i = 2; i < waiting.size(); i++) {
            if (waiting[i].revents != 0 && !answer_stream(waiting[i].fd, name)) {
                connections.erase(connections.begin() + static_cast<long>(i) - 2);
                waiting.erase(waiting.begin() + static_cast<long>(i));
                break;
            }
        }
        if (waiting[0].revents != 0) {
            connections.emplace_back(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
            waiting.push_back({.fd = connections.back().get(), .events = POLLIN, .revents = 0});
        }
    }
}

}  // namespace

SocketAddress::SocketAddress(const IpAddress& address, uint16_t port) {
    if (address.is_v4()) {
        auto* in = reinterpret_cast<sockaddr_in*>(&storage_);
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        in->sin_addr.s_addr = htonl(address.low32());
        return;
    }
    auto* in = reinterpret_cast<sockaddr_in6*>(&storage_);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    std::memcpy(&in->sin6_addr, address.bytes().data(), sizeof in->sin6_addr);
}

SocketAddress::SocketAddress(const std::string& text, uint16_t port)
    : SocketAddress(parse(text), port) {}

SocketAddress SocketAddress::mapped(const std::string& ipv4, uint16_t port) {
    SocketAddress result;
    auto* in = reinterpret_cast<sockaddr_in6*>(&result.storage_);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    std::memcpy(&in->sin6_addr, parse(ipv4).bytes().data(), sizeof in->sin6_addr);
    return result;
}

const sockaddr* SocketAddress::get() const {
    return reinterpret_cast<const sockaddr*>(&storage_);
}
sockaddr* SocketAddress::get() {
    return reinterpret_cast<sockaddr*>(&storage_);
}

socklen_t SocketAddress::size() const {
    return family() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

std::string SocketAddress::to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (family() == AF_INET) {
        const auto* in = reinterpret_cast<const sockaddr_in*>(&storage_);
        inet_ntop(AF_INET, &in->sin_addr, text.data(), text.size());
        return fmt::format("{}:{}", text.data(), ntohs(in->sin_port));
    }
    if (family() != AF_INET6) return "none";
    const auto* in = reinterpret_cast<const sockaddr_in6*>(&storage_);
    inet_ntop(AF_INET6, &in->sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), ntohs(in->sin6_port));
}

Fd make_socket(int family, int type) {
    const int fd = socket(family, type | SOCK_CLOEXEC, 0);
    check(fd, "socket");
    Fd sock(fd);
    const timeval wait = {.tv_sec = kWaitSeconds, .tv_usec = 0};
    check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), "SO_RCVTIMEO");
    check(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait), "SO_SNDTIMEO");
    return sock;
}

void connect_to(const Fd& sock, const SocketAddress& to) {
    check(connect(sock.get(), to.get(), to.size()), "connect");
}

void bind_to(const Fd& sock, const SocketAddress& at) {
    const int on = 1;
    check(setsockopt(sock.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    check(bind(sock.get(), at.get(), at.size()), "bind");
}

void send_text(const Fd& sock, const std::string& text) {
    check(send(sock.get(), text.data(), text.size(), MSG_NOSIGNAL), "send");
}

void send_text_to(const Fd& sock, const std::string& text, const SocketAddress& to) {
    check(sendto(sock.get(), text.data(), text.size(), 0, to.get(), to.size()), "sendto");
}

std::string receive_text(const Fd& sock) {
    std::array<char, 2048> buffer{};
    const ssize_t got = recv(sock.get(), buffer.data(), buffer.size(), 0);
    check(got, "recv");
    return {buffer.data(), static_cast<size_t>(got)};
}

std::string receive_text_from(const Fd& sock) {
    std::array<char, 2048> buffer{};
    SocketAddress from;
    socklen_t size = SocketAddress::kCapacity;
    const ssize_t got = recvfrom(sock.get(), buffer.data(), buffer.size(), 0, from.get(), &size);
    check(got, "recvfrom");
    return std::string(buffer.data(), static_cast<size_t>(got)) + " from " + from.to_string();
}

std::string peer_of(const Fd& sock) {
    SocketAddress peer;
    socklen_t size = SocketAddress::kCapacity;
    check(getpeername(sock.get(), peer.get(), &size), "getpeername");
    return peer.to_string();
}

std::string own_name_of(const Fd& sock) {
    SocketAddress own;
    socklen_t size = SocketAddress::kCapacity;
    check(getsockname(sock.get(), own.get(), &size), "getsockname");
    return own.to_string();
}

EchoServer::EchoServer(const NetNs& netns, const std::string& name, const SocketAddress& at)
    : child_(netns.place(), [&](const BackgroundChild::Ready& ready) { serve(name, at, ready); }) {}

}  // namespace weir::test
