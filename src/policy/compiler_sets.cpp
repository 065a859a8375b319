// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include "policy/compiler.h"

namespace weir::policy {
namespace {

/// Equal for sets with equal rows: the same policies, and the same numbers for their names.
/// Policies are told by their address: a set keeps its own alive, and the set it names.
std::string key_of(const std::vector<PolicyPtr>& policies, const std::vector<NamedPort>& resolved,
                   uint16_t audit) {
    std::string key = fmt::format("{}:", audit);
    for (const PolicyPtr& policy : policies)
        key += fmt::format("{},", static_cast<const void*>(policy.get()));
    for (const NamedPort& port : resolved)
        key += fmt::format("{}/{}={},", port.name, static_cast<int>(port.protocol), port.number);
    return key;
}

bool in_audit(const std::vector<PolicyPtr>& policies) {
    return std::ranges::any_of(policies, [](const PolicyPtr& policy) { return policy->audit; });
}

}  // namespace

std::vector<PolicyPtr> Compiler::select(const model::Pod& pod) const {
    std::vector<PolicyPtr> out;
    const model::ObjectName& name = pod.meta.name;
    for (const model::Text& ns : {model::Text(), name.ns}) {
        const auto it = policies_.find(ns);
        if (it == policies_.end()) continue;
        for (const auto& [key, policy] : it->second) {
            if (policy->subject.matches(name, pod.meta.labels, labels_of(name.ns)))
                out.push_back(policy);
        }
    }
    std::ranges::sort(out, [](const auto& a, const auto& b) { return precedes(*a, *b); });
    return out;
}

std::vector<PolicyPtr> Compiler::policies_of(uint32_t endpoint) const {
    const auto it = endpoints_.find(endpoint);
    const PodState* pod = it == endpoints_.end() ? nullptr : pod_of(it->second.endpoint);
    return pod == nullptr ? std::vector<PolicyPtr>() : select(pod->pod);
}

uint16_t Compiler::flags_of(const model::ObjectName& pod) const {
    const auto it = namespaces_.find(pod.ns);
    if (it == namespaces_.end()) return 0;
    const model::Labels& annotations = it->second.annotations;
    unsigned flags = 0;
    if (annotations.get(kAuditAnnotation) == "true") flags |= WEIR_POLICY_WORD_AUDIT;
    if (annotations.get(kDenyAnnotation) == "reject") flags |= WEIR_POLICY_WORD_REJECT;
    return static_cast<uint16_t>(flags);
}

void Compiler::settle_endpoints(Draft& draft) {
    if (std::exchange(room_made_, false)) {
        for (const auto& [id, state] : endpoints_) {
            if (!state.closed.empty() || !state.unaudited.empty()) dirty_endpoints_.insert(id);
        }
    }
    // Always: a set made by now may be one that has to tell them apart.
    dirty_addresses_.insert(starved_.begin(), starved_.end());
    dirty_ranges_.insert(starved_ranges_.begin(), starved_ranges_.end());
    for (const uint16_t set : std::exchange(leaving_, {}))
        leave_set(set, draft);
    for (const uint32_t id : std::exchange(dirty_endpoints_, {}))
        settle(endpoints_.at(id), draft);
}

void Compiler::settle(EndpointState& state, Draft& draft) {
    const PodState* pod = pod_of(state.endpoint);
    const uint16_t flags = flags_of(state.endpoint.pod);
    state.closed.clear();
    state.unaudited.clear();
    if (pod == nullptr) {
        state.closed = "its Pod is not known yet; it is let in and out once the API shows it";
        return assign(state, WEIR_POLICY_SET_CLOSED, flags, draft);
    }
    const auto set = set_for(state, pod->pod, draft);
    if (!set) state.closed = set.error().message();
    assign(state, set.value_or(WEIR_POLICY_SET_CLOSED), flags, draft);
}

Result<uint16_t> Compiler::set_for(EndpointState& state, const model::Pod& pod, Draft& draft) {
    const auto policies = select(pod);
    if (in_audit(policies)) return audited_set(policies, state, pod, draft);
    if (policies.empty()) return uint16_t{WEIR_POLICY_SET_NONE};
    return find_or_make_set(policies, 0, pod, draft);
}

/// What decides comes first: want of room for the audit closes nobody.
Result<uint16_t> Compiler::audited_set(const std::vector<PolicyPtr>& policies, EndpointState& state,
                                       const model::Pod& pod, Draft& draft) {
    std::vector<PolicyPtr> enforced;
    std::ranges::copy_if(policies, std::back_inserter(enforced),
                         [](const PolicyPtr& policy) { return !policy->audit; });
    uint16_t all = find_set(policies, 0, pod);
    const uint16_t known = all == 0 ? uint16_t{0} : find_set(enforced, all, pod);
    if (known != 0) return known;
    uint16_t plain = WEIR_POLICY_SET_NONE;
    if (!enforced.empty()) plain = WEIR_TRY(find_or_make_set(enforced, 0, pod, draft));
    uint16_t chosen = plain;
    if (const auto made = find_or_make_set(policies, 0, pod, draft)) {
        all = *made;
        const auto both = find_or_make_set(enforced, all, pod, draft);
        both ? void(chosen = *both) : void(state.unaudited = both.error().message());
    } else {
        state.unaudited = made.error().message();
    }
    retire_unheld(all, draft);
    retire_unheld(plain, draft);
    return chosen;
}

void Compiler::assign(EndpointState& state, uint16_t set, uint16_t flags, Draft& draft) {
    if (set > WEIR_POLICY_SET_CLOSED && set != state.set) hold_set(set);
    const uint64_t same = WEIR_POLICY_WORD(set, flags, WEIR_POLICY_WORD_EPOCH(state.word));
    if (state.word != 0 && same == state.word) return;
    const uint16_t before = std::exchange(state.set, set);
    state.word = WEIR_POLICY_WORD(set, flags, epoch_++);
    draft.flipped.insert(state.endpoint.id);
    if (before != set && before > WEIR_POLICY_SET_CLOSED) leave_set(before, draft);
}

void Compiler::hold_set(uint16_t number) {
    ++sets_[number]->holders;
    sets_[number]->retired = 0;
}

void Compiler::leave_set(uint16_t number, Draft& draft) {
    --sets_[number]->holders;
    retire_unheld(number, draft);
}

/// Who holds it again meanwhile keeps it.
void Compiler::retire_unheld(uint16_t number, Draft& draft) {
    if (number <= WEIR_POLICY_SET_CLOSED || sets_[number]->holders > 0) return;
    sets_[number]->retired = last_token_ + 1;
    draft.left.sets.push_back(number);
}

void Compiler::close(uint16_t number, const std::string& why, Draft& draft) {
    SetState& set = *sets_[number];
    if (!set.failed.empty()) return;
    set.failed = why;
    set_by_key_.erase(set.key);
    for (auto& [id, state] : endpoints_) {
        if (sets_[state.set] != nullptr && sets_[state.set]->audit == number) state.unaudited = why;
        if (state.set != number) continue;
        state.closed = why;
        assign(state, WEIR_POLICY_SET_CLOSED, flags_of(state.endpoint.pod), draft);
    }
}

Result<void> Compiler::check_quota(const std::vector<PolicyPtr>& policies) const {
    for (const PolicyPtr& policy : policies) {
        std::set<IpPrefix> cidrs;
        for (const auto& rules : policy->rules) {
            for (const Rule& rule : rules) {
                for (const Atom& atom : rule.peers) {
                    if (atom.kind != Atom::Kind::kBlock) continue;
                    cidrs.insert(atom.block);
                    cidrs.insert(atom.except.begin(), atom.except.end());
                }
            }
        }
        if (cidrs.size() <= capacities_.cidrs_per_policy) continue;
        return fail(Errc::kExhausted, "{} names {} CIDRs; a policy may name {}: split it",
                    policy->title(), cidrs.size(), capacities_.cidrs_per_policy);
    }
    return {};
}

uint16_t Compiler::find_set(const std::vector<PolicyPtr>& policies, uint16_t audit,
                            const model::Pod& pod) const {
    const auto it = set_by_key_.find(key_of(policies, resolve_names(policies, pod.ports), audit));
    return it == set_by_key_.end() ? uint16_t{0} : it->second;
}

Result<uint16_t> Compiler::find_or_make_set(const std::vector<PolicyPtr>& policies, uint16_t audit,
                                            const model::Pod& pod, Draft& draft) {
    if (const uint16_t found = find_set(policies, audit, pod); found != 0) return found;
    WEIR_CHECK(check_quota(policies));
    const auto resolved = resolve_names(policies, pod.ports);
    return make_set(policies, resolved, audit, key_of(policies, resolved, audit), draft);
}

Result<uint16_t> Compiler::make_set(const std::vector<PolicyPtr>& policies,
                                    const std::vector<NamedPort>& resolved, uint16_t audit,
                                    std::string key, Draft& draft) {
    const auto number = static_cast<uint16_t>(set_numbers_.allocate());
    if (number == 0) {
        return fail(Errc::kExhausted, "the table of policy sets is full: {} of {}",
                    set_numbers_.in_use(), set_numbers_.capacity());
    }
    TermChange change;
    auto rules = make_rule_set(policies, resolved, terms_, change);
    mark(change);
    if (!rules) {
        set_numbers_.release(number);
        return Failure(std::move(rules).error());
    }
    sets_[number] = std::make_unique<SetState>();
    sets_[number]->key = std::move(key);
    sets_[number]->rules = *std::move(rules);
    sets_[number]->audit = audit;
    if (audit != 0) hold_set(audit);
    for (const TermId term : sets_[number]->rules.terms())
        sets_with_[term].push_back(number);
    const size_t mark = draft.build.size();
    if (auto filled = fill_set(number, draft); !filled) {
        draft.build.resize(mark);
        free_set(number, nullptr, draft);
        return Failure(std::move(filled).error());
    }
    set_by_key_[sets_[number]->key] = number;
    return number;
}

Result<void> Compiler::fill_set(uint16_t number, Draft& draft) {
    SetState& set = *sets_[number];
    weir_policy_set abi{.audit = set.audit};
    for (const Direction direction : kDirections) {
        const size_t d = index_of(direction);
        set.wildcard[d] = cells_.acquire(build_cells(set.rules.anybody[d]), draft.build);
        if (set.wildcard[d] == 0) {
            return fail(Errc::kExhausted, "the table of policy cells has no room: {} of {} used",
                        cells_.ranges().in_use(), cells_.ranges().capacity());
        }
        abi.wildcard[d] = cells_.row(set.wildcard[d]);
    }
    WEIR_CHECK(place_rules(set, draft));
    abi.rules = set.rules_first;
    abi.rule_count = static_cast<uint32_t>(set.rules.rules.size());
    draft.build.emplace_back(model::PolicySetPut{.index = number, .value = abi});
    for (const TermId term : set.rules.terms()) {
        for (const uint32_t identity : identities_.with(term))
            WEIR_CHECK(make_row(number, identity, draft));
    }
    return {};
}

Result<void> Compiler::place_rules(SetState& set, Draft& draft) {
    const auto count = static_cast<uint32_t>(set.rules.rules.size());
    set.rules_first = rules_.allocate(count);
    if (set.rules_first == 0) {
        return fail(Errc::kExhausted, "the table of policy rules has no room: {} of {}, {} needed",
                    rules_.in_use(), rules_.capacity(), count);
    }
    const bool audit = in_audit(set.rules.policies);
    std::vector<uint64_t> words;
    for (const RuleOrigin& origin : set.rules.rules) {
        set.counters.push_back(counter_of(origin, audit));
        words.push_back(WEIR_POLICY_RULE(origin.action, set.counters.back()));
    }
    draft.build.emplace_back(
        model::PolicyRulesPut{.first = set.rules_first, .words = std::move(words)});
    return {};
}

/// Sets that hold the same rule of the same policy share its counter, apart from what is only
/// audited. 0: not counted, for want of room.
uint32_t Compiler::counter_of(const RuleOrigin& origin, bool audit) {
    const model::Text uid = origin.policy == nullptr ? model::Text() : origin.policy->uid;
    const std::string key = fmt::format("{} {} {}", origin.to_string(), uid, audit);
    const auto [it, fresh] = counter_by_key_.try_emplace(key, 0);
    if (fresh) it->second = counters_.allocate();
    if (it->second == 0) {
        counter_by_key_.erase(it);
        return 0;
    }
    if (fresh) counter_changes_.push_back({it->second, key});
    Counter& counter = counter_use_[it->second];
    if (counter.references++ == 0) counter.key = key;
    return it->second;
}

void Compiler::unuse_counter(uint32_t number) {
    const auto it = counter_use_.find(number);
    if (it == counter_use_.end() || --it->second.references > 0) return;
    counter_by_key_.erase(it->second.key);
    counter_use_.erase(it);
    counters_.release(number);
    counter_changes_.push_back({number, {}});
}

void Compiler::free_set(uint16_t number, std::vector<model::PolicyWrite>* removals, Draft& draft) {
    SetState& set = *sets_[number];
    std::vector<model::PolicyWrite> unwritten;
    for (const TermId term : set.rules.terms()) {
        std::erase(sets_with_[term], number);
        if (sets_with_[term].empty()) sets_with_.erase(term);
        for (const uint32_t identity : identities_.with(term)) {
            auto& rows = identities_.at(identity).rows;
            const auto row = std::ranges::lower_bound(rows, number, {}, &IdentityRow::set);
            if (row == rows.end() || row->set != number) continue;
            erase_row(identity, *row, removals != nullptr ? *removals : unwritten);
            rows.erase(row);
        }
    }
    for (const uint32_t block : set.wildcard)
        if (block != 0) cells_.release(block);
    if (set.rules_first != 0)
        rules_.release(set.rules_first, static_cast<uint32_t>(set.rules.rules.size()));
    std::ranges::for_each(set.counters, [&](uint32_t counter) { unuse_counter(counter); });
    TermChange change;
    for (const RuleSet::TermUse& use : set.rules.uses)
        terms_.release(use.term, use.names, change);
    mark(change);
    const auto keyed = set_by_key_.find(set.key);
    if (keyed != set_by_key_.end() && keyed->second == number) set_by_key_.erase(keyed);
    if (set.audit != 0) leave_set(set.audit, draft);
    sets_[number].reset();
    set_numbers_.release(number);
}

void Compiler::bump_touched(Draft& draft) {
    for (auto& [id, state] : endpoints_) {
        if (draft.flipped.contains(id) || !draft.touched.contains(state.set)) continue;
        const uint16_t flags = WEIR_POLICY_WORD_FLAGS(state.word);
        state.word = WEIR_POLICY_WORD(state.set, flags, epoch_++);
        draft.flipped.insert(id);
    }
}

}  // namespace weir::policy
