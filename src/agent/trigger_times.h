// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/types.h"

namespace weir::agent {

/// When the cluster noticed the changes that EndpointSlices tell of (annotation
/// endpoints.kubernetes.io/last-change-trigger-time), each told once: what the latency of network
/// programming is measured from. What was stamped before the start is nobody's latency. One thread.
class TriggerTimes {
  public:
    using Time = std::chrono::system_clock::time_point;
    explicit TriggerTimes(Time start) : start_(start) {}

    /// The slices of a Service as they are now; returns the stamps that are new.
    std::vector<Time> update(const model::ObjectName& service,
                             std::span<const model::EndpointSlice* const> slices);

  private:
    Time start_;
    /// The last stamp of each slice of each Service.
    std::unordered_map<model::ObjectName, std::map<model::ObjectName, model::Text>> seen_;
};

}  // namespace weir::agent
