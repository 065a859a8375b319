// SPDX-License-Identifier: Apache-2.0
#include "kube/api/node_report.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "common/log.h"
#include "common/rfc3339.h"
#include "kube/api/caller.h"
#include "kube/json_parser.h"

namespace weir::kube::api {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr std::chrono::seconds kFirstDelay = 1s;
constexpr std::chrono::seconds kMaxDelay = 60s;
/// One for each effect, and some that come meanwhile.
constexpr size_t kMaxTaints = 8;
constexpr std::string_view kTaint = "node.weir.io/agent-not-ready";

/// The body of an answer of 200.
Task<std::string> call(Caller& caller, HttpRequest request) {
    auto reply = WEIR_CO_TRY(co_await caller.call(std::move(request)));
    if (reply.ok()) co_return std::move(reply.body);
    co_return fail(Errc::kUnavailable, "{}", reply.text());
}

/// Conditions are merged by type.
Task<> set_condition(Caller& caller, const std::string& node) {
    HttpRequest request;
    request.method = "PATCH";
    request.target = fmt::format("/api/v1/nodes/{}/status", node);
    request.content_type = "application/strategic-merge-patch+json";
    request.body =
        fmt::format(R"({{"status":{{"conditions":[{{"type":"NetworkUnavailable","status":"False",)"
                    R"("reason":"WeirIsUp","message":"weir-agent serves this node",)"
                    R"("lastHeartbeatTime":"{0}","lastTransitionTime":"{0}"}}]}}}})",
                    rfc3339_now());
    WEIR_CO_CHECK(co_await call(caller, std::move(request)));
    co_return Result<void>();
}

/// Where our taint stands in a list of Nodes that holds one.
Result<std::optional<size_t>> find_taint(std::string_view list) {
    std::optional<size_t> found;
    TextPool pool;
    const auto error = parse_json(list, 1, [&](const Tree& tree) {
        Report report(pool);
        for (const Cursor& node : Cursor(tree, 0, report)["items"].items()) {
            size_t index = 0;
            for (const Cursor& taint : node["spec"]["taints"].items()) {
                if (taint["key"].string() == kTaint) found = index;
                ++index;
            }
        }
    });
    if (error) return fail(Errc::kInvalid, "malformed JSON: {}", error->message);
    return found;
}

/// The list of taints is one value to every kind of merge: taken out by place, which is tested, so
/// that what others change meanwhile stays.
Task<> remove_taint(Caller& caller, const std::string& node) {
    for (size_t round = 0; round < kMaxTaints; ++round) {
        HttpRequest look;
        look.target = fmt::format("/api/v1/nodes?fieldSelector=metadata.name%3D{}", node);
        const auto list = WEIR_CO_TRY(co_await call(caller, std::move(look)));
        const auto index = WEIR_CO_TRY(find_taint(list));
        if (!index) co_return Result<void>();
        HttpRequest remove;
        remove.method = "PATCH";
        remove.target = fmt::format("/api/v1/nodes/{}", node);
        remove.content_type = "application/json-patch+json";
        remove.body = fmt::format(R"([{{"op":"test","path":"/spec/taints/{0}/key","value":"{1}"}},)"
                                  R"({{"op":"remove","path":"/spec/taints/{0}"}}])",
                                  *index, kTaint);
        WEIR_CO_CHECK(co_await call(caller, std::move(remove)));
    }
    co_return fail(Errc::kUnavailable, "somebody puts it back");
}

using Job = Task<> (*)(Caller& caller, const std::string& node);

asio::awaitable<void> insist(Session& session, const std::string& node, Job job,
                             std::string_view what) {
    Caller caller(session);
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (std::chrono::seconds delay = kFirstDelay;; delay = std::min(delay * 2, kMaxDelay)) {
        const auto done = co_await job(caller, node);
        if (done) co_return;
        if (delay == kFirstDelay) {
            log::warn("{}: {}; tried again until it is done", what, done.error().message());
        }
        timer.expires_after(delay);
        co_await timer.async_wait(kTuple);
    }
}

}  // namespace

asio::awaitable<void> report_node_ready(Session& session, std::string node) {
    co_await insist(session, node, set_condition, "the condition NetworkUnavailable");
    co_await insist(session, node, remove_taint, "the taint node.weir.io/agent-not-ready");
    log::info("node {} is reported as ready for pods", node);
}

}  // namespace weir::kube::api
