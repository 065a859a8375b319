// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"
#include "policy/compiler.h"
#include "weir/policy.h"

namespace weir::test {

inline constexpr policy::Capacities kCapacities = {.addrs = 512,
                                                   .cidrs = 512,
                                                   .slots = 1024,
                                                   .rows = 4096,
                                                   .cells = 16384,
                                                   .rules = 4096,
                                                   .sets = 128,
                                                   .counters = 1024,
                                                   .rows_per_set = 2048,
                                                   .cidrs_per_policy = 128};
inline constexpr uint32_t kPodA = 1, kPodB = 2;
inline constexpr uint32_t kBank = 1;  // of the fixture's programs

inline model::ObjectName in_shop(const char* name) {
    return {.ns = "shop", .name = name};
}

inline model::LabelSelector app(const char* value) {
    return {.requirements = {{.key = "app", .values = {value}}}};
}

inline model::PolicyRule from_pods(const char* value) {
    model::PolicyRule rule;
    rule.peers.resize(1);
    rule.peers[0].pods = app(value);
    return rule;
}

inline model::PolicyRule from_block(const IpAddress& address) {
    model::PolicyRule rule;
    rule.peers.resize(1);
    rule.peers[0].block = IpPrefix::make(address, address.is_v4() ? 32 : 128).value();
    return rule;
}

inline model::PolicyRule on_port(uint16_t port, model::Protocol protocol = model::Protocol::kTcp) {
    model::PolicyRule rule;
    rule.ports.push_back(
        {.protocol = protocol, .port = model::PortRef{.number = port, .name = {}}});
    return rule;
}

/// Pods of namespace shop, two of this node among them, under policies as the compiler writes them.
class Policy : public DatapathTest {
  protected:
    void SetUp() override {
        DatapathTest::SetUp();
        if (IsSkipped()) return;
        start();
    }
    /// A compiler for the tables of now, which are empty.
    void start() {
        compiler_.emplace(kCapacities, next_epoch_ += 1000);
        put_namespace({});
        put_pod("a", "client", world_.pod_a);
        put_pod("b", "server", world_.pod_b);
        put_pod("far", "client", world_.remote_pod);
        place(kPodA, "a", world_.pod_a);
        place(kPodB, "b", world_.pod_b);
        commit();
    }
    void put_namespace(model::Labels annotations) {
        model::Namespace ns;
        ns.meta.name = {.ns = "", .name = "shop"};
        ns.meta.annotations = std::move(annotations);
        compiler_->put(ns);
    }
    void put_pod(const char* name, const char* label, const IpAddress& address) {
        model::Pod pod;
        pod.meta.name = in_shop(name);
        pod.meta.labels.emplace("app", label);
        pod.phase = model::PodPhase::kRunning;
        pod.ips = {address};
        compiler_->put(pod);
    }
    void place(uint32_t id, const char* name, const IpAddress& address) {
        compiler_->put(policy::LocalEndpoint{
            .id = id, .pod = in_shop(name), .uid = {}, .addresses = {address}});
    }
    /// Pods with this label take what the rules say, and nothing else.
    void isolate_ingress(const char* label, std::vector<model::PolicyRule> rules,
                         const char* name = "in") {
        model::NetworkPolicy policy;
        policy.meta.name = in_shop(name);
        policy.subjects = app(label);
        policy.ingress = true;
        policy.ingress_rules = std::move(rules);
        compiler_->put(policy);
        commit();
    }
    void isolate_egress(const char* label, std::vector<model::PolicyRule> rules) {
        model::NetworkPolicy policy;
        policy.meta.name = in_shop("out");
        policy.subjects = app(label);
        policy.egress = true;
        policy.egress_rules = std::move(rules);
        compiler_->put(policy);
        commit();
    }
    void lift(const char* name) {
        compiler_->remove_network_policy(in_shop(name));
        commit();
    }
    void commit() {
        auto transaction = compiler_->flush();
        for (;;) {
            for (const auto& one : transaction.writes)
                std::visit([this](const auto& write) { apply(write); }, one);
            if (transaction.grace == 0) return;
            // No program runs between two of the test's packets.
            transaction = compiler_->grace_elapsed(transaction.grace);
        }
    }
    void store_word(uint32_t id, uint32_t bank, uint64_t word) {
        auto element = *datapath_->get<weir_endpoint>("weir_endpoints", id);
        element.policy[bank] = word;
        datapath_->set("weir_endpoints", id, element);
    }
    /// Of all rules.
    uint64_t hits() {
        std::vector<weir_policy_hits> of_cpus(static_cast<size_t>(libbpf_num_possible_cpus()));
        uint64_t sum = 0;
        for (uint32_t counter = 1; counter < kCapacities.counters; ++counter) {
            EXPECT_EQ(
                bpf_map_lookup_elem(datapath_->map("weir_policy_hits"), &counter, of_cpus.data()),
                0);
            for (const auto& value : of_cpus)
                sum += value.flows;
        }
        return sum;
    }

