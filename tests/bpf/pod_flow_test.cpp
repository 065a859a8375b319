// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"

/// What pods send each other: the plain path, tracking, expiry, the end of flows.
namespace weir::test {
namespace {

class PodFlow : public DatapathTest {
  protected:
    void establish() {
        ASSERT_EQ(from_a(a_to_b()).verdict, kRedirect);
        ASSERT_EQ(from_b(b_to_a()).verdict, kRedirect);
        ASSERT_EQ(datapath_->established_count(), 1U);
    }
};

TEST_P(PodFlow, GoesStraightToTheOtherPod) {
    const auto run = from_a(a_to_b());
    expect_clean(run);
    EXPECT_EQ(run.frame().dst_mac, kPodBMac);
    EXPECT_EQ(run.frame().src_mac, kHostMac);
    EXPECT_EQ(run.frame().ttl, 63);
    EXPECT_EQ(datapath_->half_count(), 1U);
    EXPECT_EQ(datapath_->established_count(), 0U);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 1U);
}

TEST_P(PodFlow, MovesToTheEstablishedTableOnTheFirstReply) {
    establish();
    EXPECT_EQ(datapath_->half_count(), 0U);
    EXPECT_EQ(from_a(a_to_b(kAck)).verdict, kRedirect);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 1U);
}

TEST_P(PodFlow, IsReportedWithItsEndpoints) {
    from_a(a_to_b());
    const auto events = datapath_->events();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].type, WEIR_EVENT_FLOW_NEW);
    EXPECT_EQ(IpAddress(events[0].saddr), world_.pod_a);
    EXPECT_EQ(IpAddress(events[0].nat_daddr), world_.pod_b);
    EXPECT_EQ(events[0].endpoint[0], 1U);
    EXPECT_EQ(events[0].endpoint[1], 2U);
}

TEST_P(PodFlow, SynAfterTheEndIsANewFlow) {
    establish();
    from_a(a_to_b(kFin | kAck));
    from_b(b_to_a(kFin | kAck));
    datapath_->for_each_flow([](weir_ct& ct) { EXPECT_TRUE(ct.flags & WEIR_CT_CLOSED); });
    from_a(a_to_b(kSyn));
    EXPECT_EQ(datapath_->established_count(), 0U);
    EXPECT_EQ(datapath_->half_count(), 1U);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 2U);
}

TEST_P(PodFlow, ResetEndsIt) {
    establish();
    from_b(b_to_a(kRst));
    datapath_->for_each_flow([](weir_ct& ct) {
        EXPECT_TRUE(ct.flags & WEIR_CT_CLOSED);
        EXPECT_LE(ct.expires - ct.seen, 10U);
    });
}

TEST_P(PodFlow, ExpiredEntryIsDeadThoughStillThere) {
    establish();
    datapath_->for_each_flow([](weir_ct& ct) { ct.expires = ct.seen; });
    EXPECT_EQ(from_a(a_to_b(kAck)).verdict, kRedirect);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 2U);
}

TEST_P(PodFlow, LargePacketOfSegmentsPasses) {
    establish();
    Frame frame = a_to_b(kAck);
    frame.payload = Bytes(2000, 'x');
    const auto run = datapath_->run(WEIR_HOOK_POD_FROM, build(frame),
                                    {.ifindex = devices().pod_a, .gso_size = 1400});
    EXPECT_EQ(run.verdict, kRedirect);
    EXPECT_EQ(run.packet.size(), build(frame).size());
}

TEST_P(PodFlow, OptionsAndExtensionHeadersAreWalkedOver) {
    Frame frame = a_to_b();
    frame.option_words = 3;
    frame.hop_by_hop = true;
    const auto run = from_a(frame);
    expect_clean(run);
    EXPECT_EQ(from_b(b_to_a()).verdict, kRedirect);
    EXPECT_EQ(datapath_->established_count(), 1U);
}

TEST_P(PodFlow, EchoIsAFlowOfItsIdentifier) {
    const bool v4 = GetParam() == Family::kIpv4;
    Frame ask{.src = world_.pod_a, .dst = world_.pod_b, .proto = v4 ? kIcmp4 : kIcmp6};
    ask.icmp_type = v4 ? 8 : 128;
    ask.icmp_rest = 77U << 16 | 1;
    EXPECT_EQ(from_a(ask).verdict, kRedirect);
    Frame answer{.src = world_.pod_b, .dst = world_.pod_a, .proto = ask.proto};
    answer.icmp_type = v4 ? 0 : 129;
    answer.icmp_rest = ask.icmp_rest;
    EXPECT_EQ(from_b(answer).verdict, kRedirect);
    EXPECT_EQ(datapath_->established_count(), 1U);
}

