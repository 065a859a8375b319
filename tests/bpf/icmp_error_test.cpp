// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"

/// ICMP errors about translated flows: who is told, by whom, and about which packet.
namespace weir::test {
namespace {

class IcmpError : public DatapathTest {
  protected:
    bool v4() const { return GetParam() == Family::kIpv4; }
    Frame to_vip() const {
        return {.src = world_.pod_a, .dst = world_.vip, .proto = kUdp, .sport = 4000, .dport = 80};
    }
    Frame to_node_port() const {
        return {.src = world_.client,
                .dst = world_.node,
                .proto = kUdp,
                .sport = 999,
                .dport = kNodePort};
    }
    void serve(const IpAddress& backend) {
        add_service(*datapath_, {.vip = world_.vip,
                                 .proto = kUdp,
                                 .node_port = kNodePort,
                                 .backends = {{backend, kBackendPort}},
                                 .local = {{backend, kBackendPort}}});
    }
    /// "Port unreachable" from `from` about the packet `about`, sent to its source.
    Frame error_about(const Bytes& about, const IpAddress& from) const {
        Frame error{.src = from, .dst = decode(about).src, .proto = v4() ? kIcmp4 : kIcmp6};
        error.icmp_type = v4() ? 3 : 1;
        error.icmp_code = v4() ? 3 : 4;
        error.payload = quote_of(about);
        return error;
    }
    /// "Fragmentation needed", or "packet too big".
    Frame too_big(const Bytes& about, const IpAddress& from) const {
        Frame error = error_about(about, from);
        error.icmp_type = v4() ? 3 : 2;
        error.icmp_code = v4() ? 4 : 0;
        error.icmp_rest = 1300;
        return error;
    }
    /// That the error quotes the packet as its sender knows it, but for the hops it made.
    void expect_quote(const Datapath::Run& error, const Frame& sent) const {
        const Bytes expected = quote_of(build(sent));
        Bytes got = error.frame().payload;
        ASSERT_EQ(got.size(), expected.size());
        got[v4() ? 8 : 7] = expected[v4() ? 8 : 7];
        if (v4()) got[10] = expected[10], got[11] = expected[11];
        EXPECT_EQ(got, expected) << "the sender must recognise its own packet";
    }
};

TEST_P(IcmpError, OfTheBackendReachesTheClientAsTheVip) {
    serve(world_.pod_b);
    const auto there = from_a(to_vip());
    const auto back = from_b(error_about(there.packet, world_.pod_b));
    expect_clean(back, kRedirect);
    EXPECT_EQ(back.frame().src, world_.vip);
    EXPECT_EQ(back.frame().dst, world_.pod_a);
    expect_quote(back, to_vip());
}

TEST_P(IcmpError, OfARouterAboutAMasqueradedPacketReachesThePod) {
    Frame ask = to_vip();
    ask.dst = world_.stranger;
    const auto there = from_a(ask);
    for (const Frame& error :
         {error_about(there.packet, world_.client), too_big(there.packet, world_.client)}) {
        const auto back = from_outside(error);
        expect_clean(back, kRedirect);
        EXPECT_EQ(back.frame().src, world_.client) << "the router's own address";
        EXPECT_EQ(back.frame().dst, world_.pod_a);
        EXPECT_EQ(back.frame().dst_mac, kPodAMac);
        expect_quote(back, ask);
    }
}

TEST_P(IcmpError, OfTheClientAboutAReplyReachesTheBackend) {
    serve(world_.pod_b);
    const auto there = from_a(to_vip());
    const auto back = from_b(reply_to(there.frame()));
    const auto error = from_a(error_about(back.packet, world_.pod_a));
    expect_clean(error, kRedirect);
    EXPECT_EQ(error.frame().dst, world_.pod_b);
    EXPECT_EQ(error.frame().dst_mac, kPodBMac);
}

// The backend's node believes an address only from its owner, and the fabric may, too.
TEST_P(IcmpError, OfWhoeverAboutARemoteBackendsAnswerComesFromTheFlowsOwnSource) {
    serve(world_.remote_pod);
    const auto there = from_outside(to_node_port());
    ASSERT_EQ(there.frame().dst, world_.remote_pod);
    const Frame answer = reply_to(there.frame());
    const auto back = from_outside(answer);
    ASSERT_EQ(back.frame().dst, world_.client);
    for (const IpAddress& teller : {world_.stranger, world_.client}) {
        for (const Frame& error :
             {too_big(back.packet, teller), error_about(back.packet, teller)}) {
            const auto run = from_outside(error);
            expect_clean(run, kRedirect);
            EXPECT_EQ(run.frame().src, there.frame().src) << "as the backend knows the flow";
            EXPECT_EQ(run.frame().dst, world_.remote_pod);
            EXPECT_EQ(run.frame().icmp_rest, error.icmp_rest);
            expect_quote(run, answer);
        }
    }
}

// A backend of this node knows the client's own address: nobody borrowed one.
TEST_P(IcmpError, OfARouterAboutALocalBackendsAnswerKeepsItsSource) {
    serve(world_.pod_b);
    const auto there = from_outside(to_node_port());
    const Frame answer = reply_to(there.frame());
    const auto back = from_b(answer);
    const auto run = from_outside(too_big(back.packet, world_.stranger));
    expect_clean(run, kRedirect);
    EXPECT_EQ(run.frame().src, world_.stranger) << "the router's own address";
    EXPECT_EQ(run.frame().dst, world_.pod_b);
    EXPECT_EQ(run.frame().dst_mac, kPodBMac);
    expect_quote(run, answer);
}

TEST_P(IcmpError, OfARouterOnTheWayToARemoteBackendReachesTheClient) {
    serve(world_.remote_pod);
    const auto there = from_outside(to_node_port());
    const auto run = from_outside(too_big(there.packet, world_.stranger));
    expect_clean(run, kRedirect);
    EXPECT_EQ(run.frame().src, world_.stranger);
    EXPECT_EQ(run.frame().dst, world_.client);
    expect_quote(run, to_node_port());
}

INSTANTIATE_TEST_SUITE_P(, IcmpError, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
