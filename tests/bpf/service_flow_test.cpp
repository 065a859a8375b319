// SPDX-License-Identifier: Apache-2.0
#include <linux/pkt_cls.h>

#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"

/// Packets to Services, from pods, from outside and from the host, there and back; masquerade.
namespace weir::test {
namespace {

class ServiceFlow : public DatapathTest {
  protected:
    Frame to_vip(uint8_t proto = kTcp) const {
        return {.src = world_.pod_a, .dst = world_.vip, .proto = proto, .sport = 4000, .dport = 80};
    }
    void serve(const IpAddress& backend, uint8_t proto = kTcp) {
        add_service(*datapath_, {.vip = world_.vip,
                                 .proto = proto,
                                 .node_port = kNodePort,
                                 .backends = {{backend, kBackendPort}},
                                 .local = {{backend, kBackendPort}}});
    }
};

TEST_P(ServiceFlow, IsTranslatedThereAndBack) {
    for (const uint8_t proto : {kTcp, kUdp, kSctp}) {
        serve(world_.pod_b, proto);
        const auto there = from_a(to_vip(proto));
        expect_clean(there, kRedirect);
        EXPECT_EQ(there.frame().src, world_.pod_a);
        EXPECT_EQ(there.frame().dst, world_.pod_b);
        EXPECT_EQ(there.frame().dport, kBackendPort);
        EXPECT_EQ(there.frame().dst_mac, kPodBMac);
        const auto back = from_b(reply_to(there.frame()));
        expect_clean(back, kRedirect);
        EXPECT_EQ(back.frame().src, world_.vip);
        EXPECT_EQ(back.frame().sport, 80);
        EXPECT_EQ(back.frame().dst, world_.pod_a);
        EXPECT_EQ(back.frame().dst_mac, kPodAMac);
    }
    EXPECT_EQ(datapath_->established_count(), 6U);
    EXPECT_EQ(datapath_->half_count(), 0U);
}

TEST_P(ServiceFlow, UdpWithoutChecksumStaysSo) {
    if (GetParam() == Family::kIpv6) {
        GTEST_SKIP() << "IPv6 has no UDP without checksum";
    }
    serve(world_.pod_b, kUdp);
    Frame frame = to_vip(kUdp);
    frame.no_checksum = true;
    const auto run = from_a(frame);
    expect_clean(run, kRedirect);
    EXPECT_TRUE(run.frame().no_checksum);
}

TEST_P(ServiceFlow, KeepsItsBackendWhileItLasts) {
    add_service(
        *datapath_,
        {.vip = world_.vip, .backends = {{world_.pod_b, 1}, {world_.pod_b, 2}, {world_.pod_b, 3}}});
    const auto first = from_a(to_vip());
    from_b(reply_to(first.frame()));
    Frame next = to_vip();
    next.tcp_flags = kAck;
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(from_a(next).frame().dport, first.frame().dport);
    }
}

TEST_P(ServiceFlow, AllBackendsAreUsed) {
    add_service(*datapath_,
                {.vip = world_.vip, .backends = {{world_.pod_b, 1}, {world_.pod_b, 2}}});
    std::array<int, 3> hits{};
    Frame frame = to_vip();
    for (unsigned i = 0; i < 200; i++) {
        frame.sport = static_cast<uint16_t>(10000 + i);
        hits[from_a(frame).frame().dport]++;
    }
    EXPECT_GT(hits[1], 50);
    EXPECT_GT(hits[2], 50);
}

TEST_P(ServiceFlow, HairpinComesFromTheRouter) {
    serve(world_.pod_a);
    const auto there = from_a(to_vip());
    expect_clean(there, kRedirect);
    EXPECT_EQ(there.frame().src, world_.router);
    EXPECT_EQ(there.frame().dst, world_.pod_a);
    EXPECT_GE(there.frame().sport, 45056);
    const auto back = from_a(reply_to(there.frame()));
    expect_clean(back, kRedirect);
    EXPECT_EQ(back.frame().src, world_.vip);
    EXPECT_EQ(back.frame().dport, 4000);
}

TEST_P(ServiceFlow, SameClientPortByTwoServicesToOneBackend) {
    serve(world_.pod_b);
    World other = world_;
    std::array<uint8_t, 16> bytes = world_.vip.bytes();
    bytes[15] = 0x77;
    other.vip = IpAddress::from_bytes(bytes);
    add_service(*datapath_,
                {.vip = other.vip, .backends = {{world_.pod_b, kBackendPort}}, .index = 2});
    from_a(to_vip());
    Frame second = to_vip();
    second.dst = other.vip;
    const auto there = from_a(second);
    expect_clean(there, kRedirect);
    EXPECT_EQ(there.frame().src, world_.router) << "the backend must be able to tell them apart";
    const auto back = from_b(reply_to(there.frame()));
    EXPECT_EQ(back.frame().src, other.vip);
    EXPECT_EQ(back.frame().dst, world_.pod_a);
}

TEST_P(ServiceFlow, LostPartnerIsWrittenAgain) {
    serve(world_.pod_b);
    const auto there = from_a(to_vip());
    from_b(reply_to(there.frame()));
    ASSERT_EQ(datapath_->established_count(), 2U);
    // the client's entry is lost; the next tick's reply restores it
    datapath_->for_each_flow([](weir_ct& ct) {
        ct.seen -= 5;
        if (ct.flags & WEIR_CT_REWRITE_ORIG) {
            ct.flags &= static_cast<uint8_t>(~WEIR_CT_REWRITE_ORIG);
            ct.nat_port[0] = 1;  // no longer this flow's
            ct.expires = ct.seen;
        }
    });
    Frame reply = reply_to(there.frame());
    reply.tcp_flags = kAck;
    expect_clean(from_b(reply), kRedirect);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_PARTNER_RESTORED), 1U);
    Frame next = to_vip();
    next.tcp_flags = kAck;
    const auto again = from_a(next);
    expect_clean(again, kRedirect);
    EXPECT_EQ(again.frame().dst, world_.pod_b);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 1U);
}

