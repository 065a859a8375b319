// SPDX-License-Identifier: Apache-2.0
#include "lb/planner.h"

#include <algorithm>

namespace weir::lb {

std::vector<std::string> Planner::update(const model::Service& service, Slices slices,
                                         Changes& changes) {
    CompiledService compiled = compile(service, slices, node_);
    std::vector<uint64_t> now;
    now.reserve(compiled.plans.size());
    for (const ServicePortPlan& plan : compiled.plans)
        now.push_back(plan.id);
    if (const auto before = ports_.find(service.meta.name); before != ports_.end()) {
        std::ranges::copy_if(before->second, std::back_inserter(changes.removed),
                             [&](uint64_t id) { return std::ranges::find(now, id) == now.end(); });
    }
    if (now.empty()) {
        ports_.erase(service.meta.name);
    } else {
        ports_[service.meta.name] = std::move(now);
    }
    std::ranges::move(compiled.plans, std::back_inserter(changes.upserts));
    return std::move(compiled.warnings);
}

void Planner::remove(const model::ObjectName& service, Changes& changes) {
    const auto it = ports_.find(service);
    if (it == ports_.end()) return;
    std::ranges::copy(it->second, std::back_inserter(changes.removed));
    ports_.erase(it);
}

}  // namespace weir::lb
