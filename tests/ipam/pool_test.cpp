// SPDX-License-Identifier: Apache-2.0
#include "ipam/pool.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::ipam {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

IpPrefix prefix(std::string_view text) {
    return IpPrefix::parse(text).value();
}
IpAddress address(std::string_view text) {
    return IpAddress::parse(text).value();
}
Pool pool_of(std::vector<std::string_view> ranges) {
    std::vector<IpPrefix> prefixes;
    for (const std::string_view range : ranges)
        prefixes.push_back(prefix(range));
    Pool pool(prefixes.front().family(), Rest{});
    EXPECT_TRUE(pool.set_ranges(prefixes));
    return pool;
}

// host-local semantics to match: gateway, first and last address of a range.
TEST(Range, LeavesOutNetworkRouterAndBroadcast) {
    const Range v4 = Range::make(prefix("10.1.2.0/24")).value();
    EXPECT_EQ(v4.router(), address("10.1.2.1"));
    EXPECT_EQ(to_address(v4.first()), address("10.1.2.2"));
    EXPECT_EQ(to_address(v4.last()), address("10.1.2.254"));
    EXPECT_EQ(v4.size(), Number{253});

    const Range v6 = Range::make(prefix("fd00:1::/64")).value();
    EXPECT_EQ(v6.router(), address("fd00:1::1"));
    EXPECT_EQ(to_address(v6.first()), address("fd00:1::2"));
    EXPECT_EQ(to_address(v6.last()), address("fd00:1::ffff:ffff:ffff:ffff"));
    EXPECT_EQ(to_string(v6.size()), "18446744073709551614");
}

TEST(Range, NeedsTwoHostBits) {
    EXPECT_EQ(Range::make(prefix("10.0.0.0/30"))->size(), Number{1});
    EXPECT_THAT(Range::make(prefix("10.0.0.0/31")).error().message(), HasSubstr("10.0.0.0/31"));
    EXPECT_THAT(Range::make(prefix("10.0.0.0/32")).error().message(), HasSubstr("use /30"));
    EXPECT_FALSE(Range::make(prefix("fd00::/127")));
}

TEST(Range, TakesTheWholeOfIpv6) {
    EXPECT_EQ(to_address(Range::make(prefix("::/0"))->last()),
              address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
}

TEST(IntervalSet, JoinsAndSplits) {
    IntervalSet set;
    for (const unsigned n : {5, 7, 6, 1})
        set.insert(n);
    EXPECT_EQ(set.first_gap(5, 100), Number{8});
    EXPECT_EQ(set.first_gap(5, 7), std::nullopt);
    EXPECT_EQ(set.first_gap(1, 7), Number{2});
    set.erase(6);
    EXPECT_EQ(set.first_gap(5, 7), Number{6});
    EXPECT_TRUE(set.contains(7));
    EXPECT_FALSE(set.contains(6));
}

TEST(Pool, GoesRoundAndReusesLate) {
    Pool pool = pool_of({"10.0.0.0/29"});  // .2 to .6
    EXPECT_EQ(pool.take({}), address("10.0.0.2"));
    pool.give_back(address("10.0.0.2"), {});
    const BootTime later = seconds(100);
    for (const auto* expected : {"10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"}) {
        EXPECT_EQ(pool.take(later), address(expected));
    }
}

TEST(Pool, GoesThroughRangesInOrder) {
    Pool pool = pool_of({"10.0.0.0/30", "10.0.1.0/30"});
    EXPECT_THAT(pool.routers(), ElementsAre(address("10.0.0.1"), address("10.0.1.1")));
    EXPECT_EQ(pool.take({}), address("10.0.0.2"));
    EXPECT_EQ(pool.take({}), address("10.0.1.2"));
    EXPECT_EQ(pool.take({}).error().code(), Errc::kExhausted);
}

TEST(Pool, ReleasedAddressesRestWhileOthersAreFree) {
    Pool pool = pool_of({"10.0.0.0/29"});
    for (int i = 0; i < 4; ++i)
        ASSERT_TRUE(pool.take({}));
    pool.give_back(address("10.0.0.3"), seconds(1));
    pool.give_back(address("10.0.0.2"), seconds(2));
    EXPECT_EQ(pool.take(seconds(5)), address("10.0.0.6"));
    // Nothing else is free: the one that rested longest, once it rested the least time.
    EXPECT_EQ(pool.take(seconds(5)), address("10.0.0.3"));
    EXPECT_EQ(pool.take(seconds(3)).error().code(), Errc::kExhausted);
    EXPECT_EQ(pool.take(seconds(5)), address("10.0.0.2"));
}

TEST(Pool, ExhaustionNamesPoolAndNumbers) {
    Pool pool = pool_of({"10.0.0.0/29", "10.9.0.0/30"});
    for (int i = 0; i < 6; ++i)
        ASSERT_TRUE(pool.take({}));
    pool.give_back(address("10.0.0.4"), seconds(10));
    const Error error = pool.take(seconds(11)).error();
    EXPECT_EQ(error.code(), Errc::kExhausted);
    EXPECT_THAT(error.message(), HasSubstr("IPv4 pool 10.0.0.0/29,10.9.0.0/30 is exhausted: 6 "
                                           "addresses, 5 in use, 1 released less than 2 s ago"));
}

TEST(Pool, RequestedAddresses) {
    Pool pool = pool_of({"10.0.0.0/29"});
    EXPECT_TRUE(pool.take_exact(address("10.0.0.4")));
    EXPECT_EQ(pool.take_exact(address("10.0.0.4")).error().code(), Errc::kExists);
    for (const auto* nobodys : {"10.0.0.0", "10.0.0.1", "10.0.0.7", "10.0.0.8", "10.0.1.2"}) {
        EXPECT_EQ(pool.take_exact(address(nobodys)).error().code(), Errc::kInvalid) << nobodys;
    }
    pool.give_back(address("10.0.0.4"), seconds(1));
    EXPECT_TRUE(pool.take_exact(address("10.0.0.4")));
}

TEST(Pool, RangesChangeUnderRunningPods) {
    Pool pool = pool_of({"10.0.0.0/29"});
    const IpAddress old = pool.take({}).value();
    ASSERT_TRUE(pool.set_ranges({prefix("10.5.0.0/29")}));
    EXPECT_EQ(pool.take({}), address("10.5.0.2"));
    EXPECT_EQ(pool.stats().stranded, 1U);
    EXPECT_EQ(pool.stats().used, 1U);
    ASSERT_TRUE(pool.set_ranges({prefix("10.0.0.0/29"), prefix("10.5.0.0/29")}));
    EXPECT_EQ(pool.take_exact(old).error().code(), Errc::kExists);
    EXPECT_FALSE(pool.set_ranges({prefix("10.0.0.0/16"), prefix("10.0.3.0/24")}));
    EXPECT_EQ(to_string(pool.stats().size), "10");
}

TEST(Pool, HugeRangesCostNothing) {
    Pool pool = pool_of({"fd00::/16"});
    std::set<IpAddress> seen;
    for (int i = 0; i < 10000; ++i)
        seen.insert(pool.take({}).value());
    EXPECT_EQ(seen.size(), 10000U);
    // The end of everything: the search wraps, the number does not.
    Pool last = pool_of({"ffff::/16"});
    const IpAddress end = address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    ASSERT_TRUE(last.take_exact(end));
    last.resume_after(end);
    EXPECT_EQ(last.take({}), address("ffff::2"));
}

}  // namespace
}  // namespace weir::ipam
