// SPDX-License-Identifier: Apache-2.0
#include "policy/rig.h"

namespace weir::policy::test {
namespace {

template <typename Map, typename Put, typename Remove>
void differences(const Map& before, const Map& after, Put put, Remove remove) {
    for (const auto& [key, value] : before) {
        if (!after.contains(key)) remove(key);
    }
    for (const auto& [key, value] : after) {
        const auto old = before.find(key);
        if (old == before.end() || old->second != value) put(value);
    }
}

Answer to_answer(const RuleOrigin& origin, bool allowed) {
    switch (origin.kind) {
        case RuleOrigin::Kind::kIsolated:
            return {allowed, "isolated", -1};
        case RuleOrigin::Kind::kDefault:
            return {allowed, "default", -1};
        case RuleOrigin::Kind::kClosed:
            return {allowed, "closed", -1};
        case RuleOrigin::Kind::kRule:
            break;
    }
    const std::string name = origin.policy->name.to_string();
    const char* prefix = origin.tier == WEIR_POLICY_ADMIN      ? "admin/"
                         : origin.tier == WEIR_POLICY_BASELINE ? "baseline/"
                                                               : "";
    return {allowed, prefix + name, static_cast<int>(origin.index)};
}

}  // namespace

void Rig::tell(const World& before, const World& after) {
    const auto put = [&](const auto& object) { compiler.put(object); };
    differences(before.namespaces, after.namespaces, put,
                [&](const auto& name) { compiler.remove_namespace(name.name); });
    differences(before.nodes, after.nodes, put,
                [&](const auto& name) { compiler.remove_node(name.name); });
    differences(before.network_policies, after.network_policies, put,
                [&](const auto& name) { compiler.remove_network_policy(name); });
    differences(before.cluster_policies, after.cluster_policies, put,
                [&](const auto& name) { compiler.remove_cluster_policy(name.name); });
    differences(before.pods, after.pods, put, [&](const auto& name) { compiler.remove_pod(name); });
    for (const auto& [id, local] : before.local) {
        if (after.local.contains(id)) continue;
        compiler.remove_endpoint(id);
        kernel.forget(id);
    }
    for (const auto& [id, local] : after.local) {
        const auto old = before.local.find(id);
        if (old == before.local.end() || old->second != local)
            compiler.put(LocalEndpoint{.id = id, .pod = local.pod, .addresses = local.addresses});
    }
}

void Rig::write(const model::PolicyTransaction& transaction, const std::function<void()>& after) {
    for (const auto& write : transaction.writes) {
        kernel.write(write);
        after();
    }
    if (transaction.grace != 0) pending_.emplace_back(transaction.grace, kernel.now());
}

void Rig::grace(const std::function<void()>& after) {
    const auto [token, moment] = pending_.front();
    pending_.pop_front();
    kernel.grace(moment);
    write(compiler.grace_elapsed(token), after);
}

int Rig::ask_kernel(uint32_t endpoint, const Question& question, policy_told& told) const {
    const policy_asked asked = {.peer = question.peer.abi(),
                                .set = WEIR_POLICY_WORD_SET(kernel.word_of(endpoint)),
                                .direction = static_cast<uint8_t>(
                                    question.egress ? WEIR_POLICY_EGRESS : WEIR_POLICY_INGRESS),
                                .proto = question.protocol,
                                .port = question.port,
                                .self = question.self};
    return kernel.ask(asked, told);
}

Answer Rig::ask(uint32_t endpoint, const Question& question) const {
    const auto set = WEIR_POLICY_WORD_SET(kernel.word_of(endpoint));
    if (set == WEIR_POLICY_SET_NONE) return {};
    policy_told told{};
    const int result = ask_kernel(endpoint, question, told);
    const RuleOrigin* origin = compiler.rule(set, told.rule);
    if (result == POLICY_ASK_RACE || origin == nullptr) return {false, "RACE", result};
    return to_answer(*origin, result == POLICY_ASK_ACCEPTED);
}

bool Rig::audited(uint32_t endpoint, const Question& question) const {
    policy_told told{};
    if (WEIR_POLICY_WORD_SET(kernel.word_of(endpoint)) == WEIR_POLICY_SET_NONE) return false;
    if (ask_kernel(endpoint, question, told) != POLICY_ASK_ACCEPTED || told.would_deny == 0)
        return false;
    const RuleOrigin* origin = compiler.rule(told.would_set, told.would_rule);
    return origin != nullptr && origin->action == WEIR_POLICY_DENY;
}

}  // namespace weir::policy::test
