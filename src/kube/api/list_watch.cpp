// SPDX-License-Identifier: Apache-2.0
#include "kube/api/list_watch.h"

#include <algorithm>

namespace weir::kube::api {
namespace {

using namespace std::chrono_literals;

constexpr int kUnauthorized = 401;
constexpr int kForbidden = 403;
constexpr int kNotFound = 404;
constexpr int kGone = 410;
constexpr int kTooMany = 429;

/// A watch that breaks that often at one resourceVersion is answered by a list, a streaming list by
/// one in pages.
constexpr unsigned kMaxBroken = 3;
/// Of agents that are all told at once to list anew.
constexpr ListWatch::Duration kRelistSpread = 400ms;

/// The server does not know the options of a streaming list.
bool refuses_options(int code) {
    return code == 400 || code == 422;
}

}  // namespace

ListWatch::Duration ListWatch::jittered(Duration mean) const {
    return std::chrono::duration_cast<Duration>(mean * (0.75 + random_() * 0.5));
}

ListWatch::Step ListWatch::next() const {
    Step step{.action = action_,
              .not_before = not_before_,
              .resource_version = version_,
              .page = page_,
              .timeout = 300s + std::chrono::seconds(static_cast<int>(random_() * 300))};
    return step;
}

void ListWatch::fail(Clock::time_point now, Duration cap, bool wakeable) {
    Duration delay = kFirstDelay;
    for (unsigned i = 0; i < failures_ && delay < cap; ++i)
        delay *= 2;
    ++failures_;
    not_before_ = now + jittered(std::min(delay, cap));
    wakeable_ = wakeable;
}

void ListWatch::relist(Clock::time_point now) {
    version_.clear();
    page_.clear();
    broken_here_ = 0;
    action_ = now < stream_from_ ? Action::kList : Action::kStream;
    not_before_ = now + std::chrono::duration_cast<Duration>(kRelistSpread * random_());
    wakeable_ = false;
}

void ListWatch::unreachable(Clock::time_point now) {
    page_.clear();
    fail(now, leader_ ? kProbeDelay : kMaxDelay, true);
}

void ListWatch::refused(Clock::time_point now, const Status& status) {
    const bool streaming = action_ == Action::kStream;
    page_.clear();
    if (status.code == kGone || status.reason == "Expired") {
        const bool again = action_ == Action::kList || (streaming && version_.empty());
        if (again) fail(now, kMaxDelay, false);
        const auto after = not_before_;
        relist(now);
        if (again) not_before_ = after;
        return;
    }
    // A server whose etcd is too old for streaming lists opens the stream before it says so.
    const bool opened = opened_ != Clock::time_point() && opened_ >= not_before_;
    if (streaming && (refuses_options(status.code) || opened)) {
        stream_from_ = now + kRefusalKept;
        return relist(now);
    }
    if (optional_ && status.code == kNotFound) {
        action_ = Action::kDiscover;
        not_before_ = now;
        return;
    }
    // What is not allowed, or not there, is asked for again slowly: somebody has to act first.
    if (status.code == kForbidden || status.code == kNotFound) {
        return fail(now, kMaxDelay, false);
    }
    // One that serves, but not this watch, is reached by the others all the time: no reason to
    // hurry.
    const bool sick = !opened && status.code != kTooMany && status.code != kUnauthorized;
    fail(now, sick && leader_ ? 2 * kProbeDelay : kMaxDelay, sick);
    if (!status.retry_after) return;
    const Duration wanted = std::min<Duration>(*status.retry_after, kMaxRetryAfter);
    not_before_ = now + jittered(wanted) + wanted / 4;  // never earlier than was asked
    wakeable_ = false;
}

void ListWatch::broken(Clock::time_point now) {
    page_.clear();
    fail(now, kMaxDelay, false);
    if (action_ == Action::kList || action_ == Action::kDiscover) return;
    if (++broken_here_ < kMaxBroken) return;
    const bool streaming = action_ == Action::kStream;
    const auto after = not_before_;
    relist(now);
    not_before_ = after;
    // Too long an answer for what is between here and there.
    if (streaming) action_ = Action::kList;
}

void ListWatch::page(Clock::time_point now, const ListPage& page) {
    healthy();
    not_before_ = now;
    page_ = page.next;
    if (!page.next.empty()) return;
    version_ = page.resource_version;
    action_ = Action::kWatch;
    listed_ = true;
    absent_ = false;
}

void ListWatch::opened(Clock::time_point now) {
    opened_ = now;
    saw_event_ = false;
}

void ListWatch::progressed(std::string_view resource_version) {
    saw_event_ = true;
    // Until it ends, a streaming list is no state to resume from, and no success.
    if (action_ != Action::kWatch) return;
    healthy();
    broken_here_ = 0;
    if (!resource_version.empty()) version_ = resource_version;
}

void ListWatch::initial_end(std::string_view resource_version) {
    saw_event_ = true;
    healthy();
    broken_here_ = 0;
    version_ = resource_version;
    action_ = Action::kWatch;
    listed_ = true;
    absent_ = false;
}

void ListWatch::closed(Clock::time_point now) {
    if (action_ == Action::kStream) return broken(now);  // before its end
    if (!saw_event_ && now - opened_ < kShortWatch) return fail(now, kMaxDelay, false);
    healthy();
    not_before_ = now + std::chrono::duration_cast<Duration>(100ms * random_());
    wakeable_ = false;
}

void ListWatch::discovered(Clock::time_point now, bool offered) {
    healthy();
    if (offered) return relist(now);
    absent_ = true;
    listed_ = true;
    version_.clear();
    action_ = Action::kDiscover;
    not_before_ = now + jittered(kDiscoverDelay);
    wakeable_ = false;
}

void ListWatch::wake(Clock::time_point now) {
    if (!wakeable_) return;
    wakeable_ = false;
    not_before_ =
        std::min(not_before_, now + std::chrono::duration_cast<Duration>(200ms * random_()));
}

}  // namespace weir::kube::api