/// The entry that translates the answers of a flow.
bool is_reply_entry(const weir_ct& ct) {
    return (ct.flags & WEIR_CT_REWRITE_REPLY) != 0;
}

// A flood of new flows takes the room of those not answered yet, within the same tick, too.
TEST_P(ServiceFlow, PushedOutPartnerIsWrittenAgainByTheNextPacket) {
    for (const uint8_t proto : {kTcp, kUdp, kSctp}) {
        serve(world_.pod_b, proto);
        from_a(to_vip(proto));
        datapath_->push_out(is_reply_entry);
        const auto again = from_a(to_vip(proto));
        expect_clean(again, kRedirect);
        const auto back = from_b(reply_to(again.frame()));
        expect_clean(back, kRedirect);
        EXPECT_EQ(back.frame().src, world_.vip);
        EXPECT_EQ(back.frame().sport, 80);
    }
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_PARTNER_RESTORED), 3U);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 3U);
}

TEST_P(ServiceFlow, PartnersKeyThatAnotherFlowHasTakenIsLeftToIt) {
    for (const uint8_t proto : {kTcp, kUdp}) {
        serve(world_.pod_b, proto);
        from_a(to_vip(proto));
        datapath_->push_out(is_reply_entry);
        // The same client and port to the same backend by another address.
        Frame taker = to_vip(proto);
        taker.dst = world_.node;
        taker.dport = kNodePort;
        const auto taken = from_a(taker);
        ASSERT_EQ(taken.frame().src, world_.pod_a) << "the key is free";
        const auto again = from_a(to_vip(proto));
        expect_clean(again, kRedirect);
        EXPECT_EQ(again.frame().src, world_.router) << "a flow anew, which the backend can tell";
        const auto to_taker = from_b(reply_to(taken.frame()));
        expect_clean(to_taker, kRedirect);
        EXPECT_EQ(to_taker.frame().src, world_.node);
        const auto back = from_b(reply_to(again.frame()));
        expect_clean(back, kRedirect);
        EXPECT_EQ(back.frame().src, world_.vip);
        EXPECT_EQ(back.frame().dport, 4000);
    }
}

