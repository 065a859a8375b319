// SPDX-License-Identifier: Apache-2.0
#include "weir/policy.h"

#include <algorithm>
#include <cstring>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"
#include "policy/compiler.h"

/// Policies as the compiler writes them, enforced by the programs on packets: first ones, those of
/// open flows after a change, through Services, and by every hook.
namespace weir::test {
namespace {

constexpr policy::Capacities kCapacities = {.addrs = 512,
                                            .cidrs = 512,
                                            .slots = 1024,
                                            .rows = 4096,
                                            .cells = 16384,
                                            .rules = 4096,
                                            .sets = 128,
                                            .counters = 1024,
                                            .rows_per_set = 2048,
                                            .cidrs_per_policy = 128};
constexpr uint32_t kPodA = 1, kPodB = 2;
constexpr uint32_t kBank = 1;  // of the fixture's programs

model::ObjectName in_shop(const char* name) {
    return {.ns = "shop", .name = name};
}

model::LabelSelector app(const char* value) {
    return {.requirements = {{.key = "app", .values = {value}}}};
}

model::PolicyRule from_pods(const char* value) {
    model::PolicyRule rule;
    rule.peers.resize(1);
    rule.peers[0].pods = app(value);
    return rule;
}

model::PolicyRule from_block(const IpAddress& address) {
    model::PolicyRule rule;
    rule.peers.resize(1);
    rule.peers[0].block = IpPrefix::make(address, address.is_v4() ? 32 : 128).value();
    return rule;
}

model::PolicyRule on_port(uint16_t port, model::Protocol protocol = model::Protocol::kTcp) {
    model::PolicyRule rule;
    rule.ports.push_back(
        {.protocol = protocol, .port = model::PortRef{.number = port, .name = {}}});
    return rule;
}

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

TEST_P(Policy, AdmitsWhomItNamesAndNobodyElse) {
    isolate_ingress("server", {from_pods("client")});
    EXPECT_EQ(a_asks(), kRedirect);
    isolate_ingress("server", {from_pods("other")});
    EXPECT_EQ(a_asks(kSyn, 4001), kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_INGRESS), 1U);
    EXPECT_EQ(denied_by(), "isolated (ingress)");
    EXPECT_EQ(datapath_->half_count(), 1U) << "what is denied leaves no entry";
}

TEST_P(Policy, KeepsAPodFromSending) {
    isolate_egress("client", {on_port(kBackendPort)});
    EXPECT_EQ(a_asks(), kRedirect);
    Frame other = a_to_b();
    other.dport = 22;
    EXPECT_EQ(from_a(other).verdict, kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_EGRESS), 1U);
    EXPECT_EQ(denied_by(), "isolated (egress)");
    other.dst = world_.remote_pod;
    other.dport = kBackendPort;
    EXPECT_NE(from_a(other).verdict, kDropped) << "any peer, on this port";
    other.dst = world_.client;
    other.dport = 22;
    EXPECT_EQ(from_a(other).verdict, kDropped) << "out of the cluster, too";
}

TEST_P(Policy, ARuleForOnePortIsNoneForAnotherProtocol) {
    isolate_ingress("server", {on_port(kBackendPort)});
    Frame frame = a_to_b();
    for (const uint8_t proto : {kUdp, kSctp}) {
        frame.proto = proto;
        EXPECT_EQ(from_a(frame).verdict, kDropped) << int{proto};
    }
    const bool v4 = GetParam() == Family::kIpv4;
    Frame echo{.src = world_.pod_a, .dst = world_.pod_b, .proto = v4 ? kIcmp4 : kIcmp6};
    echo.icmp_type = v4 ? 8 : 128;
    echo.icmp_rest = uint32_t{kBackendPort} << 16 | 1;
    EXPECT_EQ(from_a(echo).verdict, kDropped) << "an identifier is no port";
    isolate_ingress("server", {from_pods("client")});
    EXPECT_EQ(from_a(echo).verdict, kRedirect) << "a rule without ports admits all";
}

TEST_P(Policy, RepliesNeedNoRule) {
    isolate_egress("server", {});
    isolate_ingress("client", {});
    open_flow();
    EXPECT_EQ(b_answers(kAck), kRedirect);
    EXPECT_EQ(
        from_b(
            {.src_mac = kPodBMac, .src = world_.pod_b, .dst = world_.pod_a, .sport = 1, .dport = 2})
            .verdict,
        kDropped)
        << "what is no reply";
}

