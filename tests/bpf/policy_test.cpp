// SPDX-License-Identifier: Apache-2.0
#include "bpf/policy_fixture.h"

/// Policies enforced by the programs on the first packets of flows: by every hook, through
/// Services, and what becomes of a denial.
namespace weir::test {
namespace {

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