// Untranslated it would make the client reset the connection; dropped, the client asks again.
TEST_P(ServiceFlow, AnswerToAConnectionThatIsNotTrackedIsDropped) {
    serve(world_.pod_b);
    const auto there = from_a(to_vip());
    datapath_->push_out([](const weir_ct&) { return true; });
    EXPECT_EQ(from_b(reply_to(there.frame())).verdict, kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_CT_MISS), 1U);
    EXPECT_EQ(datapath_->half_count(), 0U);
    const auto again = from_a(to_vip());
    EXPECT_EQ(from_b(reply_to(again.frame())).frame().src, world_.vip);
}

TEST_P(ServiceFlow, HostNetworkBackendGoesThroughTheStack) {
    serve(world_.node);
    const auto there = from_a(to_vip());
    expect_clean(there, kPassed);
    EXPECT_EQ(there.frame().dst, world_.node);
    const auto back = to_pod(devices().pod_a, reply_to(there.frame()));
    expect_clean(back, kPassed);
    EXPECT_EQ(back.frame().src, world_.vip);
}

TEST_P(ServiceFlow, NodePortFromOutsideKeepsTheClient) {
    serve(world_.pod_b);
    const Frame ask{.src = world_.client, .dst = world_.node, .sport = 999, .dport = kNodePort};
    const auto there = from_outside(ask);
    expect_clean(there, kRedirect);
    EXPECT_EQ(there.frame().src, world_.client);
    EXPECT_EQ(there.frame().dst, world_.pod_b);
    EXPECT_EQ(there.frame().ttl, 63);
    const auto back = from_b(reply_to(there.frame()));
    expect_clean(back, kRedirect);
    EXPECT_EQ(back.frame().src, world_.node);
    EXPECT_EQ(back.frame().sport, kNodePort);
    EXPECT_EQ(back.mark, uint32_t{WEIR_MARK_DELIVERED});
}

// A Service may keep a NodePort from outside of the range; a hostPort has any number.
TEST_P(ServiceFlow, NodePortOutsideOfTheRangeIsFoundOnceItsNumberIsKnown) {
    constexpr uint16_t kLow = 8088;
    add_service(*datapath_,
                {.vip = world_.vip, .node_port = kLow, .backends = {{world_.pod_b, kBackendPort}}});
    const Frame outside{.src = world_.client, .dst = world_.node, .sport = 999, .dport = kLow};
    const Frame inside{.src = world_.pod_a, .dst = world_.node, .sport = 999, .dport = kLow};
    EXPECT_EQ(from_outside(outside).verdict, kPassed);
    datapath_->set("weir_node_ports", uint32_t{kLow / 64}, uint64_t{1} << kLow % 64);
    for (const auto& run : {from_outside(outside), from_a(inside)}) {
        expect_clean(run, kRedirect);
        EXPECT_EQ(run.frame().dst, world_.pod_b);
        EXPECT_EQ(run.frame().dport, kBackendPort);
    }
    Frame other = outside;
    other.dport = kLow + 1;
    EXPECT_EQ(from_outside(other).verdict, kPassed);
    other.dst = world_.stranger;
    other.dport = kLow;
    EXPECT_EQ(from_outside(other).verdict, kPassed) << "not an address of this host";
}

TEST_P(ServiceFlow, NodePortFromAPodOfThisNode) {
    serve(world_.pod_b);
    Frame ask = to_vip();
    ask.dst = world_.node;
    ask.dport = kNodePort;
    const auto there = from_a(ask);
    expect_clean(there, kRedirect);
    EXPECT_EQ(there.frame().dst, world_.pod_b);
    EXPECT_EQ(from_b(reply_to(there.frame())).frame().src, world_.node);
}

