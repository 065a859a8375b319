// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"

/// The overlay's device: what leaves by it, and what it does to the other devices' packets.
namespace weir::test {
namespace {

class Overlay : public DatapathTest {
  protected:
    void SetUp() override {
        DatapathTest::SetUp();
        load({.config =
                  [](weir_config& config) {
                      config.overlay_ifindex = devices().second;
                      config.overlay_port = kOverlayPort;
                  },
              .small_hashes = {}});
    }
    Frame to_remote() const {
        return {.src = world_.router, .dst = world_.remote_pod, .sport = 1, .dport = 2};
    }
};

// All nodes' devices have one address; a frame from it would be taken for an echo. The mark tells
// the device that the outer packet leaves by that there is nothing to do.
TEST_P(Overlay, WhatLeavesHasAFarEnd) {
    for (const char* outer : {"203.0.113.2", "2001:db8:9::2"}) {
        SCOPED_TRACE(outer);
        add_peer(*datapath_, world_.remote_pod, IpAddress::parse(outer).value());
        const auto run = from_host(devices().second, to_remote());
        EXPECT_EQ(run.verdict, kPassed);
        EXPECT_EQ(run.mark, uint32_t{WEIR_MARK_DELIVERED});
        Frame expected = to_remote();
        expected.dst_mac = kHostMac;
        expected.src_mac = kHostMac;
        expected.src_mac[0] ^= 0x10;
        EXPECT_EQ(run.packet, build(expected)) << "nothing else changes";
    }
}

// By a route with an MTU of 1280, of which the outer headers take 70. IPv4 is fragmented on its
// way.
TEST_P(Overlay, WhatHasNoRoomBetweenNodesIsAnsweredOverIpv6) {
    const bool v4 = GetParam() == Family::kIpv4;
    const size_t headers = v4 ? 28 : 48;
    Frame frame = to_remote();
    frame.proto = kUdp;
    const auto send = [&](const char* outer, size_t length) {
        add_peer(*datapath_, world_.remote_pod, IpAddress::parse(outer).value());
        frame.payload = Bytes(length - headers, 'q');
        return from_host(devices().second, frame);
    };
    EXPECT_EQ(send("198.51.100.200", 1211).verdict, kPassed);
    EXPECT_EQ(send("2001:db8:2:1::5", 1210).verdict, kPassed);
    EXPECT_EQ(send("2001:db8:2::5", 1211).verdict, kPassed) << "by a wide way";
    EXPECT_EQ(datapath_->drops(WEIR_DROP_TOO_BIG), 0U);
    const auto run = send("2001:db8:2:1::5", 1211);
    expect_clean(run, kRedirect);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_TOO_BIG), 1U);
    EXPECT_EQ(run.frame().dst, world_.router);
    EXPECT_EQ(run.frame().icmp_type, v4 ? 3 : 2);
    EXPECT_EQ(run.frame().icmp_code, v4 ? 4 : 0);
    EXPECT_EQ(run.frame().icmp_rest, 1210U);
}

// Also what a pod sends, which is marked as done with.
TEST_P(Overlay, MarksMakeNoDifference) {
    add_peer(*datapath_, world_.remote_pod, world_.client);
    const Bytes packet = build(to_remote());
    const auto run = datapath_->run(WEIR_HOOK_DEV_OUT, packet,
                                    {.ifindex = devices().second, .mark = WEIR_MARK_DELIVERED});
    EXPECT_EQ(run.verdict, kPassed);
    EXPECT_NE(run.packet, packet);
}

// Outer packets are the host's: neither tracked nor looked up among Services.
TEST_P(Overlay, OuterPacketsAreTheHosts) {
    const Frame frame{.src = world_.client,
                      .dst = world_.node,
                      .proto = kUdp,
                      .sport = 50001,
                      .dport = kOverlayPort};
    EXPECT_EQ(from_outside(frame).verdict, kPassed);
    EXPECT_EQ(datapath_->half_count(), 0U);
}

INSTANTIATE_TEST_SUITE_P(, Overlay, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
