// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

#include <sys/types.h>

#include "agent/router.h"
#include "common/cni_protocol.h"
#include "common/ip.h"
#include "common/result.h"

namespace boost::asio {
class io_context;
}

namespace weir::api {

/// Nothing a client does holds more than this.
struct Limits {
    /// Of each listener. One more takes the place of the connection that has been without a whole
    /// request for longest; if all are being answered it gets 503.
    size_t connections = 64;
    size_t header_bytes = 16 * 1024;
    size_t body_bytes = 1024 * 1024;
    std::chrono::milliseconds request{10'000};   ///< from the first wait to the last byte of a body
    std::chrono::milliseconds answer{10'000};    ///< for the client to take an answer
    std::chrono::milliseconds stream{300'000};   ///< for the client to take a part of a stream
    std::chrono::milliseconds handler{120'000};  ///< for a handler that answers later
};

struct UnixListen {
    std::filesystem::path path = cni::kDefaultSocket;
    unsigned mode = 0660;
    /// Members may call, besides root; the socket file gets this group.
    std::optional<gid_t> group;
};

/// Requests that were not served, by why.
struct Refusals {
    uint64_t permission = 0;
    uint64_t malformed = 0;    ///< not HTTP, or cut off
    uint64_t too_large = 0;    ///< header or body
    uint64_t timeout = 0;      ///< no whole request in time
    uint64_t connections = 0;  ///< too many: closed to make room, or answered 503
};

/// HTTP/1.1 for the local API, metrics and health, on the agent's io_context. Construct, use and
/// destroy on its thread, or while it does not run; it and all worker threads that hold a Responder
/// must be done before the io_context is destroyed.
class Server {
  public:
    Server(boost::asio::io_context& io, Router router, Limits limits = {});
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    /// As stop().
    ~Server();

    /// Everything the router has. A socket file that nobody listens on is replaced; a live one is
    /// an error. Callers other than root and the group get 403 and are logged.
    Result<void> listen_unix(const UnixListen& listen);
    /// Routes of Reach::kPublic only. Returns the port, which is chosen if `port` is 0.
    Result<uint16_t> listen_tcp(const IpAddress& address, uint16_t port);
    /// Closes listeners and connections; removes the socket file if it is still ours.
    void stop();
    [[nodiscard]] size_t connections() const;
    [[nodiscard]] Refusals refusals() const;

  private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace weir::api