    int a_asks(uint8_t flags = kSyn, uint16_t port = 4000) {
        return from_a(a_to_b(flags, port)).verdict;
    }
    int b_answers(uint8_t flags = kSyn | kAck, uint16_t port = 4000) {
        return from_b(b_to_a(flags, port)).verdict;
    }
    void open_flow(uint16_t port = 4000) {
        ASSERT_EQ(a_asks(kSyn, port), kRedirect);
        ASSERT_EQ(b_answers(kSyn | kAck, port), kRedirect);
        ASSERT_EQ(a_asks(kAck, port), kRedirect);
    }
    Frame to_vip(uint8_t flags = kSyn) const {
        return {
            .src = world_.pod_a, .dst = world_.vip, .sport = 4000, .dport = 80, .tcp_flags = flags};
    }
    void serve(const IpAddress& backend) {
        add_service(*datapath_, {.vip = world_.vip,
                                 .node_port = kNodePort,
                                 .backends = {{backend, kBackendPort}},
                                 .local = {{backend, kBackendPort}}});
    }
    /// The rule of the last drop, in the words of who made it.
    std::string denied_by() {
        std::string by = "nothing was dropped";
        for (const weir_event& event : datapath_->events()) {
            if (event.type != WEIR_EVENT_DROP) continue;
            const auto* rule = compiler_->rule(WEIR_EVENT_RULE_SET(event.rule),
                                               WEIR_EVENT_RULE_NUMBER(event.rule));
            by = rule == nullptr ? "no rule" : rule->to_string();
        }
        return by;
    }

    std::optional<policy::Compiler> compiler_;

  private:
    void words(const char* map, uint32_t first, const std::vector<uint64_t>& all) {
        for (const uint64_t word : all)
            datapath_->set(map, first++, word);
    }
    void apply(const model::PolicyCellsPut& w) { words("weir_policy_cells", w.first, w.words); }
    void apply(const model::PolicyRulesPut& w) { words("weir_policy_rules", w.first, w.words); }
    void apply(const model::PolicySetPut& w) {
        datapath_->set("weir_policy_sets", w.index, w.value);
    }
    void apply(const model::PolicyRowPut& w) { datapath_->set("weir_policy_rows", w.key, w.value); }
    void apply(const model::PolicyRowErase& w) { datapath_->erase("weir_policy_rows", w.key); }
    void apply(const model::PolicyAddrPut& w) {
        datapath_->set("weir_policy_addrs", w.key, w.value);
    }
    void apply(const model::PolicyAddrErase& w) { datapath_->erase("weir_policy_addrs", w.key); }
    void apply(const model::PolicyCidrPut& w) {
        datapath_->set("weir_policy_cidrs", w.key, w.value);
    }
    void apply(const model::PolicyCidrErase& w) { datapath_->erase("weir_policy_cidrs", w.key); }
    void apply(const model::PolicySlotStore& w) {
        datapath_->set("weir_policy_slots", w.slot, w.word);
    }
    void apply(const model::PolicyEndpointStore& w) { store_word(w.endpoint, kBank, w.word); }

    static inline uint32_t next_epoch_ = 0;
};

}  // namespace weir::test
