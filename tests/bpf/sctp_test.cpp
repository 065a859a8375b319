// SPDX-License-Identifier: Apache-2.0
// SCTP associations packet by packet: set up, data, end, errors, through Services and to the
// outside. Every packet that comes out is checked for its CRC32c (defects()).
#include <algorithm>

#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"

namespace weir::test {
namespace {

/// Chunk types of RFC 9260, section 3.2.
enum Chunk : uint8_t {
    kData = 0,
    kInit = 1,
    kInitAck = 2,
    kSack = 3,
    kAbort = 6,
    kShutdown = 7,
    kShutdownAck = 8,
    kCookieEcho = 10,
    kCookieAck = 11,
    kShutdownComplete = 14,
};

/// A chunk with a body of `size` bytes of no meaning, padded to words.
Bytes chunk(Chunk type, size_t size) {
    const size_t length = 4 + size;
    Bytes out = {type, 0, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)};
    for (size_t i = 0; i < size; i++) {
        out.push_back(static_cast<uint8_t>(i * 37 + type));
    }
    out.resize((out.size() + 3) / 4 * 4);
    return out;
}

class Sctp : public DatapathTest {
  protected:
    static constexpr uint16_t kClientPort = 36412;

    Frame from_client(Chunk type, size_t size = 16) const {
        return {.src = world_.pod_a,
                .dst = world_.vip,
                .proto = kSctp,
                .sport = kClientPort,
                .dport = 80,
                .payload = chunk(type, size)};
    }
    /// What the receiver of `out` sends back.
    static Frame answer(const Frame& out, Chunk type, size_t size = 16) {
        return {.src = out.dst,
                .dst = out.src,
                .proto = kSctp,
                .sport = out.dport,
                .dport = out.sport,
                .payload = chunk(type, size)};
    }
    void serve(uint8_t proto, const IpAddress& backend, uint16_t port, uint32_t index) {
        add_service(*datapath_, {.vip = world_.vip,
                                 .proto = proto,
                                 .node_port = kNodePort,
                                 .backends = {{backend, port}},
                                 .index = index});
    }
    /// Ticks from the last packet to the end. Of two partners both end together, and the one that
    /// the packet met was seen last.
    uint32_t lifetime() {
        uint32_t least = UINT32_MAX;
        datapath_->for_each_flow(
            [&](weir_ct& ct) { least = std::min(least, ct.expires - ct.seen); });
        return least;
    }
};

TEST_P(Sctp, AnAssociationThroughAServiceFromInitToShutdown) {
    serve(kSctp, world_.pod_b, kBackendPort, 1);
    const auto there = [&](Chunk type, size_t size) {
        const Frame sent = from_client(type, size);
        const auto run = from_a(sent);
        expect_clean(run);
        const Frame got = run.frame();
        EXPECT_EQ(got.src, world_.pod_a);
        EXPECT_EQ(got.sport, kClientPort);
        EXPECT_EQ(got.dst, world_.pod_b);
        EXPECT_EQ(got.dport, kBackendPort);
        EXPECT_EQ(got.payload, sent.payload);
        return got;
    };
    const auto back = [&](const Frame& to, Chunk type, size_t size) {
        const auto run = from_b(answer(to, type, size));
        expect_clean(run);
        EXPECT_EQ(run.frame().src, world_.vip);
        EXPECT_EQ(run.frame().sport, 80);
        EXPECT_EQ(run.frame().dst, world_.pod_a);
        EXPECT_EQ(run.frame().dport, kClientPort);
        EXPECT_EQ(run.frame().payload, chunk(type, size));
    };
    const Frame to = there(kInit, 16);
    EXPECT_EQ(datapath_->half_count(), 2U);
    EXPECT_EQ(lifetime(), 30U) << "no answer yet";
    back(to, kInitAck, 300);
    EXPECT_EQ(datapath_->half_count(), 0U);
    EXPECT_EQ(datapath_->established_count(), 2U);
    EXPECT_EQ(lifetime(), 600U);
    there(kCookieEcho, 280);
    back(to, kCookieAck, 0);
    for (const size_t size : {1U, 13U, 64U, 255U, 256U, 1000U, 1400U}) {
        there(kData, 12 + size);
        back(to, kSack, 12);
        back(to, kData, 12 + size);
    }
    there(kShutdown, 4);
    back(to, kShutdownAck, 0);
    there(kShutdownComplete, 0);
    EXPECT_EQ(datapath_->established_count(), 2U);
}

TEST_P(Sctp, AbortReachesTheOtherEnd) {
    serve(kSctp, world_.pod_b, kBackendPort, 1);
    const auto there = from_a(from_client(kInit));
    const auto back = from_b(answer(there.frame(), kAbort, 8));
    expect_clean(back);
    EXPECT_EQ(back.frame().src, world_.vip);
    EXPECT_EQ(back.frame().payload.front(), kAbort);
    expect_clean(from_a(from_client(kAbort, 0)));
}

TEST_P(Sctp, TheSamePortOfOtherProtocolsIsAnotherService) {
    serve(kTcp, world_.pod_b, 1001, 1);
    serve(kUdp, world_.pod_b, 1002, 2);
    serve(kSctp, world_.pod_b, 1003, 3);
    for (const auto& [proto, port] : {std::pair{kTcp, 1001}, {kUdp, 1002}, {kSctp, 1003}}) {
        Frame frame = from_client(kInit);
        frame.proto = proto;
        for (const auto& destination : {world_.vip, world_.node}) {
            frame.dst = destination;
            frame.dport = destination == world_.vip ? 80 : kNodePort;
            const auto run = from_a(frame);
            expect_clean(run);
            EXPECT_EQ(run.frame().dport, port) << unsigned{proto};
        }
    }
    EXPECT_EQ(datapath_->half_count(), 12U) << "no two share an entry";
}

TEST_P(Sctp, IsRefusedWhereOnlyOtherProtocolsAreServed) {
    serve(kTcp, world_.pod_b, 1001, 1);
    const auto run = from_a(from_client(kInit));
    expect_clean(run);
    EXPECT_TRUE(run.frame().proto == kIcmp4 || run.frame().proto == kIcmp6);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_SERVICE_PORT_UNKNOWN), 1U);
}

