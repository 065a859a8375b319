// SPDX-License-Identifier: Apache-2.0
#include "agent/api_server.h"

#include <algorithm>
#include <chrono>
#include <list>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "agent/http_session.h"
#include "common/fd.h"
#include "common/log.h"

namespace weir::api {
namespace {

namespace asio = boost::asio;
using asio::generic::stream_protocol;
using boost::system::error_code;
using Acceptor = asio::basic_socket_acceptor<stream_protocol>;

constexpr int kBacklog = 128;
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr auto kRefusalLogInterval = std::chrono::seconds(10);
constexpr size_t kMaxGroups = 1024;

// One message an interval; how many were left out is said with the next.
class RateLimitedLog {
  public:
    void refused(const Caller& caller) {
        const auto now = std::chrono::steady_clock::now();
        if (now < next_) {
            ++left_out_;
            return;
        }
        next_ = now + kRefusalLogInterval;
        log::warn("API: refused uid {} gid {} (process {}); {} more refused since the last message",
                  caller.uid, caller.gid, caller.pid, std::exchange(left_out_, 0));
    }

  private:
    std::chrono::steady_clock::time_point next_;
    uint64_t left_out_ = 0;
};

Result<Caller> caller_of(int fd) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
        return fail_errno(errno, "SO_PEERCRED");
    }
    return Caller{credentials.pid, credentials.uid, credentials.gid};
}

bool has_supplementary_group(int fd, gid_t group) {
    std::vector<gid_t> groups(kMaxGroups);
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) != 0) return false;
    groups.resize(size / sizeof(gid_t));
    return std::ranges::find(groups, group) != groups.end();
}

SessionRights rights_of(int fd, const std::optional<gid_t>& group) {
    SessionRights rights;
    const auto caller = caller_of(fd);
    if (!caller) {
        rights.refusal = "the caller cannot be identified: " + caller.error().message();
        return rights;
    }
    rights.caller = *caller;
    const bool allowed = caller->uid == 0 ||
                         (group && (caller->gid == *group || has_supplementary_group(fd, *group)));
    if (!allowed) {
        rights.refusal =
            fmt::format("uid {} may not use the agent's API: root{} may (try sudo)", caller->uid,
                        group ? fmt::format(" and members of group {}", *group) : "");
    }
    return rights;
}

bool somebody_listens(const std::filesystem::path& path) {
    const int raw = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (raw < 0) return false;
    const Fd fd(raw);
    const asio::local::stream_protocol::endpoint endpoint(path.string());
    return ::connect(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) == 0;
}

Result<void> prepare_path(const std::filesystem::path& path) {
    if (path.string().size() >= 108) {
        return fail(Errc::kInvalid, "{}: longer than a socket's path may be (107)", path.string());
    }
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    struct stat existing{};
    if (::lstat(path.c_str(), &existing) != 0) return {};
    if (!S_ISSOCK(existing.st_mode)) {
        return fail(Errc::kExists, "{}: exists and is no socket; remove it", path.string());
    }
    if (somebody_listens(path)) {
        return fail(Errc::kExists, "{}: another agent is listening; stop it first", path.string());
    }
    ::unlink(path.c_str());
    return {};
}

struct Listener {
    explicit Listener(asio::io_context& io) : acceptor(io) {}
    Acceptor acceptor;
    bool local = false;
    std::optional<gid_t> group;
    size_t connections = 0;
    Waiting waiting;

    /// Closes the connection that has sent nothing useful for longest. False: there is none.
    bool make_room() {
        if (waiting.empty()) return false;
        // Its session ends on the loop, soon; until then there is one connection too many.
        Stream* const longest = waiting.front();
        waiting.splice(waiting.end(), waiting, waiting.begin());
        longest->cancel();
        return true;
    }
};

}  // namespace

struct Server::State : std::enable_shared_from_this<Server::State> {
    State(asio::io_context& io, Router router, Limits limits)
        : context(std::make_shared<SessionContext>(
              SessionContext{io, std::move(router), limits, {}, false})) {}

    asio::awaitable<void> accept_loop(std::shared_ptr<Listener> listener);
    asio::awaitable<void> session(std::shared_ptr<Listener> listener,
                                  stream_protocol::socket socket);
    Result<void> listen(Listener& listener, const stream_protocol::endpoint& endpoint,
                        std::string_view name);
    void start(const std::shared_ptr<Listener>& listener);

    std::shared_ptr<SessionContext> context;
    std::list<std::shared_ptr<Listener>> listeners;
    std::filesystem::path path;
    ino_t inode = 0;
    RateLimitedLog refusals;
};

asio::awaitable<void> Server::State::accept_loop(std::shared_ptr<Listener> listener) {
    const auto self = shared_from_this();
    while (!context->stopping) {
        error_code error;
        stream_protocol::socket socket(context->io);
        co_await listener->acceptor.async_accept(socket,
                                                 asio::redirect_error(asio::use_awaitable, error));
        if (context->stopping) co_return;
        if (error) {
            // Out of descriptors, most likely: not a reason to stop listening, nor to spin.
            log::warn("API: accept: {}", error.message());
            asio::steady_timer pause(context->io, kAcceptPause);
            co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
            continue;
        }
        asio::co_spawn(context->io, session(listener, std::move(socket)), asio::detached);
    }
}

