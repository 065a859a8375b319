// SPDX-License-Identifier: Apache-2.0
#include "kube/api/elector.h"

#include <algorithm>

#include "common/log.h"
#include "common/rfc3339.h"
#include "kube/api/lease.h"

namespace weir::kube::api {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr int kNotFound = 404;
constexpr int kConflict = 409;
/// So many of all agents look every other second; the rest, in case that these are all gone,
/// seldom.
constexpr size_t kEager = 16;
constexpr std::chrono::seconds kSeldom = 60s;
/// A server that is slower is asked anew: there is a deadline.
constexpr std::chrono::seconds kAnswer = 5s;

/// "node_0123456789abcdef": people read the first half, the second makes it this process's.
std::string make_identity(const std::string& node) {
    std::random_device random;
    return fmt::format("{}_{:08x}{:08x}", node, random(), random());
}

std::string node_of(const std::string& identity) {
    return identity.substr(0, identity.rfind('_'));
}

}  // namespace

Elector::Elector(asio::io_context& io, Session& session, Options options)
    : options_(std::move(options)),
      identity_(make_identity(options_.node)),
      caller_(session),
      timer_(io),
      election_(identity_, options_.timing,
                [this] { return std::uniform_real_distribution<double>(0, 1)(random_); }) {}

std::string Elector::path() const {
    return lease_path(options_.ns);
}

bool Elector::leading() const {
    return Clock::now().time_since_epoch().count() < leading_until_.load();
}

Leadership Elector::state() const {
    const std::lock_guard lock(mutex_);
    Leadership state = state_;
    state.self = leading();
    return state;
}

void Elector::stop() {
    stopping_ = true;
    timer_.cancel();
}

void Elector::set_candidates(size_t count) {
    const double share = static_cast<double>(kEager) / static_cast<double>(std::max(count, kEager));
    // The same agents each time that the count changes a little.
    const auto place = static_cast<double>(std::hash<std::string>()(identity_) % 1024) / 1024;
    election_.set_retry(place < share ? options_.timing.retry : kSeldom);
}

asio::awaitable<void> Elector::run() {
    while (!stopping_) {
        const auto step = election_.next();
        if (step.not_before > Clock::now()) {
            timer_.expires_at(step.not_before);
            co_await timer_.async_wait(kTuple);
            continue;  // it may have been stopped
        }
        co_await perform(step);
        show();
    }
    co_await release();
}

asio::awaitable<void> Elector::perform(const Election::Step& step) {
    trouble_.clear();
    if (step.action == Election::Action::kLook) co_return co_await look();
    const bool create = step.action == Election::Action::kCreate;
    const auto sent = Clock::now();
    const auto reply = co_await write(step.record, step.takes, create);
    if (!reply) co_return failed(reply.error().message());
    if (reply->status == kConflict || reply->status == kNotFound) {
        if (create && reply->status == kNotFound) co_return failed(reply->text());
        co_return election_.conflicted(Clock::now());
    }
    if (!reply->ok()) co_return failed(reply->text());
    const auto now = read_lease(reply->body);
    if (!now) co_return failed(now.error().message());
    election_.written(sent, Clock::now(), *now);
}

asio::awaitable<void> Elector::look() {
    HttpRequest request;
    request.timeout = kAnswer;
    request.target = fmt::format("{}/{}", path(), options_.name);
    const auto reply = co_await caller_.call(std::move(request));
    if (!reply) co_return failed(reply.error().message());
    if (reply->status == kNotFound) co_return election_.looked(Clock::now(), std::nullopt);
    if (!reply->ok()) co_return failed(reply->text());
    const auto record = read_lease(reply->body);
    if (!record) co_return failed(record.error().message());
    election_.looked(Clock::now(), *record);
}

/// A merge keeps what others put on the Lease; the resourceVersion in it makes it conditional.
Task<Reply> Elector::write(LeaseRecord record, bool takes, bool create) {
    record.renewed = rfc3339_micros(std::chrono::system_clock::now());
    if (takes) record.acquired = record.renewed;
    HttpRequest request;
    request.timeout = kAnswer;
    request.method = create ? "POST" : "PATCH";
    request.target = create ? path() : fmt::format("{}/{}", path(), options_.name);
    request.content_type = create ? "application/json" : "application/merge-patch+json";
    request.body = lease_json(options_.ns, options_.name, record);
    co_return co_await caller_.call(std::move(request));
}

asio::awaitable<void> Elector::release() {
    const auto record = election_.release();
    leading_until_ = 0;
    if (!record) co_return;
    const auto reply = co_await write(*record, false, false);
    if (reply && reply->ok()) {
        log::info("leadership is given up");
    } else {
        log::warn("leadership could not be given up: {}; others take it in {} s",
                  reply ? reply->text() : reply.error().message(), options_.timing.lease.count());
    }
}

void Elector::show() {
    leading_until_ = election_.leading_until().time_since_epoch().count();
    const bool now = leading();
    if (now != std::exchange(was_leading_, now)) {
        log::info("this agent is {}", now ? "elected: it writes what concerns the whole cluster"
                                          : "not elected any more");
    }
    const auto& record = election_.record();
    const std::string holder = node_of(record.holder);
    const std::lock_guard lock(mutex_);
    if (holder != state_.holder) {
        state_.holder = holder;
        state_.since = std::chrono::system_clock::now();
    }
    state_.transitions = record.transitions;
    // Told once; status has the latest.
    if (!trouble_.empty() && state_.error.empty()) {
        log::warn("the Lease {}/{}: {}", options_.ns, options_.name, trouble_);
    }
    state_.error = trouble_;
}

void Elector::failed(std::string error) {
    election_.failed(Clock::now());
    trouble_ = std::move(error);
}

}  // namespace weir::kube::api
