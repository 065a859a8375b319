// SPDX-License-Identifier: Apache-2.0
#include "netns/sockets.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/fd.h"
#include "shop/http.h"

namespace weir::test {
namespace {

constexpr std::chrono::milliseconds kTimeout{2000};

std::string error_text(int os_errno) {
    if (os_errno == EAGAIN) return "error: ETIMEDOUT";
    const char* name = ::strerrorname_np(os_errno);
    return std::string("error: ") + (name != nullptr ? name : std::to_string(os_errno).c_str());
}

std::string ask(const Fd& fd, const std::string& payload, const SocketAddress* to) {
    const ssize_t sent =
        to != nullptr ? ::sendto(fd.get(), payload.data(), payload.size(), 0, to->raw(), to->length)
                      : ::send(fd.get(), payload.data(), payload.size(), 0);
    if (sent < 0) return error_text(errno);
    std::vector<char> buffer(65536);
    SocketAddress from;
    from.length = sizeof from.storage;
    const ssize_t n = ::recvfrom(fd.get(), buffer.data(), buffer.size(), 0,
                                 reinterpret_cast<sockaddr*>(&from.storage), &from.length);
    if (n < 0) return error_text(errno);
    const std::string answer(buffer.data(), static_cast<size_t>(n));
    const size_t space = answer.find(' ');
    if (space == std::string::npos || answer.substr(space + 1) != payload) return "garbled";
    return from.to_string() + " " + answer.substr(0, space);
}

std::string payload_of(size_t size) {
    std::string payload(size, 'x');
    for (size_t i = 0; i < size; ++i)
        payload[i] = static_cast<char>('a' + i * 7 % 23);
    return payload;
}

Fd open_socket(const SocketAddress& to, int type) {
    Fd fd(::socket(to.storage.ss_family, type | SOCK_CLOEXEC, 0));
    const timeval limit{kTimeout.count() / 1000, (kTimeout.count() % 1000) * 1000};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

}  // namespace

SocketAddress SocketAddress::of(const std::string& address, uint16_t port) {
    SocketAddress out;
    in6_addr six{};
    if (::inet_pton(AF_INET6, address.c_str(), &six) == 1) {
        const sockaddr_in6 in{.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = six};
        std::memcpy(&out.storage, &in, out.length = sizeof in);
    } else {
        sockaddr_in in{.sin_family = AF_INET, .sin_port = htons(port)};
        ::inet_pton(AF_INET, address.c_str(), &in.sin_addr);
        std::memcpy(&out.storage, &in, out.length = sizeof in);
    }
    return out;
}

std::string SocketAddress::to_string() const {
    if (storage.ss_family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, &storage, sizeof in);
        return IpAddress::v4(ntohl(in.sin_addr.s_addr)).with_port(ntohs(in.sin_port));
    }
    sockaddr_in6 in{};
    std::memcpy(&in, &storage, sizeof in);
    std::array<uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
    return IpAddress::from_bytes(bytes).with_port(ntohs(in.sin6_port));
}

std::string http_get(const std::string& address, uint16_t port) {
    const auto fd = shop::connect_to({address, port}, kTimeout);
    if (!fd) return error_text(fd.error().os_errno());
    if (const auto sent = shop::send_all(fd->get(), shop::request("/")); !sent) {
        return error_text(sent.error().os_errno());
    }
    const auto message = shop::receive(fd->get());
    if (!message) return error_text(message.error().os_errno());
    std::string body = message->body;
    while (body.ends_with('\n'))
        body.pop_back();
    return body;
}

std::string udp_ask(const std::string& address, uint16_t port, size_t size) {
    const auto to = SocketAddress::of(address, port);
    return ask(open_socket(to, SOCK_DGRAM), payload_of(size), &to);
}

std::string udp_connected(const std::string& address, uint16_t port, size_t size) {
    const auto to = SocketAddress::of(address, port);
    const auto fd = open_socket(to, SOCK_DGRAM);
    if (::connect(fd.get(), to.raw(), to.length) != 0) return error_text(errno);
    return ask(fd, payload_of(size), nullptr);
}

std::string tcp_connect(const std::string& address, uint16_t port) {
    const auto to = SocketAddress::of(address, port);
    const auto fd = open_socket(to, SOCK_STREAM);
    if (::connect(fd.get(), to.raw(), to.length) != 0) {
        return error_text(errno == EINPROGRESS ? ETIMEDOUT : errno);
    }
    SocketAddress peer;
    SocketAddress own;
    peer.length = own.length = sizeof peer.storage;
    ::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer.storage), &peer.length);
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own.storage), &own.length);
    return "ok " + peer.to_string() + " " + own.to_string();
}

}  // namespace weir::test
