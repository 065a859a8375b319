// SPDX-License-Identifier: Apache-2.0
// What rules decided is counted for as long as they are known, whatever numbers and tables of the
// kernel count it.
#include "agent/policy_hits.h"

#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace weir::agent {
namespace {

using namespace std::chrono_literals;
using Time = PolicyHits::Time;

constexpr Time kBegin{std::chrono::seconds(1'800'000'000)};

class PolicyHitsTest : public testing::Test {
  protected:
    PolicyHits open() {
        PolicyHits hits(file_);
        hits.begin([this](uint32_t number) -> Result<uint64_t> { return table_[number]; });
        return hits;
    }
    static uint64_t flows(const PolicyHits& hits, uint32_t number) {
        const auto total = hits.total(number);
        EXPECT_TRUE(total) << total.error().message();
        return total ? total->flows : 0;
    }

    test::TempDir dir_;
    std::filesystem::path file_ = dir_.path() / "hits.json";
    std::map<uint32_t, uint64_t> table_;  ///< as the kernel has it
};

TEST_F(PolicyHitsTest, ANumberThatWasAnotherRulesBeginsAtNothing) {
    PolicyHits hits = open();
    hits.apply(std::vector<model::PolicyCounter>{{7, "a"}}, kBegin);
    table_[7] = 5;
    EXPECT_EQ(flows(hits, 7), 5U);
    hits.apply(std::vector<model::PolicyCounter>{{7, ""}, {7, "b"}}, kBegin + 1min);
    EXPECT_EQ(flows(hits, 7), 0U) << "the 5 are those of a";
    table_[7] = 8;
    EXPECT_EQ(flows(hits, 7), 3U);
    EXPECT_EQ(hits.total(7)->since, kBegin + 1min);
    hits.apply(std::vector<model::PolicyCounter>{{9, "a"}}, kBegin + 2min);
    EXPECT_EQ(flows(hits, 9), 5U) << "it is in force again";
    EXPECT_EQ(hits.total(9)->since, kBegin);
}

TEST_F(PolicyHitsTest, NothingIsLostWithTheTablesOfALoad) {
    PolicyHits hits = open();
    hits.apply(std::vector<model::PolicyCounter>{{1, "a"}}, kBegin);
    table_[1] = 4;
    hits.end();
    table_.clear();
    hits.begin([this](uint32_t number) -> Result<uint64_t> { return table_[number]; });
    hits.apply(std::vector<model::PolicyCounter>{{3, "a"}}, kBegin + 1min);
    table_[3] = 2;
    EXPECT_EQ(flows(hits, 3), 6U);
}

TEST_F(PolicyHitsTest, AnotherAgentGoesOnWithWhatWasSaved) {
    {
        PolicyHits hits = open();
        hits.apply(std::vector<model::PolicyCounter>{{1, "a"}, {2, "b"}}, kBegin);
        table_[1] = 4;
        hits.look(kBegin + 1min);
        ASSERT_TRUE(hits.save());
    }
    table_.clear();
    PolicyHits hits = open();
    hits.apply(std::vector<model::PolicyCounter>{{5, "b"}, {6, "a"}}, kBegin + 1h);
    EXPECT_EQ(flows(hits, 6), 4U);
    EXPECT_EQ(flows(hits, 5), 0U);
    EXPECT_EQ(hits.total(6)->since, kBegin);
    EXPECT_EQ(hits.total(6)->last, kBegin + 1min);
    EXPECT_FALSE(hits.total(5)->last);
    hits.look(kBegin + 2h);
    EXPECT_EQ(hits.total(6)->last, kBegin + 1min) << "nothing has counted since";
    table_[6] = 1;
    hits.look(kBegin + 3h);
    EXPECT_EQ(hits.total(6)->last, kBegin + 3h);
}

TEST_F(PolicyHitsTest, AFileThatCannotBeReadIsBegunAnew) {
    for (const char* text : {"", "{}", "[{\"rule\": 1}]", "[{\"rule\": \"a\", \"flows\": -1}]",
                             "[{\"rule\": \"a\", \"flows\": 1, \"since\": \"yesterday\"}]"}) {
        std::ofstream(file_) << text;
        PolicyHits hits = open();
        hits.apply(std::vector<model::PolicyCounter>{{1, "a"}}, kBegin);
        EXPECT_EQ(flows(hits, 1), 0U) << text;
        EXPECT_TRUE(hits.save()) << text;
    }
}

TEST_F(PolicyHitsTest, ANumberThatCountsNothingHasNothing) {
    EXPECT_EQ(flows(open(), 0), 0U);
}

}  // namespace
}  // namespace weir::agent
