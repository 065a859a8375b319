// SPDX-License-Identifier: Apache-2.0
#include "kube/api/session.h"

namespace weir::kube::api {
namespace {

constexpr int kUnauthorized = 401;

/// A token goes into a header: nothing that could end it.
bool fits_header(std::string_view token) {
    for (const char c : token) {
        if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f) return false;
    }
    return true;
}

}  // namespace

Task<std::unique_ptr<HttpConnection>> Session::connect() {
    const size_t tried = server_;
    const Server& server = access_.servers[tried];
    std::optional<TlsMaterial> material;
    if (server.tls) material = WEIR_CO_TRY(tls_.load());
    const std::string name =
        access_.tls_server_name.empty() ? server.host : access_.tls_server_name;
    auto connection = co_await HttpConnection::open(server, material ? &*material : nullptr,
                                                    !access_.skip_verify, name);
    // Another kind may have moved on meanwhile.
    if (!connection && server_ == tried) doubt();
    co_return connection;
}

void Session::doubt() {
    server_ = (server_ + 1) % access_.servers.size();
}

Task<HttpHead> Session::request(HttpConnection& connection, HttpRequest request) {
    request.token = WEIR_CO_TRY(token_.get());
    if (!fits_header(request.token)) {
        co_return fail(Errc::kInvalid, "the bearer token of {} holds blanks or control characters",
                       access_.origin);
    }
    auto head = co_await connection.request(request);
    if (head && head->status == kUnauthorized) token_.refused();
    co_return head;
}

bool Session::current(const HttpConnection& connection) {
    if (connection.fingerprint() == 0) return true;
    const auto material = tls_.load();
    return !material || material->fingerprint == connection.fingerprint();
}

}  // namespace weir::kube::api
