// SPDX-License-Identifier: Apache-2.0
#include "shop/http.h"

#include <array>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/ip.h"

namespace shop {
namespace {

using weir::Errc;
using weir::fail;
using weir::fail_errno;
using weir::Result;

constexpr size_t kMaxHead = 16384;
constexpr size_t kMaxBody = 1U << 20;

/// Appends what the socket has; false at end of stream.
Result<bool> receive_some(int fd, std::string& buffer) {
    std::array<char, 8192> chunk{};
    for (;;) {
        const ssize_t n = ::recv(fd, chunk.data(), chunk.size(), 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(errno, "recv");
        buffer.append(chunk.data(), static_cast<size_t>(n));
        return n > 0;
    }
}

std::string_view header(std::string_view head, std::string_view name) {
    const std::string needle = "\r\n" + std::string(name) + ": ";
    const size_t at = head.find(needle);
    if (at == std::string_view::npos) return {};
    const size_t begin = at + needle.size();
    return head.substr(begin, head.find("\r\n", begin) - begin);
}

}  // namespace

Result<Target> parse_url(std::string_view url) {
    constexpr std::string_view kScheme = "http://";
    const std::string text(url);
    if (!url.starts_with(kScheme)) return fail(Errc::kInvalid, "{}: only http:// URLs", text);
    url.remove_prefix(kScheme.size());
    url = url.substr(0, url.find('/'));
    const size_t colon = url.rfind(':');
    if (colon == std::string_view::npos) return fail(Errc::kInvalid, "{}: no port", text);
    std::string_view host = url.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    const std::string_view digits = url.substr(colon + 1);
    Target target{std::string(host), 0};
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), target.port);
    if (error != std::errc() || end != digits.data() + digits.size()) {
        return fail(Errc::kInvalid, "{}: bad port", text);
    }
    return target;
}

Result<weir::Fd> connect_to(const Target& target, std::chrono::milliseconds timeout) {
    const auto address = WEIR_TRY(weir::IpAddress::parse(target.host));
    const int family = address.is_v4() ? AF_INET : AF_INET6;
    const int raw = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (raw < 0) return fail_errno(errno, "socket");
    weir::Fd fd(raw);
    const timeval limit{timeout.count() / 1000, (timeout.count() % 1000) * 1000};
    ::setsockopt(raw, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    ::setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const int on = 1;
    ::setsockopt(raw, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_storage storage{};
    socklen_t length = 0;
    if (address.is_v4()) {
        sockaddr_in in{.sin_family = AF_INET, .sin_port = htons(target.port)};
        in.sin_addr.s_addr = htonl(address.low32());
        std::memcpy(&storage, &in, length = sizeof in);
    } else {
        sockaddr_in6 in{.sin6_family = AF_INET6, .sin6_port = htons(target.port)};
        std::memcpy(&in.sin6_addr, address.bytes().data(), sizeof in.sin6_addr);
        std::memcpy(&storage, &in, length = sizeof in);
    }
    if (::connect(raw, reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
        return fail_errno(errno == EINPROGRESS ? ETIMEDOUT : errno, "connect");
    }
    return fd;
}

Result<void> send_all(int fd, std::string_view data) {
    while (!data.empty()) {
        const ssize_t n = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(errno, "send");
        data.remove_prefix(static_cast<size_t>(n));
    }
    return {};
}

Result<Message> receive(int fd) {
    std::string buffer;
    size_t head_end = std::string::npos;
    while ((head_end = buffer.find("\r\n\r\n")) == std::string::npos) {
        if (buffer.size() > kMaxHead) return fail(Errc::kInvalid, "header too long");
        if (!WEIR_TRY(receive_some(fd, buffer))) {
            if (buffer.empty()) return Message{};
            return fail(Errc::kInvalid, "closed within the header");
        }
    }
    const std::string head = buffer.substr(0, head_end + 2);
    Message message;
    message.start_line = head.substr(0, head.find("\r\n"));
    message.pod = header(head, "X-Pod");
    size_t length = 0;
    const auto digits = header(head, "Content-Length");
    std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (length > kMaxBody) return fail(Errc::kInvalid, "body too long");
    buffer.erase(0, head_end + 4);
    while (buffer.size() < length) {
        if (!WEIR_TRY(receive_some(fd, buffer))) {
            return fail(Errc::kInvalid, "closed within the body");
        }
    }
    message.body = buffer.substr(0, length);
    return message;
}

std::string response(int status, std::string_view pod, std::string_view body) {
    return fmt::format("HTTP/1.1 {} {}\r\nX-Pod: {}\r\nContent-Length: {}\r\n\r\n{}", status,
                       status == 200 ? "OK" : "Bad Gateway", pod, body.size(), body);
}

std::string request(std::string_view path) {
    return fmt::format("GET {} HTTP/1.1\r\nHost: shop\r\n\r\n", path);
}

}  // namespace shop