asio::awaitable<void> Server::State::session(std::shared_ptr<Listener> listener,
                                             stream_protocol::socket socket) {
    const auto self = shared_from_this();
    const bool full = listener->connections >= context->limits.connections;
    if (full) ++context->refusals.connections;
    if (full && !listener->make_room()) {
        // Best effort: what does not fit into an empty socket buffer is not sent.
        constexpr std::string_view kBusy =
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            "Content-Length: 56\r\nConnection: close\r\n\r\n"
            "{\"error\":\"too many connections\",\"code\":\"unavailable\"}  \n";
        (void)::send(socket.native_handle(), kBusy.data(), kBusy.size(),
                     MSG_DONTWAIT | MSG_NOSIGNAL);
        co_return;
    }
    SessionRights rights;
    rights.public_only = !listener->local;
    if (listener->local) rights = rights_of(socket.native_handle(), listener->group);
    if (!rights.refusal.empty() && rights.caller) refusals.refused(*rights.caller);
    ++listener->connections;
    co_await serve(context, Stream(std::move(socket)), std::move(rights), listener->waiting);
    --listener->connections;
}

Result<void> Server::State::listen(Listener& listener, const stream_protocol::endpoint& endpoint,
                                   std::string_view name) {
    error_code error;
    listener.acceptor.open(endpoint.protocol(), error);
    if (!error && !listener.local) {
        listener.acceptor.set_option(asio::socket_base::reuse_address(true), error);
    }
    if (!error) listener.acceptor.bind(endpoint, error);
    if (!error) listener.acceptor.listen(kBacklog, error);
    if (error) return fail_errno(error.value(), "listen on {}", name);
    return {};
}

void Server::State::start(const std::shared_ptr<Listener>& listener) {
    listeners.push_back(listener);
    asio::co_spawn(context->io, accept_loop(listener), asio::detached);
}

Server::Server(asio::io_context& io, Router router, Limits limits)
    : state_(std::make_shared<State>(io, std::move(router), limits)) {}

Server::~Server() {
    stop();
}

Result<void> Server::listen_unix(const UnixListen& listen) {
    WEIR_CHECK(prepare_path(listen.path));
    const auto listener = std::make_shared<Listener>(state_->context->io);
    listener->local = true;
    listener->group = listen.group;
    // Nobody may connect before mode and group are right.
    const mode_t mask = ::umask(0777);
    auto listening =
        state_->listen(*listener, asio::local::stream_protocol::endpoint(listen.path.string()),
                       listen.path.string());
    ::umask(mask);
    WEIR_CHECK(std::move(listening));
    const gid_t group = listen.group ? *listen.group : static_cast<gid_t>(-1);
    struct stat made{};
    if (::chown(listen.path.c_str(), static_cast<uid_t>(-1), group) != 0 ||
        ::chmod(listen.path.c_str(), listen.mode) != 0 || ::stat(listen.path.c_str(), &made) != 0) {
        return fail_errno(errno, "set the mode of {}", listen.path.string());
    }
    state_->path = listen.path;
    state_->inode = made.st_ino;
    state_->start(listener);
    return {};
}

Result<uint16_t> Server::listen_tcp(const IpAddress& address, uint16_t port) {
    const auto listener = std::make_shared<Listener>(state_->context->io);
    error_code error;
    const auto ip = asio::ip::make_address(address.to_string(), error);
    if (error) return fail(Errc::kInvalid, "listen on {}", address.with_port(port));
    WEIR_CHECK(
        state_->listen(*listener, asio::ip::tcp::endpoint(ip, port), address.with_port(port)));
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    if (::getsockname(listener->acceptor.native_handle(), reinterpret_cast<sockaddr*>(&bound),
                      &size) != 0) {
        return fail_errno(errno, "listen on {}", address.with_port(port));
    }
    const auto* in4 = reinterpret_cast<const sockaddr_in*>(&bound);
    state_->start(listener);
    return ntohs(in4->sin_port);  // the port has the same place in both families
}

void Server::stop() {
    auto& context = *state_->context;
    if (std::exchange(context.stopping, true)) return;
    error_code ignored;
    for (const auto& listener : state_->listeners)
        listener->acceptor.close(ignored);
    for (Stream* stream : context.open)
        stream->cancel();
    struct stat now{};
    if (!state_->path.empty() && ::stat(state_->path.c_str(), &now) == 0 &&
        now.st_ino == state_->inode) {
        ::unlink(state_->path.c_str());
    }
}

Refusals Server::refusals() const {
    return state_->context->refusals;
}

size_t Server::connections() const {
    return state_->context->open.size();
}

}  // namespace weir::api
