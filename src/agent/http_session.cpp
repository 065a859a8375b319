// SPDX-License-Identifier: Apache-2.0
#include "agent/http_session.h"

#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_static_buffer.hpp>
#include <boost/beast/http.hpp>

#include "common/log.h"

namespace weir::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

constexpr size_t kStreamChunk = 64 * 1024;
constexpr size_t kReadBuffer = 16 * 1024;

using HttpRequest = http::request<http::string_body>;

// The awaited form that reports errors in a variable instead of by exception.
auto into(error_code& error) {
    return asio::redirect_error(asio::use_awaitable, error);
}

http::response<http::string_body> to_http(const Response& response, unsigned version, bool keep) {
    http::response<http::string_body> message(static_cast<http::status>(response.status), version);
    message.set(http::field::server, "weir");
    message.set(http::field::content_type, response.content_type);
    message.keep_alive(keep);
    message.body() = response.body;
    message.prepare_payload();
    return message;
}

// Wakes one waiter; calls may come when nobody waits.
class Signal {
  public:
    explicit Signal(asio::io_context& io) : timer_(io) {}
    void set() {
        set_ = true;
        timer_.cancel();
    }
    // False if the time ran out first.
    asio::awaitable<bool> wait(std::chrono::milliseconds limit) {
        timer_.expires_after(limit);
        error_code ignored;
        while (!set_ && timer_.expiry() > std::chrono::steady_clock::now()) {
            co_await timer_.async_wait(into(ignored));
        }
        co_return std::exchange(set_, false);
    }

  private:
    asio::steady_timer timer_;
    bool set_ = false;
};

// An answer that another thread may give.
struct Pending {
    explicit Pending(asio::io_context& io) : done(io) {}
    Signal done;
    std::optional<Response> response;
};

asio::awaitable<Response> run_handler(SessionContext& context, const Router::Route& route,
                                      const Request& request) {
    auto pending = std::make_shared<Pending>(context.io);
    {
        const Responder responder([pending, &io = context.io](Response response) {
            asio::post(io, [pending, response = std::move(response)]() mutable {
                pending->response = std::move(response);
                pending->done.set();
            });
        });
        route.async(request, responder);
    }
    if (co_await pending->done.wait(context.limits.handler)) co_return *pending->response;
    co_return Response::error(Error(
        Errc::kUnavailable,
        fmt::format(
            "{} took longer than {} s; it goes on, ask again", request.path,
            std::chrono::duration_cast<std::chrono::seconds>(context.limits.handler).count())));
}

