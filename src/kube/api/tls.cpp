// SPDX-License-Identifier: Apache-2.0
#include "kube/api/tls.h"

#include <functional>
#include <string_view>

#include <boost/asio/buffer.hpp>

#include "common/log.h"

namespace weir::kube::api {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;
using namespace std::chrono_literals;

constexpr auto kTokenAge = 1min;

std::string name_of(const Secret& secret, std::string_view what) {
    return secret.file.empty() ? fmt::format("the {} given inline", what) : secret.file.string();
}

Failure unusable(const Secret& secret, std::string_view what, const error_code& error) {
    return fail(Errc::kInvalid, "{}: no usable {}: {}", name_of(secret, what), what,
                error.message());
}

}  // namespace

Result<TlsMaterial> TlsLoader::build(size_t fingerprint, const std::string& ca,
                                     const std::string& cert, const std::string& key) const {
    auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
    error_code error;
    context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 |
                             ssl::context::no_sslv3 | ssl::context::no_tlsv1 |
                             ssl::context::no_tlsv1_1,
                         error);
    context->set_verify_mode(access_.skip_verify ? ssl::verify_none : ssl::verify_peer, error);
    if (ca.empty()) {
        context->set_default_verify_paths(error);
    } else {
        context->add_certificate_authority(boost::asio::buffer(ca), error);
    }
    if (error) return unusable(access_.ca, "CA bundle", error);
    if (!cert.empty()) {
        context->use_certificate_chain(boost::asio::buffer(cert), error);
        if (error) return unusable(access_.certificate, "client certificate", error);
        context->use_private_key(boost::asio::buffer(key), ssl::context::pem, error);
        if (error) return unusable(access_.key, "client key", error);
    }
    return TlsMaterial{std::move(context), fingerprint};
}

Result<TlsMaterial> TlsLoader::load() {
    const auto attempt = [this]() -> Result<TlsMaterial> {
        const auto ca = WEIR_TRY(access_.ca.read());
        const auto cert = WEIR_TRY(access_.certificate.read());
        const auto key = WEIR_TRY(access_.key.read());
        const std::hash<std::string> hash;
        const size_t fingerprint = hash(ca) * 31 * 31 + hash(cert) * 31 + hash(key);
        if (last_.context && last_.fingerprint == fingerprint) return last_;
        return build(fingerprint, ca, cert, key);
    };
    auto fresh = attempt();
    if (fresh) {
        last_ = *fresh;
        return fresh;
    }
    if (!last_.context) return fresh;
    log::warn("{}; what was read before stays in use", fresh.error().message());
    return last_;
}

Result<std::string> TokenSource::get() {
    const auto now = std::chrono::steady_clock::now();
    if (valid_ && now - read_at_ < kTokenAge) return token_;
    auto text = access_.token.read();
    if (!text) {
        if (token_.empty()) return text;
        log::warn("{}; the token read before stays in use", text.error().message());
        text = token_;
    }
    while (!text->empty() &&
           std::string_view(" \t\r\n").find(text->back()) != std::string_view::npos)
        text->pop_back();
    token_ = *std::move(text);
    valid_ = true;
    read_at_ = now;
    return token_;
}

}  // namespace weir::kube::api