TEST_P(Policy, AnOpenFlowAsksNothing) {
    isolate_ingress("server", {from_pods("client")});
    isolate_egress("client", {from_pods("server")});
    open_flow();
    // With every row gone a lookup would deny it.
    datapath_->for_each_flow([](const weir_ct& ct) {
        EXPECT_NE(ct.verdict[0].epoch, 0U);
        EXPECT_NE(ct.verdict[1].epoch, 0U);
    });
    for (uint32_t i = 0; i < kCapacities.sets; ++i)
        datapath_->set("weir_policy_sets", i, weir_policy_set{});
    EXPECT_EQ(a_asks(kAck), kRedirect);
    EXPECT_EQ(b_answers(kAck), kRedirect);
    EXPECT_EQ(a_asks(kSyn, 4001), kDropped) << "tables without a rule let nothing pass";
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_RACE), 1U);
}

TEST_P(Policy, ANewDenialCutsWhatIsOpenBothWays) {
    open_flow();
    isolate_ingress("server", {});
    EXPECT_EQ(a_asks(kAck), kDropped);
    EXPECT_EQ(b_answers(kAck), kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_INGRESS), 2U);
    lift("in");
    EXPECT_EQ(a_asks(kAck), kRedirect) << "and admits it again";
    EXPECT_EQ(b_answers(kAck), kRedirect);
    isolate_egress("client", {});
    EXPECT_EQ(b_answers(kAck), kDropped) << "what is denied its source is denied its answers";
    EXPECT_EQ(a_asks(kAck), kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_EGRESS), 2U);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 1U) << "it was the same flow all the time";
    EXPECT_EQ(datapath_->established_count(), 1U);
}

TEST_P(Policy, ALabelOfThePeerCutsAndAdmits) {
    isolate_ingress("server", {from_pods("client")});
    open_flow();
    put_pod("a", "other", world_.pod_a);
    commit();
    EXPECT_EQ(a_asks(kAck), kDropped);
    EXPECT_EQ(b_answers(kAck), kDropped);
    put_pod("a", "client", world_.pod_a);
    commit();
    EXPECT_EQ(a_asks(kAck), kRedirect);
    EXPECT_EQ(b_answers(kAck), kRedirect);
}

TEST_P(Policy, AChangeLeavesOtherFlowsAlone) {
    isolate_ingress("server", {from_pods("client")});
    open_flow(4000);
    Frame outside{.src = world_.pod_a, .dst = world_.client, .sport = 4001, .dport = 443};
    const int passes = from_a(outside).verdict;
    EXPECT_NE(passes, kDropped);
    isolate_ingress("server", {});
    EXPECT_EQ(a_asks(kAck, 4000), kDropped);
    outside.tcp_flags = kAck;
    EXPECT_EQ(from_a(outside).verdict, passes);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 2U);
}

TEST_P(Policy, TheHostReachesItsPodsWhateverIsSaid) {
    isolate_ingress("server", {});
    Frame probe{.src = world_.node, .dst = world_.pod_b, .sport = 50000, .dport = kBackendPort};
    EXPECT_EQ(to_pod(devices().pod_b, probe).verdict, kPassed);
    Frame answer = reply_to(probe);
    answer.src_mac = kPodBMac;
    EXPECT_NE(from_b(answer).verdict, kDropped);
    probe.tcp_flags = kAck;
    EXPECT_EQ(to_pod(devices().pod_b, probe).verdict, kPassed);
    // The same address, from a device that is not Weir's: it is not this host.
    probe.sport = 50001;
    probe.tcp_flags = kSyn;
    EXPECT_EQ(to_pod(devices().pod_b, probe, devices().second).verdict, kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_INGRESS), 1U);
}

TEST_P(Policy, AGuestOfTheHostIsNotTheHost) {
    serve(world_.pod_b);
    isolate_ingress("server", {});
    const Frame frame{.src = world_.stranger, .dst = world_.vip, .sport = 6000, .dport = 80};
    const auto routed =
        datapath_->run(WEIR_HOOK_DEV_OUT, build(frame),
                       {.ifindex = devices().host, .ingress_ifindex = devices().second});
    ASSERT_EQ(routed.verdict, kRedirect);
    EXPECT_EQ(routed.mark, 0U) << "the pod's own hook is to look at it";
    EXPECT_EQ(datapath_
                  ->run(WEIR_HOOK_POD_TO, routed.packet,
                        {.ifindex = devices().pod_b, .ingress_ifindex = devices().second})
                  .verdict,
              kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_INGRESS), 1U);
    const auto own =
        datapath_->run(WEIR_HOOK_DEV_OUT,
                       build({.src = world_.node, .dst = world_.vip, .sport = 6001, .dport = 80}),
                       {.ifindex = devices().host});
    EXPECT_EQ(own.verdict, kRedirect);
    EXPECT_NE(own.mark, 0U) << "a process of the host passes";
}

