// SPDX-License-Identifier: Apache-2.0
// Tables of policy: each load of the programs has its own, and an endpoint a word for either.
#include <atomic>
#include <chrono>
#include <thread>

#include "datapath/embedded.h"
#include "datapath/fixture.h"
#include "datapath/policy_tables.h"

namespace weir::datapath::test {
namespace {

using namespace weir::model;

class PolicyTest : public DatapathTest {
  protected:
    std::unique_ptr<Datapath> open() {
        auto wanted = options(1);
        wanted.build = embedded_build();
        wanted.policy_sizes = {.addrs = 64,
                               .cidrs = 32,
                               .rows = 64,
                               .cells = 256,
                               .rules = 64,
                               .sets = 16,
                               .counters = 16};
        auto datapath = Datapath::open(std::move(wanted));
        EXPECT_TRUE(datapath) << datapath.error().message();
        return datapath ? std::move(*datapath) : nullptr;
    }
    static PolicyWriter writer(Datapath& datapath) {
        auto made = datapath.policy_writer([](uint32_t, uint64_t) { return Result<void>(); });
        EXPECT_TRUE(made) << made.error().message();
        return std::move(*made);
    }
    std::vector<std::string> policy_pins() const {
        std::vector<std::string> out;
        for (const auto& name : list_pins(pins().maps())) {
            if (name.starts_with("weir_policy_")) out.push_back(name);
        }
        return out;
    }
};

TEST_F(PolicyTest, EachLoadHasEmptyTablesOfItsOwn) {
    const auto datapath = open();
    ASSERT_NE(datapath, nullptr);
    WEIR_ASSERT_OK(datapath->load({}));
    const uint32_t first = datapath->loaded()->config().bank;
    const auto old = writer(*datapath);
    const weir_policy_row_key key{.identity = 7, .set = 3, .direction = WEIR_POLICY_INGRESS};
    const std::vector<PolicyWrite> writes = {
        PolicyCellsPut{.first = 4, .words = {11, 12, 13}},
        PolicyRulesPut{.first = 5, .words = {21, 22}},
        PolicySetPut{.index = 3, .value = {.rules = 5, .rule_count = 2}},
        PolicyRowPut{.key = key, .value = {.first = 4, .cells = {1, 1, 0}}},
        PolicySlotStore{.slot = 9, .word = 7}};
    WEIR_ASSERT_OK(old.apply(writes));
    EXPECT_EQ(old.tables().cells.get(6).value(), 13U);
    EXPECT_EQ(old.tables().rules.get(6).value(), 22U);
    EXPECT_EQ(old.tables().sets.get(3)->rules, 5U);
    EXPECT_EQ(old.tables().rows.find(key).value()->first, 4U);
    EXPECT_EQ(old.tables().slots.get(9).value(), 7U);
    EXPECT_FALSE(old.apply(std::vector<PolicyWrite>{writes[3]})) << "a row is never replaced";
    WEIR_ASSERT_OK(old.apply(std::vector<PolicyWrite>{PolicyRowErase{key}}));
    EXPECT_FALSE(old.tables().rows.find(key)->has_value());
    EXPECT_EQ(old.tables().slots.size(), 64U + 32 + 1);
    WEIR_ASSERT_OK(datapath->activate(SocketHooks::kOff));
    EXPECT_EQ(policy_pins().size(), 8U);

    WEIR_ASSERT_OK(datapath->load({}));
    EXPECT_NE(datapath->loaded()->config().bank, first);
    EXPECT_EQ(policy_pins().size(), 16U) << "both, until one takes over";
    const auto next = writer(*datapath);
    EXPECT_EQ(next.tables().cells.get(6).value(), 0U);
    EXPECT_EQ(old.tables().cells.get(6).value(), 13U);
    WEIR_ASSERT_OK(datapath->activate(SocketHooks::kOff));
    ASSERT_EQ(policy_pins().size(), 8U) << "those of the programs in force";
    const uint32_t bank = datapath->loaded()->config().bank;
    EXPECT_TRUE(policy_pins().front().ends_with("_" + std::to_string(bank)));
    WEIR_ASSERT_OK(PolicyMaps::open_read_only(pins(), bank));
}

TEST_F(PolicyTest, TransactionsAskForTheirGracePeriod) {
    const auto datapath = open();
    ASSERT_NE(datapath, nullptr);
    WEIR_ASSERT_OK(datapath->load({}));
    const auto policies = writer(*datapath);
    std::atomic<uint64_t> told = 0;
    WEIR_ASSERT_OK(policies.commit({.writes = {PolicySlotStore{.slot = 1, .word = 2}}, .grace = 42},
                                   [&](uint64_t token, const Result<void>& waited) {
                                       EXPECT_TRUE(waited);
                                       told = token;
                                   }));
    for (int i = 0; i < 500 && told == 0; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(told, 42U);
}

TEST_F(PolicyTest, AnEndpointIsClosedUntilItIsToldAndEpochsAreNeverUsedAgain) {
    uint32_t id = 0;
    {
        const auto datapath = open();
        ASSERT_NE(datapath, nullptr);
        auto& endpoints = datapath->endpoints();
        id = endpoints.reserve().value();
        const auto added = endpoints.add(
            id, {.ipv4 = IpAddress::v4(0x0a010001), .ipv6 = {}, .ifindex = 7, .mtu = 1500});
        WEIR_ASSERT_OK(added);
        const auto element = datapath->tables().endpoints.get(id).value();
        for (const uint64_t word : element.policy)
            EXPECT_EQ(WEIR_POLICY_WORD_SET(word), WEIR_POLICY_SET_CLOSED);
        EXPECT_EQ(endpoints.next_epoch().value(), 1U);
        const uint64_t word = WEIR_POLICY_WORD(5, 0, 100);
        EXPECT_TRUE(endpoints.set_policy(id, added->generation, 1, word).value());
        EXPECT_EQ(datapath->tables().endpoints.get(id)->policy[1], word);
        EXPECT_EQ(datapath->tables().endpoints.get(id)->policy[0], element.policy[0]);
        const auto stale = static_cast<uint16_t>(added->generation + 1);
        EXPECT_FALSE(endpoints.set_policy(id, stale, 1, WEIR_POLICY_WORD(6, 0, 200)).value())
            << "it is another pod's";
        EXPECT_EQ(endpoints.next_epoch().value(), 101U);
        EXPECT_TRUE(endpoints.remove(id).value());
        EXPECT_FALSE(endpoints.set_policy(id, added->generation, 1, word).value());
    }
    const auto again = open();
    ASSERT_NE(again, nullptr);
    EXPECT_EQ(again->endpoints().next_epoch().value(), 101U) << "flows may remember it";
}

}  // namespace
}  // namespace weir::datapath::test
