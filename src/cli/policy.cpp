// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <functional>
#include <tuple>

#include <boost/json.hpp>

#include "agent/policy_explain.h"
#include "agent/policy_shadows.h"
#include "cli/exit_code.h"
#include "cli/show.h"
#include "common/rfc3339.h"
#include "flow/filter.h"
#include "kube/endpoint_controller.h"
#include "kube/file_source.h"

namespace weir::cli {
namespace {

template <typename T>
Result<std::vector<T>> fetch(const Invocation& invocation, std::string_view path) {
    return api::list_from_json<T>(WEIR_TRY(invocation.client().get(path)));
}

std::string title(const api::Policy& policy) {
    return policy.kind + " " + full_name(policy);
}

Table policy_table(const std::vector<api::Policy>& policies) {
    Table table({{"NAMESPACE"},
                 {"NAME"},
                 {"KIND"},
                 {"TIER"},
                 {"PRIORITY", false, true},
                 {"AUDIT"},
                 {"PODS", false, true},
                 {"HITS", false, true}});
    for (const auto& policy : policies) {
        table.add({policy.ns, policy.name, policy.kind, policy.tier,
                   policy.tier == "network" ? "" : std::to_string(policy.priority),
                   policy.audit ? "yes" : "", std::to_string(policy.pods.size()),
                   std::to_string(policy.hits)});
    }
    return table;
}

Table rule_table(const std::vector<api::PolicyRule>& rules) {
    Table table({{"HITS", false, true}, {"TIER"}, {"ACTION"}, {"RULE"}});
    for (const auto& rule : rules)
        table.add({std::to_string(rule.hits), rule.tier, rule.action, rule.rule});
    return table;
}

std::string policy_text(const Invocation& invocation, const api::Policy& policy) {
    std::string text = title(policy) + "\n";
    text += fmt::format("Tier         {}\n", policy.tier);
    if (policy.tier != "network") text += fmt::format("Priority     {}\n", policy.priority);
    if (policy.audit) text += "Audit        it denies nothing, what it would deny is counted\n";
    text += fmt::format("Pods here    {}\n", policy.pods.empty() ? "-" : join(policy.pods, ", "));
    if (policy.rules.empty()) return text;
    return text + "\n" + rule_table(policy.rules).text(invocation.output);
}

std::string state_text(const api::PodPolicy& pod) {
    if (pod.state == "open") return "open: no policy selects it";
    if (pod.state == "closed") return "CLOSED: " + pod.reason;
    if (pod.state == "audit") return "audit: its namespace is in audit mode, nothing is denied";
    return "enforced; what is denied is " +
           std::string(pod.deny == "reject" ? "answered" : "dropped without a word");
}

std::string pod_policy_text(const Invocation& invocation, const api::PodPolicy& pod) {
    std::string text = "Pod " + full_name(pod) + "\n";
    text += fmt::format("State        {}\n", state_text(pod));
    text += fmt::format("Policies     {}\n", pod.policies.empty() ? "-" : join(pod.policies, ", "));
    for (const char* direction : {"ingress", "egress"}) {
        std::vector<api::PolicyRule> rules;
        std::ranges::copy_if(pod.rules, std::back_inserter(rules),
                             [&](const auto& rule) { return rule.direction == direction; });
        if (rules.empty()) continue;
        text += fmt::format("\n{}:\n{}", direction, rule_table(rules).text(invocation.output));
    }
    if (!pod.would_deny.empty()) {
        text += "\nwould deny, if policies in audit mode decided:\n" +
                rule_table(pod.would_deny).text(invocation.output);
    }
    return text;
}

/// "accepts", or what of the rule does not match.
std::string outcome_text(const api::ExplainedRule& rule) {
    if (rule.decides) return "DECIDES";
    if (rule.peer && rule.port) return rule.reached ? "passes on" : "matches, too late";
    if (!rule.peer) return rule.port ? "other peers" : "other peers, other ports";
    return "other ports";
}

std::string end_text(const api::ExplainedEnd& end) {
    std::string text = fmt::format("\n{} of {}: {}, {}\n", end.direction, end.end,
                                   end.allowed ? "passes" : "DENIED", end.by);
    if (!end.would_deny.empty())
        text += fmt::format("  in audit mode: {} would deny it\n", end.would_deny);
    for (const auto& rule : end.rules) {
        text += fmt::format("  {:<8} {:<18} {}\n", rule.action, outcome_text(rule), rule.rule);
        for (const auto& peer : rule.satisfied)
            text += fmt::format("           + {}\n", peer);
        for (const auto& peer : rule.unsatisfied)
            text += fmt::format("           - {}\n", peer);
    }
    return text;
}

std::string explanation_text(const api::Explanation& told) {
    std::string text = fmt::format("{} {} -> {}{}: {}\n", told.protocol, told.from, told.to,
                                   told.port == 0 ? "" : fmt::format(" port {}", told.port),
                                   told.allowed ? "passes" : "DENIED");
    for (const auto& end : told.ends)
        text += end_text(end);
    for (const auto& backend : told.backends)
        text += "\n" + explanation_text(backend);
    return text;
}

/// Reads the objects of --files; what is wrong with them is told.
Result<void> read_files(const Invocation& invocation, kube::Store& store) {
    const auto files = WEIR_TRY(kube::FileSource::open(store, invocation.explain.files));
    for (const auto& problem : files.problems())
        complain(problem.to_string());
    kube::EndpointController(store).update();
    store.publish();
    return {};
}

Table shadow_table(const std::vector<api::ShadowedRule>& rules) {
    Table table({{"RULE"}, {"COMES AFTER"}, {"PODS", false, true}});
    for (const auto& rule : rules)
        table.add({rule.rule, rule.by, std::to_string(rule.pods.size())});
    return table;
}

Result<std::vector<api::ShadowedRule>> shadowed_rules(const Invocation& invocation) {
    if (invocation.explain.files.empty())
        return fetch<api::ShadowedRule>(invocation, "/v1/shadowed-rules");
    kube::Store store;
    WEIR_CHECK(read_files(invocation, store));
    return agent::shadowed_rules(store);
}

Result<api::Explanation> explain_by_files(const Invocation& invocation) {
    const auto& asked = invocation.explain;
    kube::Store store;
    WEIR_CHECK(read_files(invocation, store));
    return agent::explain_flow(
        store,
        {.from = asked.from, .to = asked.to, .protocol = asked.protocol, .port = asked.port});
}

Result<api::Explanation> explain_by_agent(const Invocation& invocation) {
    const auto& asked = invocation.explain;
    const QueryParams query = {{"from", asked.from},
                               {"to", asked.to},
                               {"protocol", asked.protocol},
                               {"port", std::to_string(asked.port)}};
    return api::from_json<api::Explanation>(
        WEIR_TRY(invocation.client().get("/v1/policy-explanation", query)));
}

}  // namespace

int policy_explain_command(const Invocation& invocation) {
    const auto told = invocation.explain.files.empty() ? explain_by_agent(invocation)
                                                       : explain_by_files(invocation);
    if (!told) return report(told.error());
    switch (invocation.output.parsed()) {
        case Format::kJson:
            print(to_pretty_json(api::to_json(*told)));
            break;
        case Format::kYaml:
            print(to_yaml(api::to_json(*told)));
            break;
        case Format::kName:
            print(told->allowed ? "passes\n" : "denied\n");
            break;
        default:
            print(explanation_text(*told));
    }
    return told->allowed ? kOk : kFailed;
}

int policy_list_command(const Invocation& invocation) {
    auto policies = fetch<api::Policy>(invocation, "/v1/policies");
    if (!policies) return report(policies.error());
    keep_namespace(invocation, *policies);
    sort_by(*policies, [](const api::Policy& policy) { return std::tie(policy.ns, policy.name); });
    return show<api::Policy>(invocation, *policies, [&] { return policy_table(*policies); }, title);
}

int policy_get_command(const Invocation& invocation) {
    auto policies = fetch<api::Policy>(invocation, "/v1/policies");
    if (!policies) return report(policies.error());
    return show_one<api::Policy>(
        invocation, std::move(*policies), "policy",
        [&](const api::Policy& policy) { return policy_text(invocation, policy); });
}

int policy_effective_command(const Invocation& invocation) {
    auto pods = fetch<api::PodPolicy>(invocation, "/v1/pod-policies");
    if (!pods) return report(pods.error());
    return show_one<api::PodPolicy>(
        invocation, std::move(*pods), "pod",
        [&](const api::PodPolicy& pod) { return pod_policy_text(invocation, pod); });
}

namespace {

/// Whether a rule was in force for so long, and has decided nothing meanwhile.
Result<std::function<bool(const api::PolicyRule&)>> unused_for(const std::string& duration) {
    if (duration.empty()) return [](const api::PolicyRule&) { return true; };
    if (duration == "ever") return [](const api::PolicyRule& rule) { return rule.hits == 0; };
    const auto ago = std::chrono::nanoseconds(WEIR_TRY(flow::parse_duration_ns(duration)));
    const auto then = std::chrono::system_clock::now() -
                      std::chrono::duration_cast<std::chrono::system_clock::duration>(ago);
    return [then](const api::PolicyRule& rule) {
        const auto begun = parse_rfc3339(rule.since);
        const auto last = parse_rfc3339(rule.last);
        // What was counted after the last look has no time yet.
        const bool lately = last ? *last > then : rule.hits != 0;
        return begun && *begun <= then && !lately;
    };
}

}  // namespace

int policy_hits_command(const Invocation& invocation) {
    const auto wanted = unused_for(invocation.unused);
    if (!wanted) return report(wanted.error());
    auto policies = fetch<api::Policy>(invocation, "/v1/policies");
    if (!policies) return report(policies.error());
    keep_namespace(invocation, *policies);
    std::vector<api::PolicyRule> rules;
    for (auto& policy : *policies)
        std::ranges::move(policy.rules, std::back_inserter(rules));
    std::erase_if(rules, [&](const api::PolicyRule& rule) { return !(*wanted)(rule); });
    std::ranges::sort(rules, [](const auto& a, const auto& b) {
        return std::tie(b.hits, a.rule) < std::tie(a.hits, b.rule);
    });
    return show<api::PolicyRule>(
        invocation, rules, [&] { return rule_table(rules); },
        [](const api::PolicyRule& rule) { return rule.rule; });
}

int policy_shadowed_command(const Invocation& invocation) {
    const auto rules = shadowed_rules(invocation);
    if (!rules) return report(rules.error());
    return show<api::ShadowedRule>(
        invocation, *rules, [&] { return shadow_table(*rules); },
        [](const api::ShadowedRule& rule) { return rule.rule; });
}

}  // namespace weir::cli
