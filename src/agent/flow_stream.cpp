// SPDX-License-Identifier: Apache-2.0
#include "agent/flow_stream.h"

#include <chrono>

namespace weir::api {
namespace {

class FlowLines : public LineSource {
  public:
    FlowLines(std::string node_name, std::vector<flow::RecordPtr> history,
              std::unique_ptr<flow::Subscription> subscription)
        : node_name_(std::move(node_name)),
          history_(std::move(history)),
          subscription_(std::move(subscription)) {}

    State pull(std::string& out, size_t limit) override {
        while (out.size() < limit) {
            const flow::RecordPtr record = next();
            if (!record) return subscription_ ? State::kWait : State::kEnd;
            out += flow::to_json(*record, node_name_);
            out += '\n';
        }
        return State::kMore;
    }

    void on_ready(std::function<void()> wake) override {
        if (subscription_) subscription_->on_ready(std::move(wake));
    }

  private:
    flow::RecordPtr next() {
        if (sent_ < history_.size()) return std::move(history_[sent_++]);
        return subscription_ ? subscription_->next() : nullptr;
    }

    std::string node_name_;
    std::vector<flow::RecordPtr> history_;
    size_t sent_ = 0;
    std::unique_ptr<flow::Subscription> subscription_;
};

}  // namespace

Result<std::unique_ptr<LineSource>> flow_stream(flow::Hub& hub, const std::string& node_name,
                                                const Request& request) {
    const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    const flow::Query query = WEIR_TRY(flow::Query::parse(request.query, now.count()));
    std::unique_ptr<flow::Subscription> subscription;
    if (query.follow) subscription = hub.subscribe(query.filter, kFlowQueue);
    return std::make_unique<FlowLines>(node_name, hub.history().find(query),
                                       std::move(subscription));
}

}  // namespace weir::api
