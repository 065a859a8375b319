// SPDX-License-Identifier: Apache-2.0
#include "agent/policy_shadows.h"

#include <algorithm>
#include <map>
#include <utility>

#include "agent/policies_by_pod.h"
#include "policy/explain.h"

namespace weir::agent {
namespace {

std::string rule_text(const policy::PolicyPtr& policy, policy::Direction direction,
                      uint32_t index) {
    return fmt::format("{} {}[{}]", policy->title(), policy::to_string(direction), index);
}

}  // namespace

std::vector<api::ShadowedRule> shadowed_rules(std::vector<PoliciesOfPod> pods) {
    std::map<std::vector<policy::PolicyPtr>, std::vector<std::string>> by_policies;
    for (PoliciesOfPod& one : pods)
        by_policies[std::move(one.policies)].push_back(std::move(one.pod));
    std::map<std::pair<std::string, std::string>, std::vector<std::string>> found;
    for (const auto& [policies, names] : by_policies) {
        for (const policy::Shadowed& one : policy::shadowed(policies)) {
            auto& of = found[{rule_text(one.policy, one.direction, one.index),
                              rule_text(one.by, one.direction, one.by_index)}];
            of.insert(of.end(), names.begin(), names.end());
        }
    }
    std::vector<api::ShadowedRule> out;
    for (auto& [rules, names] : found) {
        std::ranges::sort(names);
        out.push_back({.rule = rules.first, .by = rules.second, .pods = std::move(names)});
    }
    return out;
}

std::vector<api::ShadowedRule> shadowed_rules(const kube::Store& store) {
    const Policies policies(store);
    std::vector<PoliciesOfPod> pods;
    store.for_each<model::Pod>([&](const model::Pod& pod) {
        if (pod.host_network || pod.finished()) return;
        pods.push_back({pod.meta.name.to_string(), policies.of(pod)});
    });
    return shadowed_rules(std::move(pods));
}

}  // namespace weir::agent
