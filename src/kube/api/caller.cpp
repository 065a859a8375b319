// SPDX-License-Identifier: Apache-2.0
#include "kube/api/caller.h"

namespace weir::kube::api {
namespace {

constexpr int kServerError = 500;

}  // namespace

std::string Reply::text() const {
    return fmt::format("{} {}: {}", status, refusal.reason, refusal.message);
}

Task<HttpHead> Caller::exchange(const HttpRequest& request) {
    const auto now = std::chrono::steady_clock::now();
    const bool usable = connection_ && connection_->reusable() && now - used_ < kMaxIdle &&
                        session_.current(*connection_);
    if (!usable) {
        connection_.reset();
        auto fresh = co_await session_.connect();
        if (!fresh) co_return Failure(std::move(fresh).error());
        connection_ = *std::move(fresh);
    }
    used_ = now;
    co_return co_await session_.request(*connection_, request);
}

Task<Reply> Caller::call(HttpRequest request) {
    request.accept = "application/json";
    const auto head = co_await exchange(request);
    if (!head) {
        connection_.reset();
        session_.doubt();
        co_return Failure(head.error());
    }
    auto body = co_await connection_->read_all(*head);
    if (!body) {
        connection_.reset();
        co_return Failure(std::move(body).error());
    }
    Reply reply{.status = head->status, .body = *std::move(body), .refusal = {}};
    if (reply.ok()) co_return reply;
    reply.refusal = read_status(Encoding::kJson, head->status, reply.body);
    if (head->retry_after) reply.refusal.retry_after = head->retry_after;
    if (head->status >= kServerError) session_.doubt();
    co_return reply;
}

}  // namespace weir::kube::api
