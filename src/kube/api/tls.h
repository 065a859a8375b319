// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <boost/asio/ssl/context.hpp>

#include "common/result.h"
#include "kube/api/access.h"

/// Only for sources that speak to the network: Asio is heavy.
namespace weir::kube::api {

/// A TLS context for one connection, from the bytes that the configuration or its files hold now.
struct TlsMaterial {
    std::shared_ptr<boost::asio::ssl::context> context;
    /// Changes when a file does: a connection made with another one is to be replaced.
    size_t fingerprint = 0;
};

/// Reads CA bundle, certificate and key anew. Errors name the file at fault.
class TlsLoader {
  public:
    explicit TlsLoader(const Access& access) : access_(access) {}
    /// What is in the files now; while they cannot be read or used, the last that could.
    Result<TlsMaterial> load();

  private:
    Result<TlsMaterial> build(size_t fingerprint, const std::string& ca, const std::string& cert,
                              const std::string& key) const;

    const Access& access_;
    TlsMaterial last_;
};

/// The bearer token: of a file that is rotated, read again at most every minute, the last one
/// staying in use while that fails.
class TokenSource {
  public:
    explicit TokenSource(const Access& access) : access_(access) {}
    /// "" if there is none to send.
    Result<std::string> get();
    /// The server did not take it: the file is read anew for the next request.
    void refused() { valid_ = false; }

  private:
    const Access& access_;
    std::string token_;
    bool valid_ = false;
    std::chrono::steady_clock::time_point read_at_{};
};

}  // namespace weir::kube::api
