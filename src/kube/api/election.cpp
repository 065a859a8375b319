// SPDX-License-Identifier: Apache-2.0
#include "kube/api/election.h"

#include <algorithm>

namespace weir::kube::api {
namespace {

/// What a Lease says of its own length is believed within these bounds.
constexpr int64_t kMinSeconds = 1;
constexpr int64_t kMaxSeconds = 300;

}  // namespace

Election::Clock::duration Election::jittered(Clock::duration mean) const {
    return std::chrono::duration_cast<Clock::duration>(mean * (0.8 + random_() * 0.4));
}

/// When the record that is known may be taken from its holder.
Election::Clock::time_point Election::over_at() const {
    if (record_.holder.empty()) return observed_;
    const int64_t seconds = record_.seconds > 0 ? record_.seconds : timing_.lease.count();
    return observed_ + std::chrono::seconds(std::clamp(seconds, kMinSeconds, kMaxSeconds));
}

Election::Step Election::next() const {
    Step step{.action = action_, .not_before = not_before_, .record = {}, .takes = false};
    if (action_ == Action::kLook) return step;
    step.record = record_;
    step.record.holder = identity_;
    step.record.seconds = timing_.lease.count();
    step.takes = record_.holder != identity_;
    if (action_ == Action::kCreate) step.record.resource_version.clear();
    if (action_ == Action::kUpdate && step.takes) ++step.record.transitions;
    return step;
}

void Election::observe(Clock::time_point now, const LeaseRecord& record) {
    if (record == record_ && observed_ != Clock::time_point()) return;
    record_ = record;
    observed_ = now;
}

void Election::looked(Clock::time_point now, const std::optional<LeaseRecord>& record) {
    not_before_ = now;
    if (!record) {
        // Who removed it did not end the election of who had it.
        if (!record_.holder.empty() && record_.holder != identity_ && now < over_at()) {
            action_ = Action::kLook;
            not_before_ = over_at();
            return;
        }
        record_ = {};
        observed_ = {};
        leading_until_ = {};
        action_ = Action::kCreate;
        return;
    }
    observe(now, *record);
    if (record_.holder == identity_ || over_at() <= now) {
        action_ = Action::kUpdate;
        return;
    }
    leading_until_ = {};
    action_ = Action::kLook;
    not_before_ = now + jittered(looks_every_);
    // One that looks often is there when the lease is over.
    if (looks_every_ < timing_.lease) not_before_ = std::min(not_before_, over_at());
}

void Election::written(Clock::time_point sent, Clock::time_point now, const LeaseRecord& record) {
    observe(now, record);
    leading_until_ =
        record.holder == identity_ ? sent + timing_.renew_deadline : Clock::time_point();
    action_ = Action::kUpdate;
    not_before_ = std::max(now, sent + jittered(timing_.retry));
}

void Election::conflicted(Clock::time_point now) {
    action_ = Action::kLook;
    not_before_ = now;
}

void Election::failed(Clock::time_point now) {
    action_ = Action::kLook;
    not_before_ = now + jittered(leading(now) ? timing_.retry / 2 : timing_.retry);
}

std::optional<LeaseRecord> Election::release() const {
    if (record_.holder != identity_) return std::nullopt;
    LeaseRecord record = record_;
    record.holder.clear();
    record.seconds = kMinSeconds;
    return record;
}

}  // namespace weir::kube::api
