// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "common/result.h"

namespace boost::json {
class value;
}

/// Which handler answers which path, without any knowledge of sockets.
namespace weir::api {

/// Who is at the other end of a unix socket; nobody on TCP.
struct Caller {
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid = 0;
};

struct Request {
    std::string method;
    std::string path;
    /// Decoded, in order, repeated keys kept.
    std::vector<std::pair<std::string, std::string>> query;
    std::string body;
    std::optional<Caller> caller;
};

/// A complete answer.
struct Response {
    unsigned status = 200;
    std::string content_type = "application/json";
    std::string body;

    static Response json(const boost::json::value& value);
    static Response text(unsigned status, std::string body);
    /// Status from the error's code; the body is an api::ErrorBody.
    static Response error(const Error& error);
};

/// Lines of a streamed answer (NDJSON), pulled as fast as the client takes them, so that what waits
/// for a slow client is bounded by whoever holds the lines. Used on the server's loop only.
class LineSource {
  public:
    enum class State : unsigned char { kMore, kWait, kEnd };
    virtual ~LineSource() = default;
    /// Appends whole lines, each with its line feed, until about `limit` bytes. kMore: call again;
    /// kWait: nothing now, the waker will be called; kEnd: that was all.
    virtual State pull(std::string& out, size_t limit) = 0;
    /// Called once, before the first pull. `wake` may be called on the loop's thread only, also
    /// after the client has gone.
    virtual void on_ready(std::function<void()> wake) = 0;
};

/// Completes one request, once, from any thread. Copies are handles of the same request; when the
/// last goes without an answer the client gets 500.
class Responder {
  public:
    using Send = std::function<void(Response)>;
    explicit Responder(Send send);
    void respond(Response response) const;
    void respond(Result<boost::json::value> result) const;

  private:
    struct State;
    std::shared_ptr<State> state_;
};

/// Where a route is served.
enum class Reach : unsigned char {
    kLocal,   ///< the unix socket only
    kPublic,  ///< the TCP listener as well: /metrics, /healthz, /readyz
};

class Router {
  public:
    using Handler = std::function<Result<boost::json::value>(const Request&)>;
    using TextHandler = std::function<Response(const Request&)>;
    using StreamHandler = std::function<Result<std::unique_ptr<LineSource>>(const Request&)>;
    /// For work that takes long: returns at once, answers later through the Responder.
    using AsyncHandler = std::function<void(const Request&, Responder)>;

    /// Handlers run on the server's loop and must not block; the same path may be registered once
    /// for each method.
    void get(std::string path, Handler handler);
    void post(std::string path, Handler handler);
    void get_text(std::string path, Reach reach, TextHandler handler);
    void get_stream(std::string path, StreamHandler handler);
    void post_async(std::string path, AsyncHandler handler);
    void get_async(std::string path, AsyncHandler handler);

    struct Route {
        Reach reach = Reach::kLocal;
        StreamHandler stream;  ///< set for streams, else `async` is
        AsyncHandler async;
    };
    /// The route, or the answer to give instead (404, 405).
    [[nodiscard]] std::pair<const Route*, Response> find(const Request& request,
                                                         bool public_only) const;

  private:
    void add(std::string method, std::string path, Route route);
    std::map<std::string, std::map<std::string, Route>> routes_;  ///< path, method
};

/// "/v1/flows?port=80&not-pod=a%2Fb" to path and query; malformed escapes are an error.
Result<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> parse_target(
    std::string_view target);
/// For the client's side.
std::string encode_query_part(std::string_view text);

}  // namespace weir::api
