// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "kube/api/session.h"
#include "kube/api/wire.h"

/// Only for sources that speak to the network: Asio is heavy.
namespace weir::kube::api {

/// What the server said to a request.
struct Reply {
    int status = 0;
    std::string body;
    Status refusal;  ///< of a status that is no success

    [[nodiscard]] bool ok() const { return status >= 200 && status < 300; }
    /// "409 Conflict: the object has been modified".
    [[nodiscard]] std::string text() const;
};

/// Requests one after another, in JSON, over a connection that is kept for the next one. One
/// coroutine at a time.
class Caller {
  public:
    explicit Caller(Session& session) : session_(session) {}
    /// Fails only if no answer came; then it is not known whether a write was done.
    Task<Reply> call(HttpRequest request);

  private:
    Task<HttpHead> exchange(const HttpRequest& request);

    /// A kept connection that is older may have been closed by the server, which a write must not
    /// find out.
    static constexpr auto kMaxIdle = std::chrono::seconds(20);

    Session& session_;
    std::unique_ptr<HttpConnection> connection_;
    std::chrono::steady_clock::time_point used_{};
};

}  // namespace weir::kube::api