TEST_P(ServiceFlow, NodePortToARemoteBackendAndBack) {
    serve(world_.remote_pod);
    const Frame ask{.src = world_.client, .dst = world_.node, .sport = 999, .dport = kNodePort};
    const auto there = from_outside(ask);
    expect_clean(there, kRedirect);
    EXPECT_EQ(there.frame().src, world_.node);
    EXPECT_EQ(there.frame().dst, world_.remote_pod);
    const auto back = from_outside(reply_to(there.frame()));
    expect_clean(back, kRedirect);
    EXPECT_EQ(back.frame().src, world_.node);
    EXPECT_EQ(back.frame().sport, kNodePort);
    EXPECT_EQ(back.frame().dst, world_.client);
    EXPECT_EQ(back.frame().dport, 999);
}

TEST_P(ServiceFlow, HostNetworkBackendAnswersANodePort) {
    serve(world_.node);
    const Frame ask{.src = world_.client, .dst = world_.node, .sport = 999, .dport = kNodePort};
    const auto there = from_outside(ask);
    expect_clean(there, kPassed);
    EXPECT_EQ(there.frame().dport, kBackendPort);
    const auto back = from_host(devices().external, reply_to(there.frame()));
    expect_clean(back, kPassed);
    EXPECT_EQ(back.frame().sport, kNodePort);
}

TEST_P(ServiceFlow, HostProcessThroughWeir0) {
    serve(world_.pod_b);
    Frame ask = to_vip();
    ask.src = world_.router;
    const auto there = from_host(devices().host, ask);
    expect_clean(there, kRedirect);
    EXPECT_EQ(there.frame().dst, world_.pod_b);
    EXPECT_EQ(there.frame().ttl, 64) << "it starts here";
    EXPECT_EQ(there.mark, uint32_t{WEIR_MARK_DELIVERED});
    const auto back = from_b(reply_to(there.frame()));
    expect_clean(back, kRedirect);
    EXPECT_EQ(back.frame().src, world_.vip);
    EXPECT_EQ(back.frame().dst_mac, (Mac{2, 0, 0, 0, 0, 0})) << "weir0's own";
}

TEST_P(ServiceFlow, LeavingPodIsMasqueraded) {
    for (const uint8_t proto : {kTcp, kUdp, kSctp}) {
        Frame ask = to_vip(proto);
        ask.dst = world_.stranger;
        const auto there = from_a(ask);
        expect_clean(there, kRedirect);
        EXPECT_EQ(there.frame().src, world_.node);
        EXPECT_GE(there.frame().sport, 45056);
        EXPECT_EQ(there.frame().dst, world_.stranger);
        const auto back = from_outside(reply_to(there.frame()));
        expect_clean(back, kRedirect);
        EXPECT_EQ(back.frame().dst, world_.pod_a);
        EXPECT_EQ(back.frame().dport, 4000);
        EXPECT_EQ(back.frame().dst_mac, kPodAMac);
    }
}

TEST_P(ServiceFlow, LeavingEchoChangesItsIdentifier) {
    const bool v4 = GetParam() == Family::kIpv4;
    Frame ask{.src = world_.pod_a, .dst = world_.stranger, .proto = v4 ? kIcmp4 : kIcmp6};
    ask.icmp_type = v4 ? 8 : 128;
    ask.icmp_rest = 77U << 16 | 1;
    const auto there = from_a(ask);
    expect_clean(there, kRedirect);
    EXPECT_EQ(there.frame().src, world_.node);
    EXPECT_GE(there.frame().echo_id(), 45056);
    Frame answer = there.frame();
    std::swap(answer.src, answer.dst);
    answer.icmp_type = v4 ? 0 : 129;
    const auto back = from_outside(answer);
    expect_clean(back, kRedirect);
    EXPECT_EQ(back.frame().echo_id(), 77);
    EXPECT_EQ(back.frame().dst, world_.pod_a);
}

TEST_P(ServiceFlow, RangesOfTheClusterKeepTheirSource) {
    Frame ask = to_vip();
    ask.dst = world_.remote_pod;
    const auto there = from_a(ask);
    expect_clean(there, kRedirect);
    EXPECT_EQ(there.frame().src, world_.pod_a);
}