// Builds without policies left no word of who began a flow on the host.
TEST_P(Policy, AFlowOfTheHostThatAnOlderBuildBeganIsToldByItsAddress) {
    serve(world_.pod_b);
    const Frame probe{
        .src = world_.node, .dst = world_.pod_b, .sport = 50000, .dport = kBackendPort};
    ASSERT_EQ(to_pod(devices().pod_b, probe).verdict, kPassed);
    const Frame guest{.src = world_.stranger, .dst = world_.vip, .sport = 6000, .dport = 80};
    const auto routed =
        datapath_->run(WEIR_HOOK_DEV_OUT, build(guest),
                       {.ifindex = devices().host, .ingress_ifindex = devices().second});
    ASSERT_EQ(routed.verdict, kRedirect);
    datapath_->for_each_flow([](weir_ct& entry) {
        EXPECT_NE(entry.origin, 0U);
        entry.origin = 0;
        entry.verdict[0] = entry.verdict[1] = {};
    });
    isolate_ingress("server", {});
    Frame answer = reply_to(probe);
    answer.src_mac = kPodBMac;
    EXPECT_NE(from_b(answer).verdict, kDropped) << "the host is not kept from its pods";
    EXPECT_EQ(to_pod(devices().pod_b, probe).verdict, kPassed);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_INGRESS), 0U);
    EXPECT_EQ(datapath_
                  ->run(WEIR_HOOK_POD_TO, routed.packet,
                        {.ifindex = devices().pod_b, .ingress_ifindex = devices().second})
                  .verdict,
              kDropped)
        << "and another's address is not the host's";
}

TEST_P(Policy, AServiceIsJudgedByItsBackend) {
    serve(world_.pod_b);
    isolate_ingress("server", {on_port(80)});
    EXPECT_EQ(from_a(to_vip()).verdict, kDropped) << "the Service's own port means nothing";
    const auto events = datapath_->events();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(IpAddress(events[0].daddr), world_.vip);
    EXPECT_EQ(IpAddress(events[0].nat_daddr), world_.pod_b) << "who kept it out";
    EXPECT_EQ(datapath_->half_count(), 0U) << "nor is a port of the reply taken";
    isolate_ingress("server", {on_port(kBackendPort)});
    isolate_egress("client", {from_pods("server")});
    const auto there = from_a(to_vip());
    ASSERT_EQ(there.verdict, kRedirect);
    const Frame answer = reply_to(there.frame());
    ASSERT_EQ(from_b(answer).verdict, kRedirect);
    EXPECT_EQ(from_a(to_vip(kAck)).verdict, kRedirect);
    isolate_ingress("server", {});
    EXPECT_EQ(from_b(answer).verdict, kDropped) << "the entry of the replies is of the same flow";
    EXPECT_EQ(from_a(to_vip(kAck)).verdict, kDropped);
    isolate_ingress("server", {from_pods("client")});
    isolate_egress("client", {from_block(world_.vip)});
    EXPECT_EQ(from_a(to_vip(kAck)).verdict, kDropped) << "its address means nothing";
    EXPECT_EQ(from_b(answer).verdict, kDropped);
    isolate_egress("client", {from_block(world_.pod_b)});
    EXPECT_EQ(from_a(to_vip(kAck)).verdict, kRedirect);
    EXPECT_EQ(from_b(answer).verdict, kRedirect);
}

TEST_P(Policy, AClientOutsideIsJudgedByItsOwnAddress) {
    serve(world_.pod_b);
    isolate_ingress("server", {from_block(world_.client)});
    Frame frame{.src = world_.client, .dst = world_.node, .sport = 7000, .dport = kNodePort};
    const auto there = from_outside(frame);
    ASSERT_EQ(there.verdict, kRedirect);
    Frame answer = reply_to(there.frame());
    answer.src_mac = kPodBMac;
    EXPECT_EQ(from_b(answer).verdict, kRedirect);
    frame.tcp_flags = kAck;
    EXPECT_EQ(from_outside(frame).verdict, kRedirect);
    isolate_ingress("server", {from_block(world_.stranger)});
    EXPECT_EQ(from_outside(frame).verdict, kDropped);
    EXPECT_EQ(from_b(answer).verdict, kDropped);
    frame.src = world_.stranger;
    frame.tcp_flags = kSyn;
    EXPECT_EQ(from_outside(frame).verdict, kRedirect);
}

