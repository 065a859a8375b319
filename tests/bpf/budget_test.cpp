// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <map>

#include <bpf/bpf.h>

#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"

/// What the verifier walks through for each program, against a budget; and what a packet costs.
namespace weir::test {
namespace {

/// Instructions the verifier may process on the kernel at hand. The limit of the oldest kernel is a
/// million; the budget keeps far away from it, for older verifiers prune less.
const std::map<std::string, uint32_t> kBudget = {
    {"stub_pod_from", 100},
    {"stub_pod_to", 100},
    {"stub_dev_in", 100},
    {"stub_dev_out", 100},
    {"pod_from", 60000},
    {"pod_from_new_flow", 35000},
    {"pod_from_policy", 60000},
    {"pod_from_icmp_error", 50000},
    {"pod_from_reject", 25000},
    {"pod_from_fragment", 60000},
    {"pod_from_neighbour", 5000},
    {"pod_to", 55000},
    {"pod_to_new_flow", 30000},
    {"pod_to_policy", 60000},
    {"pod_to_icmp_error", 50000},
    {"pod_to_fragment", 55000},
    {"dev_in", 60000},
    {"dev_in_new_flow", 35000},
    {"dev_in_policy", 60000},
    {"dev_in_icmp_error", 50000},
    {"dev_in_reject", 25000},
    {"dev_in_fragment", 60000},
    {"dev_out", 60000},
    {"dev_out_new_flow", 35000},
    {"dev_out_icmp_error", 50000},
    {"dev_out_reject", 25000},
    {"dev_out_fragment", 55000},
    {"sweep_start", 8000},
};

class Budget : public DatapathTest {};

TEST_P(Budget, VerifiedInstructions) {
    for (const auto& [name, budget] : kBudget) {
        bpf_prog_info info{};
        uint32_t size = sizeof info;
        ASSERT_EQ(bpf_obj_get_info_by_fd(datapath_->program(name), &info, &size), 0);
        std::printf("%-22s %7u of %7u verified, %6u bytes\n", name.c_str(), info.verified_insns,
                    budget, info.jited_prog_len);
        EXPECT_LE(info.verified_insns, budget) << name;
    }
}

/// Not a benchmark: a guard against a cost of another order, on whatever machine this is.
TEST_P(Budget, CostOfAPacket) {
    constexpr int kRepeat = 200000;
    const Bytes there = build(
        {.src = world_.pod_a, .dst = world_.pod_b, .sport = 1, .dport = 2, .tcp_flags = kAck});
    const Bytes back = build({.src_mac = kPodBMac,
                              .src = world_.pod_b,
                              .dst = world_.pod_a,
                              .sport = 2,
                              .dport = 1,
                              .tcp_flags = kAck});
    datapath_->run(WEIR_HOOK_POD_FROM, there, {.ifindex = devices().pod_a});
    datapath_->run(WEIR_HOOK_POD_FROM, back, {.ifindex = devices().pod_b});
    ASSERT_EQ(datapath_->established_count(), 1U);
    // runs repeat on one buffer: a hop limit must not run out
    const Bytes host = build({.src = world_.client, .dst = world_.node, .sport = 9, .dport = 22});
    const uint32_t empty = datapath_->time_program(datapath_->program("sweep_start"), host, 0, 1);
    const uint32_t ssh =
        datapath_->time_program(datapath_->program("dev_in"), host, devices().external, kRepeat);
    std::printf("packet to the host through dev_in: %u ns (one timer start: %u ns)\n", ssh, empty);
    EXPECT_LT(ssh, 20000U);
}

INSTANTIATE_TEST_SUITE_P(, Budget, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