TEST_P(Sctp, WithoutEndpointIsAnsweredPortUnreachable) {
    const bool v4 = GetParam() == Family::kIpv4;
    add_service(*datapath_, {.vip = world_.vip, .proto = kSctp, .backends = {}});
    const Frame sent = from_client(kInit);
    const auto run = from_a(sent);
    expect_clean(run);
    EXPECT_EQ(run.frame().src, world_.vip);
    EXPECT_EQ(run.frame().dst, world_.pod_a);
    EXPECT_EQ(run.frame().icmp_type, v4 ? 3 : 1);
    EXPECT_EQ(run.frame().icmp_code, v4 ? 3 : 4);
    const Bytes quote = quote_of(build(sent), 12);
    ASSERT_GE(run.frame().payload.size(), quote.size());
    EXPECT_TRUE(std::equal(quote.begin(), quote.end(), run.frame().payload.begin()))
        << "the client must find its association by the quote";
    EXPECT_EQ(datapath_->half_count(), 0U);
}

TEST_P(Sctp, AnErrorAboutATranslatedPacketNamesTheVip) {
    const bool v4 = GetParam() == Family::kIpv4;
    serve(kSctp, world_.pod_b, kBackendPort, 1);
    for (const size_t quoted : {8U, 12U, 28U}) {
        SCOPED_TRACE(quoted);
        const auto there = from_a(from_client(kInit));
        Frame error{.src = world_.pod_b, .dst = world_.pod_a, .proto = v4 ? kIcmp4 : kIcmp6};
        error.icmp_type = v4 ? 3 : 1;
        error.icmp_code = v4 ? 3 : 4;
        error.payload = quote_of(there.packet, quoted);
        const auto back = from_b(error);
        expect_clean(back);
        EXPECT_EQ(back.frame().src, world_.vip);
        Bytes expected = quote_of(build(from_client(kInit)), quoted);
        Bytes got = back.frame().payload;
        got[v4 ? 8 : 7] = expected[v4 ? 8 : 7];  // hop limit, one less on its way
        if (v4) got[10] = expected[10], got[11] = expected[11];
        EXPECT_EQ(got, expected) << "ports and, as far as it is quoted, checksum";
    }
}