TEST_P(PodFlow, FloodOfSynsEvictsNoEstablishedFlow) {
    establish();
    Frame frame = a_to_b();
    for (unsigned i = 0; i < 2000; i++) {
        frame.sport = static_cast<uint16_t>(10000 + i);
        ASSERT_EQ(from_a(frame).verdict, kRedirect);
    }
    EXPECT_EQ(datapath_->established_count(), 1U);
    EXPECT_EQ(from_a(a_to_b(kAck)).verdict, kRedirect);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 2001U);
}

TEST_P(PodFlow, SweepDeletesWhatExpiredAndReportsTheEnd) {
    establish();
    datapath_->events();
    datapath_->for_each_flow([](weir_ct& ct) { ct.expires = ct.seen - 10; });
    ASSERT_EQ(datapath_->run_program("sweep_start"), 0);
    for (int i = 0; i < 200 && datapath_->established_count() != 0; i++) {
        usleep(100000);
    }
    EXPECT_EQ(datapath_->established_count(), 0U);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_EXPIRED), 1U);
    const auto events = datapath_->events();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].type, WEIR_EVENT_FLOW_END);
    EXPECT_EQ(events[0].reason, WEIR_END_EXPIRED);
    EXPECT_EQ(IpAddress(events[0].saddr), world_.pod_a);
}

TEST_P(PodFlow, DryRunWritesNothing) {
    load({.config = [](weir_config& cfg) { cfg.flags |= WEIR_CFG_DRY_RUN; }, .small_hashes = {}});
    EXPECT_EQ(from_a(a_to_b()).verdict, kRedirect);
    EXPECT_EQ(datapath_->half_count(), 0U);
    EXPECT_TRUE(datapath_->events().empty());
    Frame spoofed = a_to_b();
    spoofed.src = world_.stranger;
    EXPECT_EQ(from_a(spoofed).verdict, kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_SPOOFED_SOURCE), 0U);
}

TEST_P(PodFlow, FromTheHostIsTrackedAndItsReplyGoesToTheStack) {
    Frame ask{.src = world_.node, .dst = world_.pod_a, .sport = 5000, .dport = 80};
    EXPECT_EQ(to_pod(devices().pod_a, ask).verdict, kPassed);
    Frame reply{.src = world_.pod_a,
                .dst = world_.node,
                .sport = 80,
                .dport = 5000,
                .tcp_flags = kSyn | kAck};
    EXPECT_EQ(from_a(reply).verdict, kPassed);
    EXPECT_EQ(datapath_->established_count(), 1U);
}

// The link of a pod is up before the pod is in the tables, and at once reports its multicast
// groups.
TEST_P(PodFlow, ReportsOfALinkThatIsNotKnownYetAreNoDrops) {
    if (GetParam() == Family::kIpv4) return;  // IPv4 has none of its own accord
    Frame report{.src = IpAddress::parse("fe80::1").value(),
                 .dst = IpAddress::parse("ff02::16").value(),
                 .ttl = 1,
                 .hop_by_hop = true,
                 .proto = kIcmp6,
                 .icmp_type = 143};
    EXPECT_EQ(from(devices().second, report).verdict, kPassed);
    report.src = IpAddress();
    EXPECT_EQ(from(devices().second, report).verdict, kPassed);
    report.src = world_.pod_a;
    EXPECT_EQ(from(devices().second, report).verdict, kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_UNKNOWN_ENDPOINT), 1U);
}

// A flow of it, with the pod's address as source, would let the pod send to that Service's address.
TEST_P(PodFlow, WhatTheHostSendsToAPodForAnotherAddressIsNotTracked) {
    const Frame astray{.src = world_.pod_a, .dst = world_.vip, .sport = 5000, .dport = 53};
    EXPECT_EQ(to_pod(devices().pod_a, astray).verdict, kPassed);
    EXPECT_EQ(datapath_->half_count(), 0U);
    EXPECT_EQ(from_a(astray).verdict, kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_SERVICE_CIDR_MISS), 1U);
}

TEST_P(PodFlow, DeliveredPacketsPassTheOtherHookAtOnce) {
    const auto run = datapath_->run(WEIR_HOOK_POD_TO, build(a_to_b()),
                                    {.ifindex = devices().pod_b, .mark = WEIR_MARK_DELIVERED});
    EXPECT_EQ(run.verdict, kPassed);
    EXPECT_EQ(run.mark, 0U);
    EXPECT_EQ(datapath_->half_count(), 0U);
}

TEST_P(PodFlow, PiecesFollowTheFirst) {
    Frame first{.src = world_.pod_a,
                .dst = world_.pod_b,
                .frag_id = 99,
                .more = true,
                .proto = kUdp,
                .sport = 1,
                .dport = 2,
                .payload = Bytes(600, 'a')};
    Frame rest = first;
    rest.frag_offset = 608;
    rest.more = false;
    EXPECT_EQ(from_a(first).verdict, kRedirect);
    const auto run = from_a(rest);
    expect_clean(run);
}

INSTANTIATE_TEST_SUITE_P(, PodFlow, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
