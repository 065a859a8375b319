// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <thread>

#include <sched.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"

/// weir_ct_counts: it may say that a hash has no established entry only where that is so.
namespace weir::test {
namespace {

class CtCounts : public DatapathTest {
  protected:
    void establish(uint16_t port = 4000) {
        EXPECT_EQ(from_a(a_to_b(kSyn, port)).verdict, kRedirect);
        EXPECT_EQ(from_b(b_to_a(kSyn | kAck, port)).verdict, kRedirect);
    }
    uint64_t word_of(const Frame& frame) {
        return *datapath_->get<uint64_t>("weir_ct_counts",
                                         WEIR_CT_COUNT_WORD(hash_of(frame), !frame.src.is_v4()));
    }
    static uint32_t hash_of(const Frame& frame) {
        const bool second = frame.dst < frame.src;
        const IpAddress ends[] = {second ? frame.dst : frame.src, second ? frame.src : frame.dst};
        const __be16 ports[] = {htobe16(second ? frame.dport : frame.sport),
                                htobe16(second ? frame.sport : frame.dport)};
        if (frame.src.is_v4()) {
            const weir_ct_key4 key{.addr = {ends[0].abi().w[3], ends[1].abi().w[3]},
                                   .port = {ports[0], ports[1]},
                                   .proto = frame.proto,
                                   .pad = {}};
            return weir_ct_hash4(&key);
        }
        const weir_ct_key6 key{.addr = {ends[0].abi(), ends[1].abi()},
                               .port = {ports[0], ports[1]},
                               .proto = frame.proto,
                               .pad = {}};
        return weir_ct_hash6(&key);
    }
    unsigned count_of(const Frame& frame) {
        return static_cast<unsigned>(word_of(frame) >> WEIR_CT_COUNT_SHIFT(hash_of(frame)) & 15);
    }
};

TEST_P(CtCounts, AnEntryIsCountedForAsLongAsItIsEstablished) {
    EXPECT_EQ(count_of(a_to_b()), WEIR_CT_COUNT_NONE);
    from_a(a_to_b());
    EXPECT_EQ(datapath_->counted_flows(), 0U) << "half open";
    from_b(b_to_a());
    EXPECT_EQ(datapath_->counted_flows(), 1U);
    EXPECT_EQ(count_of(a_to_b()), WEIR_CT_COUNT_NONE + 1);
    from_b(b_to_a(kRst | kAck));
    EXPECT_EQ(datapath_->counted_flows(), 1U) << "over, but still there";
    from_a(a_to_b());
    EXPECT_EQ(datapath_->counted_flows(), 0U) << "a new flow has taken its place";
}

TEST_P(CtCounts, BothEntriesOfATranslatedFlowAreCounted) {
    add_service(*datapath_, {.vip = world_.vip,
                             .proto = kTcp,
                             .node_port = kNodePort,
                             .backends = {{world_.pod_b, kBackendPort}},
                             .local = {}});
    Frame ask = a_to_b();
    ask.dst = world_.vip;
    ask.dport = 80;
    ASSERT_EQ(from_a(ask).verdict, kRedirect);
    ASSERT_EQ(from_b(b_to_a()).verdict, kRedirect);
    EXPECT_EQ(datapath_->established_count(), 2U);
    EXPECT_EQ(datapath_->counted_flows(), 2U);
    EXPECT_EQ(count_of(ask), WEIR_CT_COUNT_NONE + 1);
    EXPECT_EQ(count_of(b_to_a()), WEIR_CT_COUNT_NONE + 1);
}

TEST_P(CtCounts, TheSweepTakesAwayWhatItDeletes) {
    establish();
    establish(4001);
    datapath_->for_each_flow([](weir_ct& ct) { ct.expires = ct.seen - 10; });
    ASSERT_EQ(datapath_->run_program("sweep_start"), 0);
    for (int i = 0; i < 200 && datapath_->established_count() != 0; i++)
        usleep(100000);
    ASSERT_EQ(datapath_->established_count(), 0U);
    EXPECT_EQ(datapath_->counted_flows(), 0U);
}

TEST_P(CtCounts, ARepeatedSynFindsItsEstablishedFlow) {
    establish();
    EXPECT_EQ(from_a(a_to_b()).verdict, kRedirect);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 1U);
}

TEST_P(CtCounts, APortOfAnEstablishedFlowIsTaken) {
    load({.config = [](weir_config& cfg) { cfg.snat_max = cfg.snat_min; }, .small_hashes = {}});
    Frame ask = a_to_b();
    ask.dst = world_.stranger;
    const auto there = from_a(ask);
    ASSERT_EQ(there.verdict, kRedirect);
    const Frame out = there.frame();
    ASSERT_EQ(from_outside({.src = out.dst,
                            .dst = out.src,
                            .sport = out.dport,
                            .dport = out.sport,
                            .tcp_flags = kSyn | kAck})
                  .verdict,
              kRedirect);
    ASSERT_EQ(datapath_->established_count(), 2U);
    ask.sport = 4001;
    EXPECT_EQ(from_a(ask).verdict, kDropped);
    EXPECT_EQ(datapath_->drops(WEIR_DROP_SNAT_EXHAUSTED), 1U);
}

TEST_P(CtCounts, ZeroesSayNothing) {
    datapath_->set_counts(0);
    establish();
    EXPECT_EQ(from_a(a_to_b()).verdict, kRedirect);
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 1U);
    EXPECT_EQ(word_of(a_to_b()), 0U);
    from_b(b_to_a(kRst | kAck));
    from_a(a_to_b());
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 2U);
    EXPECT_EQ(word_of(a_to_b()), 0U);
}

TEST_P(CtCounts, TooManyOfOneHashAreNotKnownForGood) {
    datapath_->set_counts(~uint64_t{0});
    establish();
    EXPECT_EQ(count_of(a_to_b()), WEIR_CT_COUNT_UNKNOWN);
    EXPECT_EQ(word_of(a_to_b()) | uint64_t{15} << WEIR_CT_COUNT_SHIFT(hash_of(a_to_b())),
              ~uint64_t{0})
        << "the others of its word are as they were";
    from_a(a_to_b());
    EXPECT_EQ(datapath_->counter(WEIR_COUNTER_CT_NEW), 1U);
    from_b(b_to_a(kRst | kAck));
    from_a(a_to_b());
    EXPECT_EQ(count_of(a_to_b()), WEIR_CT_COUNT_UNKNOWN);
}

/// Two CPUs establish and end the same flows, and others that share their words.
TEST_P(CtCounts, NothingIsLostBetweenCpus) {
    if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two CPUs";
    std::atomic<int> started = 0;
    const auto work = [&](int cpu) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<size_t>(cpu), &set);
        sched_setaffinity(0, sizeof set, &set);
        started++;
        while (started < 2) {
        }
        for (unsigned i = 0; i < 3000; i++) {
            const auto port = static_cast<uint16_t>(4000 + i % 16);
            from_a(a_to_b(kSyn, port));
            from_b(b_to_a(kSyn | kAck, port));
            if (i % 3 == 0) from_b(b_to_a(kRst | kAck, port));
        }
    };
    {
        const std::jthread first(work, 0);
        const std::jthread second(work, 1);
    }
    EXPECT_GT(datapath_->established_count(), 0U);
    EXPECT_EQ(datapath_->counted_flows(), datapath_->established_count());
}

INSTANTIATE_TEST_SUITE_P(, CtCounts, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
