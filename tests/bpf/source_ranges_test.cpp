// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"

namespace weir::test {
namespace {

// LB source ranges: judged by the client's own address, pods and this host included; NodePorts and
// ClusterIPs have none. Others are dropped, not refused, endpoints or not.
class SourceRanges : public DatapathTest {
  protected:
    void restrict_to(const IpPrefix& prefix, uint32_t verdict = WEIR_RANGE_ADMIT,
                     uint32_t service = 1) {
        const weir_range_key key{.prefixlen = WEIR_RANGE_SERVICE_BITS + prefix.mapped_length(),
                                 .service = service,
                                 .addr = prefix.address().abi()};
        datapath_->set("weir_ranges", key, verdict);
    }
    IpPrefix whole(const IpAddress& address) const {
        return IpPrefix::make(address, GetParam() == Family::kIpv4 ? 32 : 128).value();
    }
    IpPrefix around(const IpAddress& address) const {
        return IpPrefix::make(address, GetParam() == Family::kIpv4 ? 24 : 64).value();
    }
    void serve_restricted(bool endpoints = true) {
        ServiceSpec spec{.vip = lb_, .node_port = kNodePort};
        spec.vip_flags = WEIR_VIP_EXTERNAL | WEIR_VIP_SOURCE_RANGES;
        if (endpoints) spec.backends = {{world_.pod_b, kBackendPort}};
        add_service(*datapath_, spec);
    }
    Frame ask(const IpAddress& from) const {
        return {.src = from, .dst = lb_, .sport = 4000, .dport = 80};
    }
    void expect_shut_out(const Datapath::Run& run) {
        EXPECT_EQ(run.verdict, kDropped);
        EXPECT_EQ(datapath_->drops(WEIR_DROP_SOURCE_RANGE), ++shut_out_);
        EXPECT_EQ(datapath_->half_count(), 0U);
    }
    IpAddress lb_ =
        IpAddress::parse(GetParam() == Family::kIpv4 ? "203.0.113.80" : "2001:db8:80::1").value();
    uint64_t shut_out_ = 0;
};

TEST_P(SourceRanges, AdmitWhoIsInOneOfThem) {
    serve_restricted();
    expect_shut_out(from_outside(ask(world_.client)));
    expect_shut_out(from_a(ask(world_.pod_a)));
    restrict_to(around(world_.client));
    restrict_to(whole(world_.pod_a));
    const auto outside = from_outside(ask(world_.client));
    expect_clean(outside, kRedirect);
    EXPECT_EQ(outside.frame().dst, world_.pod_b);
    EXPECT_EQ(from_b(reply_to(outside.frame())).frame().src, lb_);
    const auto inside = from_a(ask(world_.pod_a));
    expect_clean(inside, kRedirect);
    EXPECT_EQ(inside.frame().dst, world_.pod_b);
}

TEST_P(SourceRanges, AreThoseOfTheServiceAlone) {
    serve_restricted();
    restrict_to(around(world_.client), WEIR_RANGE_ADMIT, 2);
    expect_shut_out(from_outside(ask(world_.client)));
}

TEST_P(SourceRanges, TheLongestDecides) {
    serve_restricted();
    restrict_to(around(world_.client));
    restrict_to(whole(world_.client), WEIR_RANGE_REFUSE);
    expect_shut_out(from_outside(ask(world_.client)));
    EXPECT_EQ(from_outside(ask(world_.stranger)).verdict, kRedirect);
}

TEST_P(SourceRanges, DropWithoutEndpointsTooWhereOthersAreRefused) {
    serve_restricted(false);
    restrict_to(around(world_.stranger));
    restrict_to(whole(world_.client), WEIR_RANGE_REFUSE);
    expect_shut_out(from_outside(ask(world_.client)));
    const auto refused = from_outside(ask(world_.stranger));
    EXPECT_EQ(refused.verdict, kRedirect);
    EXPECT_TRUE(refused.frame().tcp_flags & kRst);
}

TEST_P(SourceRanges, DoNotHoldForTheNodePort) {
    serve_restricted();
    Frame frame = ask(world_.client);
    frame.dst = world_.node;
    frame.dport = kNodePort;
    expect_clean(from_outside(frame), kRedirect);
}

TEST_P(SourceRanges, DoNotCutAFlowThatIsThere) {
    serve_restricted();
    restrict_to(whole(world_.client));
    const auto first = from_outside(ask(world_.client));
    from_b(reply_to(first.frame()));
    restrict_to(whole(world_.client), WEIR_RANGE_REFUSE);
    Frame next = ask(world_.client);
    next.tcp_flags = kAck;
    expect_clean(from_outside(next), kRedirect);
}

INSTANTIATE_TEST_SUITE_P(, SourceRanges, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
