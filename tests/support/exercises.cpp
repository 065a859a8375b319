// SPDX-License-Identifier: Apache-2.0
#include "support/exercises.h"

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

constexpr std::chrono::milliseconds kTimeout{3000};

std::string error_text(int os_errno) {
    if (os_errno == EAGAIN) return "error: ETIMEDOUT";
    const char* name = ::strerrorname_np(os_errno);
    return std::string("error: ") + (name != nullptr ? name : std::to_string(os_errno).c_str());
}

std::string ask(const Fd& fd, const std::string& payload, const SocketAddress* to) {
    const ssize_t sent =
        to != nullptr ? ::sendto(fd.get(), payload.data(), payload.size(), 0, to->get(), to->size())
                      : ::send(fd.get(), payload.data(), payload.size(), 0);
    if (sent < 0) return error_text(errno);
    std::vector<char> buffer(65536);
    SocketAddress from;
    socklen_t length = SocketAddress::kCapacity;
    const ssize_t n = ::recvfrom(fd.get(), buffer.data(), buffer.size(), 0, from.get(), &length);
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

}  // namespace

std::string http_get(const std::string& address, uint16_t port, const std::string& path) {
    const auto fd = shop::connect_to({address, port}, kTimeout);
    if (!fd) return error_text(fd.error().os_errno());
    if (const auto sent = shop::send_all(fd->get(), shop::request(path)); !sent) {
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
    const SocketAddress to(address, port);
    return ask(make_socket(to.family(), SOCK_DGRAM), payload_of(size), &to);
}

std::string udp_connected(const std::string& address, uint16_t port, size_t size) {
    const SocketAddress to(address, port);
    const auto fd = make_socket(to.family(), SOCK_DGRAM);
    if (::connect(fd.get(), to.get(), to.size()) != 0) return error_text(errno);
    return ask(fd, payload_of(size), nullptr);
}

std::string tcp_connect(const SocketAddress& to) {
    const auto fd = make_socket(to.family(), SOCK_STREAM);
    if (::connect(fd.get(), to.get(), to.size()) != 0) {
        return error_text(errno == EINPROGRESS ? ETIMEDOUT : errno);
    }
    return "ok " + peer_of(fd) + " " + own_name_of(fd);
}

}  // namespace weir::test