TEST_P(Policy, AnotherNodesPodIsJudgedAsThatPod) {
    isolate_ingress("server", {from_pods("client")});
    Frame frame{.src = world_.remote_pod, .dst = world_.pod_b, .sport = 7000, .dport = 1};
    EXPECT_EQ(from_outside(frame).verdict, kRedirect);
    put_pod("far", "other", world_.remote_pod);
    commit();
    frame.tcp_flags = kAck;
    EXPECT_EQ(from_outside(frame).verdict, kDropped);
    frame.src = world_.stranger;
    frame.tcp_flags = kSyn;
    EXPECT_EQ(from_outside(frame).verdict, kDropped) << "no pod at all";
}

TEST_P(Policy, AMasqueradedFlowIsCutInItsAnswers) {
    isolate_egress("client", {from_block(world_.client)});
    Frame frame{.src = world_.pod_a, .dst = world_.client, .sport = 7000, .dport = 443};
    const auto out = from_a(frame);
    ASSERT_EQ(out.verdict, kRedirect);
    ASSERT_EQ(out.frame().src, world_.node);
    const Frame answer = reply_to(out.frame());
    ASSERT_EQ(from_outside(answer).verdict, kRedirect);
    isolate_egress("client", {from_block(world_.stranger)});
    EXPECT_EQ(from_outside(answer).verdict, kDropped);
    frame.tcp_flags = kAck;
    EXPECT_EQ(from_a(frame).verdict, kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_EGRESS), 2U);
}

TEST_P(Policy, WhoseObjectIsNotKnownIsClosed) {
    compiler_->remove_pod(in_shop("b"));
    commit();
    EXPECT_EQ(a_asks(), kDropped);
    EXPECT_EQ(from_b({.src_mac = kPodBMac,
                      .src = world_.pod_b,
                      .dst = world_.client,
                      .sport = 1,
                      .dport = 2})
                  .verdict,
              kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_CLOSED), 2U);
    const Frame probe{.src = world_.node, .dst = world_.pod_b, .sport = 50000, .dport = 80};
    EXPECT_EQ(to_pod(devices().pod_b, probe).verdict, kPassed) << "the host looks after it";
    put_pod("b", "server", world_.pod_b);
    commit();
    EXPECT_EQ(a_asks(), kRedirect);
}

TEST_P(Policy, WordsAreThoseOfTheProgramsBank) {
    const uint64_t closed = WEIR_POLICY_WORD(WEIR_POLICY_SET_CLOSED, 0, WEIR_POLICY_EPOCH_UNKNOWN);
    store_word(kPodB, 1 - kBank, closed);
    EXPECT_EQ(a_asks(), kRedirect) << "the word for other programs";
    store_word(kPodB, kBank, closed);
    EXPECT_EQ(a_asks(kSyn, 4001), kDropped);
}

TEST_P(Policy, APodReachesItselfThroughAService) {
    serve(world_.pod_a);
    isolate_ingress("client", {});
    isolate_egress("client", {});
    const auto there = from_a(to_vip());
    ASSERT_EQ(there.verdict, kRedirect);
    EXPECT_EQ(from_a(reply_to(there.frame())).verdict, kRedirect);
    EXPECT_EQ(from_a(to_vip(kAck)).verdict, kRedirect);
}

model::ClusterNetworkPolicy deny_nodes() {
    model::ClusterNetworkPolicy policy;
    policy.meta.name = {.ns = "", .name = "no-nodes"};
    policy.subject.kind = model::ClusterPolicyPeer::Kind::kNamespaces;
    model::ClusterPolicyRule rule;
    rule.action = model::PolicyAction::kDeny;
    rule.peers.resize(1);
    rule.peers[0].kind = model::ClusterPolicyPeer::Kind::kNodes;
    policy.egress_rules.push_back(rule);
    return policy;
}

TEST_P(Policy, APodReachesItsHostUnlessAnAdministratorSaysNo) {
    isolate_egress("client", {});
    Frame frame{.src = world_.pod_a, .dst = world_.node, .sport = 4000, .dport = 10250};
    EXPECT_EQ(from_a(frame).verdict, kPassed);
    model::Node node;
    node.meta.name = {.ns = "", .name = "here"};
    node.internal_ips = {world_.node};
    compiler_->put(node);
    compiler_->put(deny_nodes());
    commit();
    frame.sport = 4001;
    EXPECT_EQ(from_a(frame).verdict, kDropped);
    EXPECT_EQ(denied_by(), "ClusterNetworkPolicy no-nodes egress[0]");
}

