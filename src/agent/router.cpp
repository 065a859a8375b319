// SPDX-License-Identifier: Apache-2.0
#include "agent/router.h"

#include <atomic>

#include <boost/json.hpp>

#include "agent/api_types.h"

namespace weir::api {
namespace {

struct CodeName {
    Errc code;
    const char* name;
    unsigned status;
};
constexpr CodeName kCodes[] = {
    {Errc::kInvalid, "invalid", 400},         {Errc::kNotFound, "not_found", 404},
    {Errc::kExists, "exists", 409},           {Errc::kExhausted, "exhausted", 507},
    {Errc::kPermission, "permission", 403},   {Errc::kUnavailable, "unavailable", 503},
    {Errc::kUnsupported, "unsupported", 501}, {Errc::kSystem, "system", 500},
    {Errc::kInternal, "internal", 500},
};

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

Result<std::string> decode_part(std::string_view text) {
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '+') {
            result.push_back(' ');
        } else if (text[i] != '%') {
            result.push_back(text[i]);
        } else {
            const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
            const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return fail(Errc::kInvalid, "the query has an incomplete %-escape");
            }
            result.push_back(static_cast<char>(high << 4 | low));
            i += 2;
        }
    }
    return result;
}

}  // namespace

Response Response::json(const boost::json::value& value) {
    return {200, "application/json", boost::json::serialize(value) + "\n"};
}

Response Response::text(unsigned status, std::string body) {
    return {status, "text/plain; charset=utf-8", std::move(body)};
}

Response Response::error(const Error& error) {
    const CodeName* found = &kCodes[std::size(kCodes) - 1];
    for (const auto& code : kCodes) {
        if (code.code == error.code()) found = &code;
    }
    Response response = json(to_json(ErrorBody{error.message(), found->name}));
    response.status = found->status;
    return response;
}

struct Responder::State {
    explicit State(Send s) : send(std::move(s)) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { answer(Response::error(Error(Errc::kInternal, "the request was dropped"))); }
    void answer(Response response) {
        if (!answered.exchange(true)) send(std::move(response));
    }
    std::atomic<bool> answered = false;
    Send send;
};

Responder::Responder(Send send) : state_(std::make_shared<State>(std::move(send))) {}

void Responder::respond(Response response) const {
    state_->answer(std::move(response));
}

void Responder::respond(Result<boost::json::value> result) const {
    respond(result ? Response::json(*result) : Response::error(result.error()));
}

void Router::add(std::string method, std::string path, Route route) {
    routes_[std::move(path)][std::move(method)] = std::move(route);
}

namespace {

Router::AsyncHandler at_once(Router::Handler handler) {
    return [handler = std::move(handler)](const Request& request, const Responder& responder) {
        responder.respond(handler(request));
    };
}

}  // namespace

void Router::get(std::string path, Handler handler) {
    add("GET", std::move(path), {Reach::kLocal, nullptr, at_once(std::move(handler))});
}

void Router::post(std::string path, Handler handler) {
    add("POST", std::move(path), {Reach::kLocal, nullptr, at_once(std::move(handler))});
}

void Router::get_text(std::string path, Reach reach, TextHandler handler) {
    AsyncHandler async = [handler = std::move(handler)](const Request& request,
                                                        const Responder& responder) {
        responder.respond(handler(request));
    };
    add("GET", std::move(path), {reach, nullptr, std::move(async)});
}

void Router::get_stream(std::string path, StreamHandler handler) {
    add("GET", std::move(path), {Reach::kLocal, std::move(handler), nullptr});
}

void Router::post_async(std::string path, AsyncHandler handler) {
    add("POST", std::move(path), {Reach::kLocal, nullptr, std::move(handler)});
}

void Router::get_async(std::string path, AsyncHandler handler) {
    add("GET", std::move(path), {Reach::kLocal, nullptr, std::move(handler)});
}

std::pair<const Router::Route*, Response> Router::find(const Request& request,
                                                       bool public_only) const {
    const auto not_found = [&](std::string_view why) {
        return std::pair<const Route*, Response>(
            nullptr, Response::error(Error(Errc::kNotFound,
                                           fmt::format("nothing at {}{}", request.path, why))));
    };
    const auto path = routes_.find(request.path);
    if (path == routes_.end()) return not_found("");
    const auto route = path->second.find(request.method);
    if (route == path->second.end()) {
        Response response = Response::error(Error(
            Errc::kInvalid, fmt::format("{} does not take {}", request.path, request.method)));
        response.status = 405;
        return {nullptr, std::move(response)};
    }
    if (public_only && route->second.reach != Reach::kPublic) {
        return not_found(" on this address; use the agent's unix socket");
    }
    return {&route->second, {}};
}

Result<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> parse_target(
    std::string_view target) {
    std::pair<std::string, std::vector<std::pair<std::string, std::string>>> result;
    const size_t mark = target.find('?');
    result.first = WEIR_TRY(decode_part(target.substr(0, mark)));
    if (mark == std::string_view::npos) return result;
    std::string_view rest = target.substr(mark + 1);
    while (!rest.empty()) {
        const std::string_view part = rest.substr(0, rest.find('&'));
        rest.remove_prefix(std::min(part.size() + 1, rest.size()));
        if (part.empty()) continue;
        const size_t equals = part.find('=');
        std::string key = WEIR_TRY(decode_part(part.substr(0, equals)));
        std::string value;
        if (equals != std::string_view::npos) {
            value = WEIR_TRY(decode_part(part.substr(equals + 1)));
        }
        result.second.emplace_back(std::move(key), std::move(value));
    }
    return result;
}

std::string encode_query_part(std::string_view text) {
    std::string result;
    for (const char c : text) {
        const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.' || c == '~';
        result += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return result;
}

}  // namespace weir::api
