// SPDX-License-Identifier: Apache-2.0
#include "cni/client.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "common/fd.h"

namespace weir::cni {
namespace {

namespace http = boost::beast::http;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr unsigned kMaxHeader = 16 * 1024;

NoAnswer no_answer(bool untouched, std::string_view what, int os_errno) {
    return {untouched, fmt::format("{}: {}", what, std::strerror(os_errno))};
}

milliseconds left(Clock::time_point deadline) {
    const auto rest = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    return std::max(rest, milliseconds(0));
}

// A unix connect only waits while the server's backlog is full; the send timeout bounds that.
tl::expected<Fd, NoAnswer> connect_to(const std::string& path, Clock::time_point deadline) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return tl::unexpected(NoAnswer{true, "the path is too long for a unix socket"});
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    const int raw = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (raw < 0) return tl::unexpected(no_answer(true, "socket", errno));
    Fd fd(raw);
    const milliseconds limit = std::max(left(deadline), milliseconds(1));
    const timeval timeout{.tv_sec = limit.count() / 1000, .tv_usec = limit.count() % 1000 * 1000};
    ::setsockopt(raw, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    if (::connect(raw, generic, sizeof address) != 0) {
        return tl::unexpected(no_answer(true, "connect", errno));
    }
    return fd;
}

// Waits until the socket can do `events`.
bool wait_for(const Fd& fd, short events, Clock::time_point deadline) {
    pollfd poller{.fd = fd.get(), .events = events, .revents = 0};
    for (;;) {
        const int ready = ::poll(&poller, 1, static_cast<int>(left(deadline).count()));
        if (ready > 0) return true;
        if (ready == 0) errno = ETIMEDOUT;
        if (errno != EINTR) return false;
    }
}

std::optional<NoAnswer> send_all(const Fd& fd, std::string_view bytes, Clock::time_point deadline) {
    while (!bytes.empty()) {
        if (!wait_for(fd, POLLOUT, deadline)) return no_answer(false, "send", errno);
        const ssize_t n = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (n < 0) return no_answer(false, "send", errno);
        bytes.remove_prefix(static_cast<size_t>(n));
    }
    return std::nullopt;
}

// The request asks the server to close, so the answer ends where the stream does.
tl::expected<std::string, NoAnswer> receive_all(const Fd& fd, Clock::time_point deadline) {
    std::string bytes;
    std::array<char, 16384> chunk{};
    for (;;) {
        if (!wait_for(fd, POLLIN, deadline)) {
            return tl::unexpected(no_answer(false, "receive", errno));
        }
        const ssize_t n = ::recv(fd.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (n < 0) return tl::unexpected(no_answer(false, "receive", errno));
        if (n == 0) return bytes;
        bytes.append(chunk.data(), static_cast<size_t>(n));
        if (bytes.size() > kMaxMessage + kMaxHeader) {
            return tl::unexpected(NoAnswer{false, "the answer is too long"});
        }
    }
}

}  // namespace

tl::expected<Answer, std::string> parse_answer(std::string_view bytes) {
    http::response_parser<http::string_body> parser;
    parser.eager(true);
    parser.header_limit(kMaxHeader);
    parser.body_limit(kMaxMessage);
    boost::beast::error_code failed;
    while (!bytes.empty() && !parser.is_done()) {
        const size_t used = parser.put(boost::asio::buffer(bytes.data(), bytes.size()), failed);
        if (failed) break;
        bytes.remove_prefix(used);
    }
    // Beast takes the end of nothing at all for a whole message with status 200.
    if (!parser.got_some()) return tl::unexpected(std::string("closed without an answer"));
    if (!failed && !parser.is_done()) parser.put_eof(failed);
    if (failed) return tl::unexpected(failed.message());
    if (!parser.is_done()) return tl::unexpected(std::string("no answer"));
    return Answer{parser.get().result_int(), std::move(parser.get().body())};
}

tl::expected<Answer, NoAnswer> exchange(const std::string& socket, std::string_view path,
                                        std::string_view body, milliseconds limit) {
    const auto deadline = Clock::now() + limit;
    const auto connected = connect_to(socket, deadline);
    if (!connected) return tl::unexpected(connected.error());
    const std::string request = fmt::format(
        "POST {} HTTP/1.1\r\nHost: weir\r\nContent-Type: application/json\r\n"
        "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
        path, body.size(), body);
    if (auto failed = send_all(*connected, request, deadline)) return tl::unexpected(*failed);
    const auto bytes = receive_all(*connected, deadline);
    if (!bytes) return tl::unexpected(bytes.error());
    auto answer = parse_answer(*bytes);
    if (!answer) return tl::unexpected(NoAnswer{false, answer.error()});
    return std::move(*answer);
}

}  // namespace weir::cni