TEST_P(ServiceFlow, PiecesAreTranslatedAlike) {
    serve(world_.pod_b, kUdp);
    Frame first = to_vip(kUdp);
    first.frag_id = 5;
    first.more = true;
    first.payload = Bytes(1000, 'q');
    Frame rest = first;
    rest.frag_offset = 1008;
    rest.more = false;
    const auto one = from_a(first), two = from_a(rest);
    expect_clean(one, kRedirect);
    expect_clean(two, kRedirect);
    EXPECT_EQ(one.frame().dst, world_.pod_b);
    EXPECT_EQ(two.frame().dst, world_.pod_b);
    EXPECT_EQ(two.frame().payload, rest.payload) << "no layer 4 header to change";
    // build() sums the first piece alone; translated, the sum must have changed by as much as the
    // sum of that translated packet differs, which is also right for the whole
    Frame alone = one.frame();
    alone.frag_id.reset();
    alone.more = false;
    const Bytes expected = build(alone);
    const bool v4 = GetParam() == Family::kIpv4;
    const ptrdiff_t want = 14 + (v4 ? 20 : 40) + 6, got = want + (v4 ? 0 : 8);
    EXPECT_TRUE(
        std::equal(expected.begin() + want, expected.begin() + want + 2, one.packet.begin() + got))
        << "checksum of the first piece";
}

// The small last one would overtake the others, which the host has to cut up first.
TEST_P(ServiceFlow, PiecesThatMayBeCutUpGoOneWay) {
    const bool v4 = GetParam() == Family::kIpv4;
    weir_device device = *datapath_->get<weir_device>("weir_devices", uint32_t{devices().pod_a});
    device.mtu = 1500;
    datapath_->set("weir_devices", uint32_t{devices().pod_a}, device);
    Frame first = to_vip(kUdp);
    // by a route with an MTU of 1280
    first.dst = IpAddress::parse(v4 ? "198.51.100.200" : "2001:db8:2:1::5").value();
    first.may_fragment = true;
    first.frag_id = 5;
    first.more = true;
    first.payload = Bytes(1400, 'q');
    Frame last = first;
    last.frag_offset = 1408;
    last.more = false;
    last.payload = Bytes(16, 'q');
    if (!v4) {  // nobody cuts up IPv6 on its way: its sender is told of the one that is too large
        from_a(first);
        EXPECT_EQ(datapath_->drops(WEIR_DROP_TOO_BIG), 1U);
        EXPECT_EQ(from_a(last).frame().ttl, 63);
        return;
    }
    for (const Frame& piece : {first, last}) {
        const auto run = from_a(piece);
        EXPECT_EQ(run.verdict, kRedirect);
        EXPECT_EQ(run.frame().src, world_.node);
        EXPECT_EQ(run.frame().ttl, 64) << "to the host, which counts the hop";
    }
}

TEST_P(ServiceFlow, UdpLeavesABackendThatIsGone) {
    serve(world_.pod_b, kUdp);
    from_a(to_vip(kUdp));
    add_service(
        *datapath_,
        {.vip = world_.vip, .proto = kUdp, .backends = {{world_.pod_a, kBackendPort}}, .index = 3});
    weir_backend gone = *datapath_->get<weir_backend>("weir_backends", uint32_t{64});
    gone.state = WEIR_BACKEND_GONE;
    datapath_->set("weir_backends", uint32_t{64}, gone);
    datapath_->for_each_flow([](weir_ct& ct) { ct.seen -= 2; });
    const auto run = from_a(to_vip(kUdp));
    expect_clean(run, kRedirect);
    EXPECT_EQ(run.frame().dst, world_.pod_a);
}

TEST_P(ServiceFlow, OrdinaryHostTrafficIsNoneOfOurBusiness) {
    const Frame ssh{.src = world_.client, .dst = world_.node, .sport = 999, .dport = 22};
    EXPECT_EQ(from_outside(ssh).verdict, kPassed);
    EXPECT_EQ(from_host(devices().external, reply_to(ssh)).verdict, kPassed);
    EXPECT_EQ(datapath_->half_count(), 0U);
}

INSTANTIATE_TEST_SUITE_P(, ServiceFlow, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
