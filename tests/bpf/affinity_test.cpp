// SPDX-License-Identifier: Apache-2.0
#include <set>

#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"

namespace weir::test {
namespace {

// Kubernetes Service API, sessionAffinity: ClientIP. New flows of a client go where its last one
// went, for as long as that serves and timeoutSeconds have not passed since then.
class Affinity : public DatapathTest {
  protected:
    static constexpr uint32_t kSeconds = 100;
    static constexpr uint16_t kFirstPort = 8000;

    void serve(size_t backends, uint32_t flags = WEIR_SVC_AFFINITY) {
        ServiceSpec spec{.vip = world_.vip, .node_port = kNodePort, .flags = flags};
        spec.affinity_seconds = kSeconds;
        for (uint16_t i = 0; i < backends; ++i)
            spec.backends.emplace_back(world_.pod_b, kFirstPort + i);
        spec.local = spec.backends;
        add_service(*datapath_, spec);
    }
    /// The Service keeps only the backends that `keep` says, in an extent elsewhere.
    template <typename Keep>
    void narrow(Keep keep) {
        auto service = *datapath_->get<weir_service>("weir_services", uint32_t{1});
        const uint64_t old = service.extent[WEIR_SCOPE_CLUSTER];
        uint32_t next = 700;
        for (uint32_t i = 0; i < WEIR_EXTENT_COUNT(old); ++i) {
            auto slot = *datapath_->get<weir_slot>("weir_slots", WEIR_EXTENT_FIRST(old) + i);
            if (!keep(static_cast<uint16_t>(kFirstPort + i))) continue;
            slot.tag = 99;
            datapath_->set("weir_slots", next++, slot);
        }
        service.extent[WEIR_SCOPE_CLUSTER] = WEIR_EXTENT(700, next - 700, 99);
        datapath_->set("weir_services", uint32_t{1}, service);
    }
    /// Port of the backend that a new flow of the pod goes to.
    uint16_t ask() {
        const auto run =
            from_a({.src = world_.pod_a, .dst = world_.vip, .sport = next_port_++, .dport = 80});
        expect_clean(run);
        return run.frame().dport;
    }
    /// The same of a client outside, by the NodePort.
    uint16_t ask_outside(const IpAddress& client) {
        const auto run = from_outside(
            {.src = client, .dst = world_.node, .sport = next_port_++, .dport = kNodePort});
        expect_clean(run);
        return run.frame().dport;
    }
    /// The n-th client outside.
    IpAddress client(uint8_t n) const {
        weir_addr address = world_.client.abi();
        reinterpret_cast<uint8_t*>(&address)[15] = n;
        return IpAddress(address);
    }
    weir_affinity_key key() const {
        return {.service = 1, .generation = 0, .client = world_.pod_a.abi()};
    }

    uint16_t next_port_ = 4000;
};

TEST_P(Affinity, AClientStaysWithItsBackendAndClientsDiffer) {
    for (const size_t backends : {1U, 2U, 3U, 7U, 8U, 33U}) {
        SCOPED_TRACE(backends);
        serve(backends);
        const uint16_t first = ask();
        for (int i = 0; i < 20; ++i)
            ASSERT_EQ(ask(), first);
    }
    std::set<uint16_t> seen;
    for (uint8_t n = 10; n < 90; ++n) {
        const uint16_t first = ask_outside(client(n));
        seen.insert(first);
        EXPECT_EQ(ask_outside(client(n)), first);
    }
    EXPECT_GT(seen.size(), 20U);  // 80 of 33, at random
}

TEST_P(Affinity, WithoutItEachFlowChooses) {
    serve(33, 0);
    std::set<uint16_t> seen;
    for (int i = 0; i < 60; ++i)
        seen.insert(ask());
    EXPECT_GT(seen.size(), 10U);
}

TEST_P(Affinity, ABackendThatLeavesIsLeftAndOthersAreNot) {
    serve(16);
    const uint16_t first = ask();
    std::map<uint8_t, uint16_t> others;
    for (uint8_t n = 10; n < 40; ++n)
        others[n] = ask_outside(client(n));
    narrow([&](uint16_t port) { return port != first; });
    const uint16_t second = ask();
    EXPECT_NE(second, first);
    EXPECT_EQ(ask(), second);
    for (const auto& [n, port] : others) {
        const uint16_t now = ask_outside(client(n));
        if (port == first) {
            EXPECT_NE(now, first);
        } else {
            EXPECT_EQ(now, port);
        }
    }
}

// The time runs from the last flow, not from the first.
TEST_P(Affinity, EndsAfterItsTime) {
    serve(33);
    const uint16_t first = ask();
    const auto kept = datapath_->get<weir_affinity>("weir_affinity", key());
    ASSERT_TRUE(kept);
    const uint32_t ticks = uint32_t{(uint64_t{kSeconds} * 1'000'000'000) >> WEIR_TICK_SHIFT};
    weir_affinity almost = *kept;
    almost.used -= ticks - 5;
    datapath_->set("weir_affinity", key(), almost);
    EXPECT_EQ(ask(), first);
    EXPECT_NEAR(datapath_->get<weir_affinity>("weir_affinity", key())->used, kept->used, 5);
    std::set<uint16_t> seen;
    for (int i = 0; i < 40; ++i) {
        weir_affinity over = *datapath_->get<weir_affinity>("weir_affinity", key());
        over.used -= ticks + 2;
        datapath_->set("weir_affinity", key(), over);
        seen.insert(ask());
    }
    EXPECT_GT(seen.size(), 10U);
}

// The index was given to another Service port since.
TEST_P(Affinity, IsOfTheServiceThatHadIt) {
    serve(33);
    std::set<uint16_t> seen;
    for (uint32_t generation = 1; generation <= 40; ++generation) {
        auto service = *datapath_->get<weir_service>("weir_services", uint32_t{1});
        service.generation = generation;
        datapath_->set("weir_services", uint32_t{1}, service);
        seen.insert(ask());
    }
    EXPECT_GT(seen.size(), 10U);
}

TEST_P(Affinity, DryRunRemembersNothing) {
    load({.config = [](weir_config& cfg) { cfg.flags |= WEIR_CFG_DRY_RUN; }, .small_hashes = {}});
    serve(33);
    ask();
    EXPECT_FALSE(datapath_->get<weir_affinity>("weir_affinity", key()));
}

INSTANTIATE_TEST_SUITE_P(, Affinity, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