TEST_P(Policy, ADenialAnswersWhereTheNamespaceAsksForIt) {
    put_namespace({{model::Text("policy.weir.io/deny-action"), model::Text("reject")}});
    isolate_ingress("server", {});
    const auto refused = from_a(a_to_b());
    expect_clean(refused, kRedirect);
    EXPECT_EQ(refused.frame().dst, world_.pod_a);
    EXPECT_TRUE(refused.frame().tcp_flags & kRst);
    Frame datagram = a_to_b();
    datagram.proto = kUdp;
    const auto told = from_a(datagram);
    expect_clean(told, kRedirect);
    const bool v4 = GetParam() == Family::kIpv4;
    EXPECT_EQ(told.frame().icmp_type, v4 ? 3 : 1);
    EXPECT_EQ(told.frame().icmp_code, v4 ? 13 : 1) << "administratively prohibited";
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_INGRESS), 2U);
}

TEST_P(Policy, ANamespaceInAuditModeIsCountedAndPasses) {
    put_namespace({{model::Text("policy.weir.io/audit"), model::Text("true")}});
    isolate_ingress("server", {});
    open_flow();
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_INGRESS), 0U);
    const auto events = datapath_->events();
    ASSERT_FALSE(events.empty());
    const auto* rule = compiler_->rule(WEIR_EVENT_RULE_SET(events[0].rule),
                                       WEIR_EVENT_RULE_NUMBER(events[0].rule));
    ASSERT_NE(rule, nullptr);
    EXPECT_EQ(rule->to_string(), "isolated (ingress)");
}

TEST_P(Policy, ANewFlowSaysWhatLetItPass) {
    isolate_ingress("server", {from_pods("client")});
    isolate_egress("client", {on_port(kBackendPort)});
    EXPECT_EQ(a_asks(), kRedirect);
    const auto events = datapath_->events();
    ASSERT_EQ(events.size(), 1U);
    const auto text = [&](uint32_t rule) {
        const auto* origin =
            compiler_->rule(WEIR_EVENT_RULE_SET(rule), WEIR_EVENT_RULE_NUMBER(rule));
        return origin == nullptr ? "none" : origin->to_string();
    };
    EXPECT_EQ(text(events[0].egress_rule), "NetworkPolicy shop/out egress[0]");
    EXPECT_EQ(text(events[0].rule), "NetworkPolicy shop/in ingress[0]");
}

TEST_P(Policy, PiecesOfADatagramFollowTheFirst) {
    isolate_ingress("server", {on_port(kBackendPort, model::Protocol::kUdp)});
    Frame first = a_to_b();
    first.proto = kUdp;
    first.frag_id = 77;
    first.more = true;
    first.payload = Bytes(64, 'x');
    Frame later = first;
    later.frag_offset = 72;
    later.more = false;
    EXPECT_EQ(from_a(first).verdict, kRedirect);
    EXPECT_EQ(from_a(later).verdict, kRedirect);
    isolate_ingress("server", {});
    EXPECT_EQ(from_a(later).verdict, kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_POLICY_DENIED_INGRESS), 1U);
}

TEST_P(Policy, DryRunCountsAndKeepsNothing) {
    load({.config = [](weir_config& cfg) { cfg.flags |= WEIR_CFG_DRY_RUN; }, .small_hashes = {}});
    start();
    isolate_ingress("server", {from_pods("client")});
    EXPECT_EQ(a_asks(), kRedirect);
    isolate_ingress("server", {});
    EXPECT_EQ(a_asks(), kDropped);
    EXPECT_EQ(datapath_->half_count(), 0U);
    EXPECT_EQ(hits(), 0U);
}

TEST_P(Policy, EachDecisionIsAHitOfItsRule) {
    isolate_ingress("server", {from_pods("client")});
    const uint64_t before = hits();
    open_flow();
    for (int i = 0; i < 5; ++i)
        EXPECT_EQ(a_asks(kAck), kRedirect);
    EXPECT_EQ(a_asks(kSyn, 4001), kRedirect);
    EXPECT_EQ(hits() - before, 2U) << "two flows, and not a hit for each packet";
}

INSTANTIATE_TEST_SUITE_P(, Policy, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
