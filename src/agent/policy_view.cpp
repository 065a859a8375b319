// SPDX-License-Identifier: Apache-2.0
#include "agent/policy_view.h"

#include <algorithm>

#include "agent/policy_shadows.h"
#include "common/rfc3339.h"
#include "weir/maps.h"

namespace weir::agent {
namespace {

std::string tier_text(weir_policy_tier tier) {
    switch (tier) {
        case WEIR_POLICY_ADMIN:
            return "admin";
        case WEIR_POLICY_BASELINE:
            return "baseline";
        default:
            return "network";
    }
}

std::string action_text(weir_policy_action action) {
    switch (action) {
        case WEIR_POLICY_ACCEPT:
            return "accept";
        case WEIR_POLICY_PASS:
            return "pass";
        default:
            return "deny";
    }
}

std::string name_of(const LocalPod& pod) {
    const ipam::Record& record = pod.record;
    return record.pod_name.empty() ? record.key.to_string()
                                   : record.pod_namespace + "/" + record.pod_name;
}

api::Policy describe(const policy::Policy& policy) {
    return {.kind = policy.name.ns.empty() ? "ClusterNetworkPolicy" : "NetworkPolicy",
            .ns = policy.name.ns.str(),
            .name = policy.name.name.str(),
            .tier = tier_text(policy.tier),
            .priority = policy.priority,
            .audit = policy.audit};
}

std::string_view what_of(std::string_view map) {
#define WEIR_MAP(name, text) \
    if (map == #name) return text;
    WEIR_POLICY_MAP_LIST(WEIR_MAP)
#undef WEIR_MAP
    return "";
}

std::string state_text(uint64_t word) {
    switch (WEIR_POLICY_WORD_SET(word)) {
        case WEIR_POLICY_SET_NONE:
            return "open";
        case WEIR_POLICY_SET_CLOSED:
            return "closed";
        default:
            return (WEIR_POLICY_WORD_FLAGS(word) & WEIR_POLICY_WORD_AUDIT) != 0 ? "audit"
                                                                                : "enforced";
    }
}

}  // namespace

Result<api::PolicyRule> PolicyView::rule(uint16_t set, uint16_t number) const {
    const auto& compiler = *policing_.compiler();
    const policy::RuleOrigin& origin = *compiler.rule(set, number);
    const auto hits = WEIR_TRY(policing_.hits(compiler.counter(set, number)));
    return api::PolicyRule{.direction = std::string(policy::to_string(origin.direction)),
                           .rule = origin.to_string(),
                           .tier = tier_text(origin.tier),
                           .action = action_text(origin.action),
                           .hits = hits.flows,
                           .since = hits.since == PolicyHits::Time{} ? "" : rfc3339(hits.since),
                           .last = hits.last ? rfc3339(*hits.last) : ""};
}

Result<std::vector<api::PolicyRule>> PolicyView::denying(uint16_t set) const {
    const auto& compiler = *policing_.compiler();
    std::vector<api::PolicyRule> out;
    for (uint16_t number = 0; compiler.rule(set, number) != nullptr; ++number) {
        if (compiler.rule(set, number)->action == WEIR_POLICY_DENY)
            out.push_back(WEIR_TRY(rule(set, number)));
    }
    return out;
}

Result<std::vector<api::PodPolicy>> PolicyView::pods() const {
    std::vector<api::PodPolicy> out;
    const auto* compiler = policing_.compiler();
    if (compiler == nullptr) return out;
    for (const LocalPod& local : pods_.all()) {
        const uint64_t word = compiler->word_of(local.endpoint);
        api::PodPolicy pod{.ns = local.record.pod_namespace,
                           .name = local.record.pod_name,
                           .state = state_text(word),
                           .reason = compiler->closed_reason(local.endpoint)};
        const bool reject = (WEIR_POLICY_WORD_FLAGS(word) & WEIR_POLICY_WORD_REJECT) != 0;
        pod.deny = reject ? "reject" : "drop";
        for (const auto& policy : compiler->policies_of(local.endpoint))
            pod.policies.push_back(policy->title());
        const uint16_t set = WEIR_POLICY_WORD_SET(word);
        if (set > WEIR_POLICY_SET_CLOSED) {
            for (uint16_t number = 0; compiler->rule(set, number) != nullptr; ++number)
                pod.rules.push_back(WEIR_TRY(rule(set, number)));
            if (compiler->audit_of(set) != 0)
                pod.would_deny = WEIR_TRY(denying(compiler->audit_of(set)));
        }
        out.push_back(std::move(pod));
    }
    return out;
}

std::vector<api::ShadowedRule> PolicyView::shadowed() const {
    std::vector<PoliciesOfPod> pods;
    const auto* compiler = policing_.compiler();
    if (compiler == nullptr) return {};
    for (const LocalPod& local : pods_.all())
        pods.push_back({name_of(local), compiler->policies_of(local.endpoint)});
    return shadowed_rules(std::move(pods));
}

PolicyView::ByTitle PolicyView::known() const {
    ByTitle out;
    const auto enter = [&](const auto& object) {
        const policy::Policy policy = policy::normalise(object);
        out.emplace(policy.title(), describe(policy));
    };
    store_.for_each<model::NetworkPolicy>(enter);
    store_.for_each<model::ClusterNetworkPolicy>(enter);
    return out;
}

/// Sets share the counter of a rule that is in both.
Result<void> PolicyView::add_rules(uint16_t set, std::set<uint32_t>& counted, ByTitle& to) const {
    const auto& compiler = *policing_.compiler();
    for (uint16_t number = 0; compiler.rule(set, number) != nullptr; ++number) {
        const auto* origin = compiler.rule(set, number);
        if (origin->policy == nullptr) continue;
        const auto it = to.find(origin->policy->title());
        const uint32_t counter = compiler.counter(set, number);
        if (it == to.end() || (counter != 0 && !counted.insert(counter).second)) continue;
        it->second.rules.push_back(WEIR_TRY(rule(set, number)));
        it->second.hits += it->second.rules.back().hits;
    }
    return {};
}

/// What would be denied by rules of policies in audit mode. That a NetworkPolicy isolates is no
/// rule of its own: pods show that.
Result<void> PolicyView::add_audited(uint16_t set, std::set<uint32_t>& counted, ByTitle& to) const {
    const auto& compiler = *policing_.compiler();
    for (uint16_t number = 0; compiler.rule(set, number) != nullptr; ++number) {
        const auto* origin = compiler.rule(set, number);
        if (origin->policy == nullptr || !origin->policy->audit) continue;
        if (origin->action != WEIR_POLICY_DENY) continue;
        const auto it = to.find(origin->policy->title());
        const uint32_t counter = compiler.counter(set, number);
        if (it == to.end() || (counter != 0 && !counted.insert(counter).second)) continue;
        it->second.rules.push_back(WEIR_TRY(rule(set, number)));
        it->second.hits += it->second.rules.back().hits;
    }
    return {};
}

Result<std::vector<api::Policy>> PolicyView::policies() const {
    ByTitle by_title = known();
    const auto* compiler = policing_.compiler();
    std::set<uint16_t> sets;
    std::set<uint32_t> counted;
    for (const LocalPod& local : pods_.all()) {
        if (compiler == nullptr) break;
        for (const auto& policy : compiler->policies_of(local.endpoint)) {
            const auto it = by_title.find(policy->title());
            if (it != by_title.end()) it->second.pods.push_back(name_of(local));
        }
        const uint16_t set = WEIR_POLICY_WORD_SET(compiler->word_of(local.endpoint));
        if (set <= WEIR_POLICY_SET_CLOSED || !sets.insert(set).second) continue;
        WEIR_CHECK(add_rules(set, counted, by_title));
        if (const uint16_t audit = compiler->audit_of(set); audit != 0 && sets.insert(audit).second)
            WEIR_CHECK(add_audited(audit, counted, by_title));
    }
    std::vector<api::Policy> out;
    for (auto& [title, policy] : by_title) {
        std::ranges::sort(policy.pods);
        out.push_back(std::move(policy));
    }
    return out;
}

api::PolicyState PolicyView::state() const {
    api::PolicyState out{.policies = store_.count<model::NetworkPolicy>() +
                                     store_.count<model::ClusterNetworkPolicy>(),
                         .late = policing_.late_pods(),
                         .error = policing_.write_error()};
    const auto* compiler = policing_.compiler();
    if (compiler == nullptr) return out;
    for (const LocalPod& local : pods_.all()) {
        const uint16_t set = WEIR_POLICY_WORD_SET(compiler->word_of(local.endpoint));
        if (set == WEIR_POLICY_SET_CLOSED) ++out.closed;
    }
    for (const auto& use : compiler->usage()) {
        if (use.table == "sets") out.sets = use.used;
        const auto name =
            fmt::format("weir_policy_{}", use.table == "counters" ? "hits" : use.table);
        out.tables.push_back({.name = name,
                              .what = std::string(what_of(name)),
                              .entries = use.used,
                              .capacity = use.capacity,
                              .bytes = policing_.kernel_bytes(name)});
        out.kernel_bytes += out.tables.back().bytes;
    }
    return out;
}

}  // namespace weir::agent
