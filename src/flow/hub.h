// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "flow/filter.h"
#include "flow/record.h"

namespace weir::flow {

/// The newest records, a fixed number of them.
class History {
  public:
    explicit History(size_t capacity);
    void push(RecordPtr record);
    /// Those that match, oldest first; the newest `query.last` of them if that is set.
    [[nodiscard]] std::vector<RecordPtr> find(const Query& query) const;
    [[nodiscard]] size_t size() const { return full_ ? ring_.size() : next_; }
    [[nodiscard]] size_t capacity() const { return ring_.size(); }

  private:
    std::vector<RecordPtr> ring_;
    size_t next_ = 0;
    bool full_ = false;
};

class Hub;

/// One reader's bounded queue. A reader that is too slow loses the newest records and reads how
/// many at the place where they are missing. Unsubscribes on destruction; must not outlive the Hub.
class Subscription {
  public:
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;
    ~Subscription();

    /// The next record, null if there is none now.
    RecordPtr next();
    /// `wake` is called when a record arrives in an empty queue, on the thread of publish(). It
    /// must not publish, subscribe or destroy a subscription.
    void on_ready(std::function<void()> wake) { wake_ = std::move(wake); }
    [[nodiscard]] uint64_t lost() const { return lost_total_; }

  private:
    friend class Hub;
    Subscription(Hub& hub, Filter filter, size_t capacity)
        : hub_(hub), filter_(std::move(filter)), capacity_(capacity) {}
    void offer(const RecordPtr& record);

    Hub& hub_;
    Filter filter_;
    size_t capacity_;
    std::deque<RecordPtr> queue_;
    uint64_t lost_pending_ = 0;
    uint64_t lost_total_ = 0;
    std::function<void()> wake_;
};

/// Where records go: the history and every subscriber. One thread.
class Hub {
  public:
    explicit Hub(size_t history_capacity) : history_(history_capacity) {}
    void publish(const RecordPtr& record);
    [[nodiscard]] std::unique_ptr<Subscription> subscribe(Filter filter, size_t queue_capacity);
    [[nodiscard]] const History& history() const { return history_; }
    [[nodiscard]] size_t subscribers() const { return subscriptions_.size(); }
    /// Records that any subscriber lost since the start.
    [[nodiscard]] uint64_t lost() const { return lost_; }

  private:
    friend class Subscription;
    History history_;
    std::vector<Subscription*> subscriptions_;
    uint64_t lost_ = 0;
};

}  // namespace weir::flow
