// SPDX-License-Identifier: Apache-2.0
#include "policy/compiler.h"

#include <algorithm>
#include <iterator>

namespace weir::policy {
namespace {

void append(std::vector<model::PolicyWrite>& out, std::vector<model::PolicyWrite>&& more) {
    std::ranges::move(more, std::back_inserter(out));
}

}  // namespace

Compiler::Compiler(const Capacities& capacities, uint32_t epoch)
    : capacities_(capacities),
      epoch_(epoch),
      sets_(std::min(capacities.sets, 65536U)),
      cells_(capacities.cells),
      rules_(capacities.rules),
      set_numbers_(std::min(capacities.sets, 65536U), WEIR_POLICY_SET_CLOSED),
      slots_(capacities.slots),
      counters_(capacities.counters) {}

/// Two rules, one a direction, that deny everybody.
void Compiler::make_closed_set(Draft& draft) {
    if (std::exchange(closed_set_written_, true)) return;
    SetState set;
    weir_policy_set abi{};
    for (const Direction direction : kDirections) {
        const auto number = static_cast<uint16_t>(set.rules.rules.size());
        set.rules.rules.push_back({.kind = RuleOrigin::Kind::kClosed,
                                   .direction = direction,
                                   .action = WEIR_POLICY_DENY,
                                   .tier = WEIR_POLICY_ADMIN});
        std::vector<Match> all;
        for (const Portion portion :
             {Portion::kTcp, Portion::kUdp, Portion::kSctp, Portion::kOther})
            all.push_back({.tier = WEIR_POLICY_ADMIN, .portion = portion, .rule = number});
        const size_t d = index_of(direction);
        set.wildcard[d] = cells_.acquire(build_cells(all), draft.build);
        abi.wildcard[d] = cells_.row(set.wildcard[d]);
    }
    if (!place_rules(set, draft)) return;
    abi.rules = set.rules_first;
    abi.rule_count = static_cast<uint32_t>(set.rules.rules.size());
    draft.build.emplace_back(model::PolicySetPut{.index = WEIR_POLICY_SET_CLOSED, .value = abi});
    sets_[WEIR_POLICY_SET_CLOSED] = std::make_unique<SetState>(std::move(set));
}

model::PolicyTransaction Compiler::flush() {
    Draft draft;
    make_closed_set(draft);
    // What keeps IPv6 ranges away from IPv4 has room before any of them.
    if (prefixes_.empty()) settle_prefix(IpPrefix::make(IpAddress::v4(0), 0).value(), draft);
    settle_endpoints(draft);
    settle_addresses(draft);
    return finish(std::move(draft));
}

model::PolicyTransaction Compiler::grace_elapsed(uint64_t token) {
    Draft draft;
    for (; !batches_.empty() && batches_.front().token <= token; batches_.pop_front()) {
        const Batch& batch = batches_.front();
        for (const uint16_t set : batch.sets) {
            if (sets_[set] != nullptr && sets_[set]->holders == 0 &&
                sets_[set]->retired == batch.token)
                free_set(set, &draft.removals, draft);
        }
        for (const uint32_t id : batch.identities) {
            Identity& identity = identities_.at(id);
            if (identity.holders != 0 || identity.retired != batch.token) continue;
            for (const IdentityRow& row : identity.rows)
                erase_row(id, row, draft.removals);
            identities_.erase(id);
        }
        std::ranges::for_each(batch.slots, [&](uint32_t slot) { slots_.release(slot); });
        room_made_ = true;
    }
    settle_addresses(draft);
    return finish(std::move(draft));
}

/// Removals first: their numbers may be used again right away. Endpoints that are closed are so
/// before any address changes, since rows for it may be missing; all others change last.
model::PolicyTransaction Compiler::finish(Draft draft) {
    bump_touched(draft);
    std::vector<model::PolicyWrite> closings;
    std::vector<model::PolicyWrite> flips;
    for (const uint32_t id : draft.flipped) {
        const auto it = endpoints_.find(id);
        if (it == endpoints_.end()) continue;
        auto& list = it->second.set == WEIR_POLICY_SET_CLOSED ? closings : flips;
        list.emplace_back(model::PolicyEndpointStore{.endpoint = id, .word = it->second.word});
    }
    model::PolicyTransaction out{.writes = std::move(draft.removals),
                                 .counters = std::exchange(counter_changes_, {})};
    append(out.writes, std::move(draft.build));
    append(out.writes, std::move(closings));
    append(out.writes, std::move(draft.switches));
    append(out.writes, std::move(flips));
    Batch& left = draft.left;
    if (left.sets.empty() && left.identities.empty() && left.slots.empty()) return out;
    left.token = out.grace = ++last_token_;
    batches_.push_back(std::move(left));
    return out;
}

uint64_t Compiler::word_of(uint32_t endpoint) const {
    const auto it = endpoints_.find(endpoint);
    return it == endpoints_.end() ? 0 : it->second.word;
}

bool Compiler::knows(uint32_t endpoint) const {
    const auto it = endpoints_.find(endpoint);
    return it != endpoints_.end() && pod_of(it->second.endpoint) != nullptr;
}

const RuleOrigin* Compiler::rule(uint32_t set, uint16_t number) const {
    if (set >= sets_.size() || sets_[set] == nullptr) return nullptr;
    const auto& rules = sets_[set]->rules.rules;
    return number < rules.size() ? &rules[number] : nullptr;
}

uint32_t Compiler::counter(uint32_t set, uint16_t number) const {
    if (set >= sets_.size() || sets_[set] == nullptr) return 0;
    const auto& counters = sets_[set]->counters;
    return number < counters.size() ? counters[number] : 0;
}

std::string Compiler::closed_reason(uint32_t endpoint) const {
    const auto it = endpoints_.find(endpoint);
    return it == endpoints_.end() ? std::string() : it->second.closed;
}

uint16_t Compiler::audit_of(uint32_t set) const {
    return set < sets_.size() && sets_[set] != nullptr ? sets_[set]->audit : uint16_t{0};
}

std::vector<Problem> Compiler::problems() const {
    std::vector<Problem> out;
    for (const auto& [ns, policies] : policies_) {
        for (const auto& [name, policy] : policies) {
            for (const std::string& text : policy->problems)
                out.push_back({policy->title(), text});
        }
    }
    for (const auto& [id, state] : endpoints_) {
        if (!state.closed.empty())
            out.push_back({"Pod " + state.endpoint.pod.to_string(),
                           "nothing passes in or out: " + state.closed});
        if (!state.unaudited.empty())
            out.push_back(
                {"Pod " + state.endpoint.pod.to_string(),
                 "policies in audit mode do not show all they would deny: " + state.unaudited});
    }
    return out;
}

std::vector<TableUse> Compiler::usage() const {
    return {{"addrs", addr_count_, capacities_.addrs},
            {"cidrs", static_cast<uint32_t>(prefixes_.size()), capacities_.cidrs},
            {"slots", slots_.in_use(), slots_.capacity()},
            {"rows", row_count_, capacities_.rows},
            {"cells", cells_.ranges().in_use(), cells_.ranges().capacity()},
            {"rules", rules_.in_use(), rules_.capacity()},
            {"sets", set_numbers_.in_use(), set_numbers_.capacity()},
            {"counters", counters_.in_use(), counters_.capacity()}};
}

}  // namespace weir::policy
