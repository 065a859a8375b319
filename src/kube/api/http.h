// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kube/api/access.h"
#include "kube/api/coroutine.h"
#include "kube/api/tls.h"

/// Only for sources that speak to the network: Asio is heavy.
namespace weir::kube::api {

struct HttpRequest {
    std::string_view method = "GET";
    std::string target;
    std::string accept;
    std::string token;         ///< bearer; "" for none
    std::string content_type;  ///< of a body
    std::string body;
    bool gzip = false;                 ///< a compressed answer is welcome
    std::chrono::seconds timeout{30};  ///< for the head of the answer
};

struct HttpHead {
    int status = 0;
    std::string content_type;  ///< lower case, with parameters
    std::optional<std::chrono::seconds> retry_after;
    bool gzip = false;
};

/// One connection to an API server, HTTP/1.1, kept for request after request. Every wait has an
/// end: connecting and each read have time limits, and the kernel finds a dead peer within half a
/// minute (keepalive, user timeout).
class HttpConnection {
  public:
    static constexpr auto kConnectTimeout = std::chrono::seconds(4);
    static constexpr auto kAnswerTimeout = std::chrono::seconds(30);
    static constexpr size_t kMaxBody = size_t{64} << 20;

    /// `tls` may be null for a server without; `name`: what its certificate must be for.
    static Task<std::unique_ptr<HttpConnection>> open(const Server& server, const TlsMaterial* tls,
                                                      bool verify, const std::string& name);
    virtual ~HttpConnection() = default;

    /// Sends, and reads the head of the answer; its body is to be read to the end before the next
    /// request.
    virtual Task<HttpHead> request(const HttpRequest& request) = 0;
    /// The next bytes of the body as they come; 0 at its end. Fails after `timeout` without any.
    virtual Task<size_t> read(std::span<char> into, std::chrono::seconds timeout) = 0;
    /// The last answer was read to its end, and another request may follow.
    [[nodiscard]] virtual bool reusable() const = 0;
    /// Bytes that came in bodies.
    [[nodiscard]] uint64_t received() const { return received_; }
    [[nodiscard]] size_t fingerprint() const { return fingerprint_; }

    /// The rest of the body, uncompressed, at most kMaxBody.
    Task<std::string> read_all(const HttpHead& head);

  protected:
    uint64_t received_ = 0;
    size_t fingerprint_ = 0;
};

}  // namespace weir::kube::api
