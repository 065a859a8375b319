// SPDX-License-Identifier: Apache-2.0
#include "cli/client.h"

#include <array>
#include <cerrno>
#include <span>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

#include "agent/api_types.h"
#include "agent/router.h"

namespace weir::cli {
namespace {

namespace http = boost::beast::http;
namespace json = boost::json;
using boost::system::error_code;

constexpr auto kPatience = std::chrono::milliseconds(30'000);
constexpr auto kForever = std::chrono::milliseconds(-1);
constexpr size_t kMaxBody = size_t{1} << 30;
constexpr size_t kMaxLine = size_t{1} << 20;

Error unreachable(const std::filesystem::path& socket, int os_errno) {
    const std::string what = "cannot reach the agent at " + socket.string();
    Error error = system_error(os_errno, what);
    if (os_errno == EACCES || os_errno == EPERM) {
        return {Errc::kPermission,
                error.message() + ". Use sudo, or join the group that owns the socket", os_errno};
    }
    return {
        Errc::kUnavailable,
        error.message() +
            ". Is it running? Start it with `weir-agent --source=file:DIR` (or `systemctl start "
            "weir-agent`), or name its socket with --socket",
        os_errno};
}

Errc code_named(std::string_view name) {
    static constexpr std::pair<std::string_view, Errc> kNames[] = {
        {"invalid", Errc::kInvalid},         {"not_found", Errc::kNotFound},
        {"exists", Errc::kExists},           {"exhausted", Errc::kExhausted},
        {"permission", Errc::kPermission},   {"unsupported", Errc::kUnsupported},
        {"unavailable", Errc::kUnavailable}, {"system", Errc::kSystem}};
    for (const auto& [known, code] : kNames) {
        if (known == name) return code;
    }
    return Errc::kInternal;
}

// An answer that is not 2xx.
Error agent_error(unsigned status, const std::string& body) {
    error_code ignored;
    const json::value value = json::parse(body, ignored);
    if (auto parsed = api::from_json<api::ErrorBody>(value); !ignored && parsed) {
        return {code_named(parsed->code), parsed->error};
    }
    return {Errc::kInternal, fmt::format("the agent answered {} without saying why", status)};
}

Result<void> send_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        // The server may have answered and closed already: what it said is read next.
        if (n < 0 && errno == EPIPE) return {};
        if (n < 0) return fail_errno(errno, "send to the agent");
        text.remove_prefix(static_cast<size_t>(n));
    }
    return {};
}

// Bytes read, 0 at the end.
Result<size_t> receive(int fd, std::span<char> into, std::chrono::milliseconds patience) {
    for (;;) {
        pollfd poll{.fd = fd, .events = POLLIN, .revents = 0};
        const int ready = ::poll(&poll, 1, static_cast<int>(patience.count()));
        if (ready < 0 && errno == EINTR) continue;
        if (ready == 0) return fail(Errc::kUnavailable, "the agent does not answer");
        const ssize_t n = ::recv(fd, into.data(), into.size(), 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(errno, "read the agent's answer");
        return static_cast<size_t>(n);
    }
}

std::string target_of(std::string_view path, const QueryParams& query) {
    std::string target(path);
    char separator = '?';
    for (const auto& [key, value] : query) {
        target += std::exchange(separator, '&');
        target += api::encode_query_part(key) + "=" + api::encode_query_part(value);
    }
    return target;
}

using Parser = http::response_parser<http::string_body>;

// Feeds `parser` with what is in `pending`; leaves what it did not take.
Result<void> feed(Parser& parser, std::string& pending) {
    error_code error;
    while (!pending.empty() && !parser.is_done()) {
        const size_t taken = parser.put(boost::asio::buffer(pending), error);
        pending.erase(0, taken);
        if (error == http::error::need_more || (!error && taken == 0)) return {};
        if (error) return fail(Errc::kInternal, "the agent's answer: {}", error.message());
    }
    return {};
}

}  // namespace

Result<Fd> Client::connect() const {
    const int raw = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (raw < 0) return fail_errno(errno, "socket");
    Fd fd(raw);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = socket_.string();
    if (path.size() >= sizeof address.sun_path) {
        return fail(Errc::kInvalid, "--socket {}: longer than a socket's path may be", path);
    }
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return Failure(unreachable(socket_, errno));
    }
    return fd;
}

Result<void> Client::exchange(std::string_view path, const QueryParams& query,
                              std::chrono::milliseconds patience,
                              const std::function<bool(std::string&)>& body) const {
    const Fd fd = WEIR_TRY(connect());
    WEIR_CHECK(
        send_all(fd.get(), fmt::format("GET {} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n",
                                       target_of(path, query))));
    Parser parser;
    parser.eager(true);
    parser.body_limit(boost::none);
    std::string pending;
    std::array<char, 65536> chunk{};
    while (!parser.is_done()) {
        const size_t n = WEIR_TRY(receive(fd.get(), chunk, patience));
        if (n == 0) return fail(Errc::kUnavailable, "the agent went away before its answer ended");
        pending.append(chunk.data(), n);
        WEIR_CHECK(feed(parser, pending));
        const bool good = parser.is_header_done() && parser.get().result_int() / 100 == 2;
        if (good && !body(parser.get().body())) return {};
    }
    if (parser.get().result_int() / 100 == 2) return {};
    return Failure(agent_error(parser.get().result_int(), parser.get().body()));
}

Result<json::value> Client::get(std::string_view path, const QueryParams& query) const {
    std::string text;
    WEIR_CHECK(exchange(path, query, kPatience, [&](std::string& part) {
        text += part;
        part.clear();
        return text.size() < kMaxBody;
    }));
    error_code error;
    json::value value = json::parse(text, error);
    if (error) {
        return fail(Errc::kInternal, "the agent's answer to {} is not JSON: {}", path,
                    error.message());
    }
    return value;
}

Result<void> Client::stream(std::string_view path, const QueryParams& query, bool follow,
                            const std::function<bool(std::string_view)>& line) const {
    std::string rest;
    return exchange(path, query, follow ? kForever : kPatience, [&](std::string& part) {
        rest += part;
        part.clear();
        size_t begin = 0;
        for (size_t end = 0; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1) {
            if (!line(std::string_view(rest).substr(begin, end - begin))) return false;
        }
        rest.erase(0, begin);
        return rest.size() < kMaxLine;
    });
}

}  // namespace weir::cli
