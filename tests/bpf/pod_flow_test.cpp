// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"

/// What pods send each other: the plain path, tracking, its end.
namespace weir::test {
namespace {

class PodFlow : public DatapathTest {
  protected:
    Frame a_to_b(uint8_t flags = kSyn) const {
        return {.src = world_.pod_a,
                .dst = world_.pod_b,
                .sport = 4000,
                .dport = kBackendPort,
                .tcp_flags = flags};
    }
    Frame b_to_a(uint8_t flags = kSyn | kAck) const {
        return {.src_mac = kPodBMac,
                .src = world_.pod_b,
                .dst = world_.pod_a,
                .sport = kBackendPort,
                .dport = 4000,
                .tcp_flags = flags};
    }
};

TEST_P(PodFlow, GoesStraightToTheOtherPod) {
    const auto run = from_a(a_to_b());
    EXPECT_EQ(run.verdict, kRedirect);
    EXPECT_EQ(defects(run.packet), "") << describe(run.packet);
    EXPECT_EQ(run.frame().dst_mac, kPodBMac);
    EXPECT_EQ(run.frame().src_mac, kHostMac);
    EXPECT_EQ(run.frame().ttl, 63);
    EXPECT_EQ(datapath_->half_count(), 1U);
    EXPECT_EQ(datapath_->established_count(), 0U);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 1U);
}

INSTANTIATE_TEST_SUITE_P(, PodFlow, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