TEST_P(Sctp, LeavesMasqueradedAndComesBack) {
    Frame init = from_client(kInit);
    init.dst = world_.stranger;
    init.dport = 38412;
    const auto there = from_a(init);
    expect_clean(there);
    EXPECT_EQ(there.frame().src, world_.node);
    EXPECT_GE(there.frame().sport, 45056);
    EXPECT_EQ(there.frame().dport, 38412);
    const auto back = from_outside(answer(there.frame(), kInitAck, 300));
    expect_clean(back);
    EXPECT_EQ(back.frame().dst, world_.pod_a);
    EXPECT_EQ(back.frame().dport, kClientPort);
    EXPECT_EQ(datapath_->established_count(), 2U);
}

TEST_P(Sctp, NodePortFromOutside) {
    serve(kSctp, world_.pod_b, kBackendPort, 1);
    Frame init = from_client(kInit);
    init.src = world_.client;
    init.dst = world_.node;
    init.dport = kNodePort;
    const auto there = from_outside(init);
    expect_clean(there);
    EXPECT_EQ(there.frame().src, world_.client);
    EXPECT_EQ(there.frame().dst, world_.pod_b);
    const auto back = from_b(answer(there.frame(), kInitAck));
    expect_clean(back);
    EXPECT_EQ(back.frame().src, world_.node);
    EXPECT_EQ(back.frame().sport, kNodePort);
}

TEST_P(Sctp, ABackendThatIsGoneIsRefusedWhileOthersTakeNewAssociations) {
    serve(kSctp, world_.pod_b, kBackendPort, 1);
    from_b(answer(from_a(from_client(kInit)).frame(), kInitAck));
    weir_backend gone = *datapath_->get<weir_backend>("weir_backends", uint32_t{64});
    gone.state = WEIR_BACKEND_GONE;
    datapath_->set("weir_backends", uint32_t{64}, gone);
    datapath_->for_each_flow([](weir_ct& ct) { ct.seen -= 2; });
    const auto run = from_a(from_client(kData, 64));
    expect_clean(run);
    EXPECT_TRUE(run.frame().proto == kIcmp4 || run.frame().proto == kIcmp6);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_BACKEND_GONE), 1U);
}

TEST_P(Sctp, AChecksumLeftToTheDeviceStaysSo) {
    serve(kSctp, world_.pod_b, kBackendPort, 1);
    Bytes packet = build(from_client(kInit));
    const size_t crc = 14 + (GetParam() == Family::kIpv4 ? 20U : 40U) + 8;
    std::fill_n(packet.begin() + static_cast<ptrdiff_t>(crc), 4, uint8_t{0});
    const auto run = datapath_->run(WEIR_HOOK_POD_FROM, packet, {.ifindex = devices().pod_a});
    EXPECT_EQ(run.verdict, kRedirect);
    EXPECT_EQ(run.frame().dport, kBackendPort);
    EXPECT_TRUE(std::all_of(run.packet.begin() + static_cast<ptrdiff_t>(crc),
                            run.packet.begin() + static_cast<ptrdiff_t>(crc) + 4,
                            [](uint8_t byte) { return byte == 0; }));
}

INSTANTIATE_TEST_SUITE_P(, Sctp, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
