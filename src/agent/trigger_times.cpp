// SPDX-License-Identifier: Apache-2.0
#include "agent/trigger_times.h"

#include "common/rfc3339.h"

namespace weir::agent {
std::vector<TriggerTimes::Time> TriggerTimes::update(
    const model::ObjectName& service, std::span<const model::EndpointSlice* const> slices) {
    static const model::Text kAnnotation("endpoints.kubernetes.io/last-change-trigger-time");
    std::vector<Time> out;
    std::map<model::ObjectName, model::Text> now;
    auto& before = seen_[service];
    for (const model::EndpointSlice* slice : slices) {
        const auto stamp = slice->meta.annotations.find(kAnnotation);
        if (stamp == slice->meta.annotations.end()) continue;
        now[slice->meta.name] = stamp->second;
        const auto old = before.find(slice->meta.name);
        if (old != before.end() && old->second == stamp->second) continue;
        const auto time = parse_rfc3339(stamp->second);
        if (time && *time >= start_) out.push_back(*time);
    }
    if (now.empty()) {
        seen_.erase(service);
    } else {
        before = std::move(now);
    }
    return out;
}

}  // namespace weir::agent
