// SPDX-License-Identifier: Apache-2.0
#include "bpf/policy_fixture.h"

/// Policies and the packets of flows that are open: nothing is asked while nothing changes, and a
/// change is for the next packet in either direction.
namespace weir::test {
namespace {

class PolicyChange : public Policy {};

TEST_P(PolicyChange, AnOpenFlowAsksNothing) {
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

TEST_P(PolicyChange, ANewDenialCutsWhatIsOpenBothWays) {
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

TEST_P(PolicyChange, ALabelOfThePeerCutsAndAdmits) {
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

TEST_P(PolicyChange, AChangeLeavesOtherFlowsAlone) {
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

// Builds without policies left no word of who began a flow on the host.
TEST_P(PolicyChange, AFlowOfTheHostThatAnOlderBuildBeganIsToldByItsAddress) {
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

TEST_P(PolicyChange, AMasqueradedFlowIsCutInItsAnswers) {
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

TEST_P(PolicyChange, PiecesOfADatagramFollowTheFirst) {
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

INSTANTIATE_TEST_SUITE_P(, PolicyChange, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
