// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "kube/api/http.h"

/// Only for sources that speak to the network: Asio is heavy.
namespace weir::kube::api {

/// What all connections to the API servers share: which server is the good one, the TLS files, the
/// token. One thread.
class Session {
  public:
    explicit Session(const Access& access) : access_(access), tls_(access), token_(access) {}

    /// A connection to the server that answered last; after a failure the next one's turn comes.
    Task<std::unique_ptr<HttpConnection>> connect();
    /// Adds the token. An answer other than 401 shows that the server is there.
    Task<HttpHead> request(HttpConnection& connection, HttpRequest request);
    /// False if the connection was made with certificates that have been replaced since.
    [[nodiscard]] bool current(const HttpConnection& connection);
    /// The server answered, but not as an API server in health does: another one may.
    void doubt();
    [[nodiscard]] const Server& server() const { return access_.servers[server_]; }

  private:
    const Access& access_;
    TlsLoader tls_;
    TokenSource token_;
    size_t server_ = 0;
};

}  // namespace weir::kube::api
