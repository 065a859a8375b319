// SPDX-License-Identifier: Apache-2.0
#include "kube/api/http.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include "common/ip.h"
#include "common/number.h"
#include "kube/api/gunzip.h"

namespace weir::kube::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

constexpr uint32_t kMaxHeader = 64 * 1024;
constexpr size_t kChunk = 64 * 1024;

// A silent peer is asked after 10 s and given up after three more questions; bytes that nobody
// acknowledges are given up after 20 s.
constexpr int kKeepIdleSeconds = 10;
constexpr int kKeepIntervalSeconds = 5;
constexpr int kKeepCount = 3;
constexpr int kUserTimeoutMs = 20'000;

Failure network_error(const error_code& error, std::string_view what) {
    const std::string_view why = error == beast::error::timeout ? "no answer in time" : "";
    return fail(Errc::kUnavailable, "{}: {}", what, why.empty() ? error.message() : why);
}

void find_dead_peers(tcp::socket& socket) {
    const auto set = [&](int level, int name, int value) {
        ::setsockopt(socket.native_handle(), level, name, &value, sizeof value);
    };
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdleSeconds);
    set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepIntervalSeconds);
    set(IPPROTO_TCP, TCP_KEEPCNT, kKeepCount);
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
    set(IPPROTO_TCP, TCP_NODELAY, 1);
}

HttpHead read_head(const http::fields& fields, int status) {
    HttpHead head{.status = status, .content_type = {}, .retry_after = {}, .gzip = false};
    head.content_type = fields[http::field::content_type];
    std::ranges::transform(head.content_type, head.content_type.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    head.gzip = fields[http::field::content_encoding] == "gzip";
    if (const auto after = whole_number<unsigned>(fields[http::field::retry_after])) {
        head.retry_after = std::chrono::seconds(*after);
    }
    return head;
}

/// The connection over a stream of either kind.
template <typename Stream>
class Connection final : public HttpConnection {
  public:
    Connection(Stream stream, const Server& server, size_t fingerprint)
        : stream_(std::move(stream)), host_(server.authority()), prefix_(server.path) {
        fingerprint_ = fingerprint;
    }

    Task<HttpHead> request(const HttpRequest& request) override {
        http::request<http::string_body> message{http::string_to_verb(request.method),
                                                 prefix_ + request.target, 11};
        message.set(http::field::host, host_);
        message.set(http::field::user_agent, "weir-agent");
        message.set(http::field::accept, request.accept);
        if (request.gzip) message.set(http::field::accept_encoding, "gzip");
        if (!request.token.empty()) {
            message.set(http::field::authorization, "Bearer " + request.token);
        }
        if (!request.content_type.empty()) {
            message.set(http::field::content_type, request.content_type);
            message.body() = request.body;
        }
        message.prepare_payload();
        lowest().expires_after(request.timeout);
        auto [write_error, written] = co_await http::async_write(stream_, message, kTuple);
        if (write_error) co_return network_error(write_error, "sending");
        parser_.emplace();
        parser_->header_limit(kMaxHeader);
        parser_->body_limit(boost::none);
        auto [error, count] = co_await http::async_read_header(stream_, buffer_, *parser_, kTuple);
        if (error) co_return network_error(error, "reading");
        co_return read_head(parser_->get(), parser_->get().result_int());
    }

    Task<size_t> read(std::span<char> into, std::chrono::seconds timeout) override {
        while (!parser_->is_done()) {
            auto& body = parser_->get().body();
            body.data = into.data();
            body.size = into.size();
            body.more = true;
            lowest().expires_after(timeout);
            auto [error, count] =
                co_await http::async_read_some(stream_, buffer_, *parser_, kTuple);
            const size_t got = into.size() - body.size;
            received_ += got;
            if (got > 0) co_return got;
            if (error && error != http::error::need_buffer)
                co_return network_error(error, "reading");
        }
        co_return size_t{0};
    }

    [[nodiscard]] bool reusable() const override {
        return parser_ && parser_->is_done() && parser_->get().keep_alive();
    }

  private:
    beast::tcp_stream& lowest() { return beast::get_lowest_layer(stream_); }

    Stream stream_;
    std::string host_;
    std::string prefix_;
    beast::flat_buffer buffer_{kMaxHeader + kChunk};
    std::optional<http::response_parser<http::buffer_body>> parser_;
};

Task<tcp::resolver::results_type> resolve(const Server& server) {
    const auto executor = co_await asio::this_coro::executor;
    error_code ignored;
    const auto address = asio::ip::make_address(server.host, ignored);
    if (!ignored) {
        co_return tcp::resolver::results_type::create(tcp::endpoint(address, server.port),
                                                      server.host, "");
    }
    tcp::resolver resolver(executor);
    auto [error, found] =
        co_await resolver.async_resolve(server.host, std::to_string(server.port), kTuple);
    if (error) co_return network_error(error, fmt::format("looking up {}", server.host));
    co_return found;
}

Result<void> name_server(TlsStream& stream, const std::string& name, bool verify) {
    if (!IpAddress::parse(name) &&
        SSL_set_tlsext_host_name(stream.native_handle(), name.c_str()) != 1) {
        return fail(Errc::kInvalid, "\"{}\" cannot be a TLS server name", name);
    }
    if (!verify) return {};
    error_code error;
    stream.set_verify_callback(asio::ssl::host_name_verification(name), error);
    if (error) return fail(Errc::kInternal, "TLS: {}", error.message());
    return {};
}

}  // namespace

Task<std::unique_ptr<HttpConnection>> HttpConnection::open(const Server& server,
                                                           const TlsMaterial* tls, bool verify,
                                                           const std::string& name) {
    const auto found = WEIR_CO_TRY(co_await resolve(server));
    beast::tcp_stream plain(co_await asio::this_coro::executor);
    plain.expires_after(kConnectTimeout);
    auto [error, endpoint] = co_await plain.async_connect(found, kTuple);
    if (error) co_return network_error(error, fmt::format("connecting to {}", server.authority()));
    find_dead_peers(plain.socket());
    if (tls == nullptr) {
        co_return std::make_unique<Connection<beast::tcp_stream>>(std::move(plain), server, 0);
    }
    TlsStream stream(std::move(plain), *tls->context);
    WEIR_CO_CHECK(name_server(stream, name, verify));
    beast::get_lowest_layer(stream).expires_after(kConnectTimeout);
    auto [failed] = co_await stream.async_handshake(asio::ssl::stream_base::client, kTuple);
    if (failed) co_return network_error(failed, fmt::format("TLS with {}", server.authority()));
    co_return std::make_unique<Connection<TlsStream>>(std::move(stream), server, tls->fingerprint);
}

Task<std::string> HttpConnection::read_all(const HttpHead& head) {
    std::string body;
    std::vector<char> chunk(kChunk);
    for (;;) {
        const size_t got = WEIR_CO_TRY(co_await read(chunk, kAnswerTimeout));
        if (got == 0) break;
        if (got > kMaxBody - body.size()) {
            co_return fail(Errc::kInvalid, "an answer of over {} MiB", kMaxBody >> 20);
        }
        body.append(chunk.data(), got);
    }
    if (!head.gzip) co_return body;
    co_return gunzip(body, kMaxBody);
}

}  // namespace weir::kube::api
