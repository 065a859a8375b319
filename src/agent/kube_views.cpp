// SPDX-License-Identifier: Apache-2.0
#include "agent/kube_views.h"

#include "common/rfc3339.h"

namespace weir::agent {
namespace {

std::string_view state_word(const kube::api::KindState& state) {
    if (state.absent) return "absent";
    return state.connected ? "watching" : "disconnected";
}

}  // namespace

std::vector<api::KindState> kind_states(const kube::api::ApiSource& source) {
    const auto now = std::chrono::steady_clock::now();
    std::vector<api::KindState> out;
    for (const auto& state : source.states()) {
        out.push_back({.kind = std::string(to_string(state.kind)),
                       .state = std::string(state_word(state)),
                       .since = rfc3339(state.since),
                       .synced = state.synced,
                       .silent_seconds = state.silent_seconds(now),
                       .lag_seconds = state.lag.count(),
                       .resource_version = state.resource_version,
                       .lists = state.lists,
                       .watches = state.watches,
                       .events = state.events,
                       .bytes = state.bytes,
                       .failures = state.failures,
                       .refused = state.refused,
                       .error = state.error});
    }
    return out;
}

api::Leader leader_of(const kube::api::ApiSource& source) {
    const auto state = source.leadership();
    return {.node = state.holder,
            .self = state.self,
            .since = state.holder.empty() ? "" : rfc3339(state.since),
            .transitions = static_cast<uint64_t>(state.transitions),
            .error = state.error};
}

}  // namespace weir::agent
