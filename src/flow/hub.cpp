// SPDX-License-Identifier: Apache-2.0
#include "flow/hub.h"

#include <algorithm>

namespace weir::flow {

History::History(size_t capacity) : ring_(std::max<size_t>(capacity, 1)) {}

void History::push(RecordPtr record) {
    ring_[next_] = std::move(record);
    if (++next_ == ring_.size()) {
        next_ = 0;
        full_ = true;
    }
}

std::vector<RecordPtr> History::find(const Query& query) const {
    std::vector<RecordPtr> found;
    // Newest first, so that `last` bounds the work.
    for (size_t i = 0, count = size(); i < count; ++i) {
        const RecordPtr& record = ring_[(next_ + ring_.size() - 1 - i) % ring_.size()];
        if (!query.matches(*record)) continue;
        found.push_back(record);
        if (query.last != 0 && found.size() == query.last) break;
    }
    std::ranges::reverse(found);
    return found;
}

Subscription::~Subscription() {
    std::erase(hub_.subscriptions_, this);
}

RecordPtr Subscription::next() {
    if (!queue_.empty()) {
        RecordPtr record = std::move(queue_.front());
        queue_.pop_front();
        return record;
    }
    if (lost_pending_ == 0) return nullptr;
    return Recorder::make_lost(std::exchange(lost_pending_, 0), "subscriber");
}

void Subscription::offer(const RecordPtr& record) {
    if (!filter_.matches(*record)) return;
    const bool idle = queue_.empty() && lost_pending_ == 0;
    // Once something is lost, the gap is closed by reading up to it: what comes after it in the
    // queue would otherwise stand before the notice.
    if (queue_.size() >= capacity_ || lost_pending_ > 0) {
        ++lost_pending_;
        ++lost_total_;
        ++hub_.lost_;
        return;
    }
    queue_.push_back(record);
    if (idle && wake_) wake_();
}

void Hub::publish(const RecordPtr& record) {
    history_.push(record);
    for (Subscription* subscription : subscriptions_)
        subscription->offer(record);
}

std::unique_ptr<Subscription> Hub::subscribe(Filter filter, size_t queue_capacity) {
    auto subscription = std::unique_ptr<Subscription>(
        new Subscription(*this, std::move(filter), std::max<size_t>(queue_capacity, 1)));
    subscriptions_.push_back(subscription.get());
    return subscription;
}

}  // namespace weir::flow