bool client_is_gone(Stream& stream) {
    char byte = 0;
    return ::recv(stream.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

// Ends when the client closes its side or sends something more.
asio::awaitable<void> watch_client(Stream& stream, std::shared_ptr<bool> gone,
                                   std::shared_ptr<Signal> signal) {
    error_code error;
    co_await stream.socket().async_wait(asio::socket_base::wait_read, into(error));
    if (*gone) co_return;  // the session has ended, `stream` with it
    if (error || client_is_gone(stream)) {
        *gone = true;
        signal->set();
    }
}

asio::awaitable<bool> write_header(Stream& stream, unsigned version) {
    http::response<http::empty_body> header(http::status::ok, version);
    header.set(http::field::server, "weir");
    header.set(http::field::content_type, "application/x-ndjson");
    header.keep_alive(false);
    header.chunked(true);
    http::response_serializer<http::empty_body> serializer(header);
    error_code error;
    co_await http::async_write_header(stream, serializer, into(error));
    co_return !error;
}

asio::awaitable<void> pump_lines(SessionContext& context, Stream& stream, LineSource& source,
                                 const std::shared_ptr<bool>& gone,
                                 const std::shared_ptr<Signal>& signal) {
    std::string lines;
    error_code error;
    while (!*gone && !context.stopping) {
        lines.clear();
        const auto state = source.pull(lines, kStreamChunk);
        if (!lines.empty()) {
            stream.expires_after(context.limits.stream);
            co_await asio::async_write(stream, http::make_chunk(asio::buffer(lines)), into(error));
            if (error) co_return;
        }
        if (state == LineSource::State::kEnd) {
            co_await asio::async_write(stream, http::make_chunk_last(), into(error));
            co_return;
        }
        if (state == LineSource::State::kWait) co_await signal->wait(std::chrono::hours(24));
    }
}

asio::awaitable<void> stream_lines(SessionContext& context, Stream& stream, LineSource& source,
                                   unsigned version) {
    stream.expires_after(context.limits.stream);
    if (!co_await write_header(stream, version)) co_return;
    auto signal = std::make_shared<Signal>(context.io);
    auto gone = std::make_shared<bool>(false);
    source.on_ready([signal] { signal->set(); });
    asio::co_spawn(context.io, watch_client(stream, gone, signal), asio::detached);
    co_await pump_lines(context, stream, source, gone, signal);
    *gone = true;
    error_code ignored;
    stream.socket().cancel(ignored);
}

Result<Request> to_request(HttpRequest&& message, const std::optional<Caller>& caller) {
    Request request;
    auto target = WEIR_TRY(parse_target({message.target().data(), message.target().size()}));
    request.method = std::string(message.method_string());
    request.path = std::move(target.first);
    request.query = std::move(target.second);
    request.body = std::move(message.body());
    request.caller = caller;
    return request;
}

// What the connection does after a request.
enum class After : unsigned char { kNext, kClose };

asio::awaitable<After> send(SessionContext& context, Stream& stream, const Response& response,
                            unsigned version, bool keep) {
    error_code error;
    stream.expires_after(context.limits.answer);
    co_await http::async_write(stream, to_http(response, version, keep), into(error));
    co_return keep && !error ? After::kNext : After::kClose;
}

asio::awaitable<After> answer(SessionContext& context, Stream& stream, const SessionRights& rights,
                              HttpRequest message) {
    const unsigned version = message.version();
    const bool keep = message.keep_alive() && !context.stopping;
    if (!rights.refusal.empty()) {
        ++context.refusals.permission;
        const auto refused = Response::error(Error(Errc::kPermission, rights.refusal));
        co_return co_await send(context, stream, refused, version, false);
    }
    auto request = to_request(std::move(message), rights.caller);
    if (!request) {
        const auto wrong = Response::error(request.error());
        co_return co_await send(context, stream, wrong, version, false);
    }
    const auto [route, not_found] = context.router.find(*request, rights.public_only);
    if (route == nullptr) co_return co_await send(context, stream, not_found, version, keep);
    if (!route->stream) {
        const Response response = co_await run_handler(context, *route, *request);
        co_return co_await send(context, stream, response, version, keep);
    }
    auto source = route->stream(*request);
    if (!source) {
        const auto failed = Response::error(source.error());
        co_return co_await send(context, stream, failed, version, keep);
    }
    co_await stream_lines(context, stream, **source, version);
    co_return After::kClose;
}

void count_failure(Refusals& refusals, const error_code& error) {
    // Gone without a word, or closed by this side.
    if (error == http::error::end_of_stream ||
        error.category() == boost::system::system_category()) {
        return;
    }
    if (error == beast::error::timeout) {
        ++refusals.timeout;
    } else if (error == http::error::body_limit || error == http::error::header_limit ||
               error == http::error::buffer_overflow) {
        ++refusals.too_large;
    } else {
        ++refusals.malformed;
    }
}

// What is said to a client whose request could not be read; nothing if it went away.
std::optional<Response> read_failure(const error_code& error, const Limits& limits) {
    std::string text;
    unsigned status = 400;
    if (error == http::error::end_of_stream || error == beast::error::timeout ||
        error.category() == boost::system::system_category() ||
        error == http::error::partial_message) {
        return std::nullopt;
    }
    if (error == http::error::body_limit) {
        status = 413;
        text = fmt::format("the body is larger than {} bytes", limits.body_bytes);
    } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
        status = 431;
        text = fmt::format("the header is larger than {} bytes", limits.header_bytes);
    } else {
        text = "this is not HTTP/1.1: " + error.message();
    }
    Response response = Response::error(Error(Errc::kInvalid, text));
    response.status = status;
    return response;
}

asio::awaitable<After> serve_one(SessionContext& context, Stream& stream,
                                 const SessionRights& rights, Waiting& waiting,
                                 beast::flat_static_buffer<kReadBuffer>& buffer) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(static_cast<uint32_t>(context.limits.header_bytes));
    parser.body_limit(context.limits.body_bytes);
    error_code error;
    stream.expires_after(context.limits.request);
    const auto place = waiting.insert(waiting.end(), &stream);
    co_await http::async_read(stream, buffer, parser, into(error));
    waiting.erase(place);
    if (!error) co_return co_await answer(context, stream, rights, parser.release());
    count_failure(context.refusals, error);
    if (const auto failure = read_failure(error, context.limits)) {
        co_await send(context, stream, *failure, 11, false);
    }
    co_return After::kClose;
}

}  // namespace

asio::awaitable<void> serve(std::shared_ptr<SessionContext> context, Stream stream,
                            SessionRights rights, Waiting& waiting) {
    context->open.insert(&stream);
    beast::flat_static_buffer<kReadBuffer> buffer;
    while (!context->stopping) {
        if (co_await serve_one(*context, stream, rights, waiting, buffer) == After::kClose) break;
    }
    context->open.erase(&stream);
    error_code ignored;
    stream.socket().shutdown(asio::socket_base::shutdown_send, ignored);
}

}  // namespace weir::api
