// SPDX-License-Identifier: Apache-2.0
#include "ipam/blocks.h"

#include <random>

#include <gmock/gmock.h>

namespace weir::ipam {
namespace {

using testing::HasSubstr;

IpPrefix prefix(const char* text) {
    return IpPrefix::parse(text).value();
}

BlockPool pool(std::initializer_list<const char*> ranges, unsigned length) {
    std::vector<IpPrefix> prefixes;
    for (const char* range : ranges)
        prefixes.push_back(prefix(range));
    return BlockPool::make(prefixes, length).value();
}

TEST(BlockPool, GivesTheLowestFreeBlock) {
    auto blocks = pool({"10.244.0.0/16"}, 24);
    EXPECT_EQ(blocks.pick().value(), prefix("10.244.0.0/24"));
    EXPECT_EQ(blocks.pick().value(), prefix("10.244.0.0/24")) << "asking takes nothing";
    blocks.taken(prefix("10.244.0.0/24"));
    blocks.taken(prefix("10.244.2.0/24"));
    EXPECT_EQ(blocks.pick().value(), prefix("10.244.1.0/24"));
    blocks.taken(prefix("10.244.1.0/24"));
    EXPECT_EQ(blocks.pick().value(), prefix("10.244.3.0/24"));
    blocks.clear();
    EXPECT_EQ(blocks.pick().value(), prefix("10.244.0.0/24"));
}

TEST(BlockPool, WhatIsNoBlockTakesAllThatItTouches) {
    auto blocks = pool({"10.244.0.0/16"}, 24);
    blocks.taken(prefix("10.244.0.128/25"));
    EXPECT_EQ(blocks.pick().value(), prefix("10.244.1.0/24"));
    blocks.taken(prefix("10.244.0.0/22"));
    EXPECT_EQ(blocks.pick().value(), prefix("10.244.4.0/24"));
    blocks.taken(prefix("10.244.5.7/32"));
    blocks.taken(prefix("10.244.4.0/24"));
    EXPECT_EQ(blocks.pick().value(), prefix("10.244.6.0/24"));
    blocks.taken(prefix("10.0.0.0/8"));
    EXPECT_EQ(blocks.pick().error().code(), Errc::kExhausted);
}

TEST(BlockPool, GoesOnInTheNextRangeAndSaysWhenAllIsTaken) {
    auto blocks = pool({"10.1.0.0/23", "10.3.0.0/24"}, 24);
    EXPECT_EQ(blocks.size(), 3U);
    for (const char* expected : {"10.1.0.0/24", "10.1.1.0/24", "10.3.0.0/24"}) {
        EXPECT_EQ(blocks.pick().value(), prefix(expected));
        blocks.taken(prefix(expected));
    }
    EXPECT_EQ(blocks.pick().error().code(), Errc::kExhausted);
    EXPECT_THAT(blocks.pick().error().message(),
                HasSubstr("3 blocks of /24 in 10.1.0.0/23 10.3.0.0/24"));
}

TEST(BlockPool, BothFamiliesToTheirEnds) {
    auto v6 = pool({"fd00:10:244::/63"}, 64);
    EXPECT_EQ(v6.pick().value(), prefix("fd00:10:244::/64"));
    v6.taken(prefix("fd00:10:244::/64"));
    v6.taken(prefix("10.0.0.0/8"));
    EXPECT_EQ(v6.pick().value(), prefix("fd00:10:244:1::/64"));
    v6.taken(prefix("fd00:10:244:1::/64"));
    EXPECT_FALSE(v6.pick());
    auto top = pool({"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124"}, 125);
    top.taken(prefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/125"));
    EXPECT_EQ(top.pick().value(), prefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff8/125"));
    top.taken(prefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff8/125"));
    EXPECT_FALSE(top.pick());
    auto last = pool({"255.255.255.0/24"}, 25);
    last.taken(prefix("255.255.255.0/25"));
    last.taken(prefix("255.255.255.128/25"));
    EXPECT_FALSE(last.pick());
}

TEST(BlockPool, RefusesRangesThatCannotBe) {
    const auto error = [](std::vector<IpPrefix> ranges, unsigned length) {
        return BlockPool::make(std::move(ranges), length).error().message();
    };
    EXPECT_THAT(error({prefix("10.0.0.0/25")}, 24), HasSubstr("no room for a /24"));
    EXPECT_THAT(error({prefix("10.0.0.0/24")}, 31), HasSubstr("too small"));
    EXPECT_THAT(error({prefix("10.0.0.0/24")}, 40), HasSubstr("length"));
    EXPECT_THAT(error({prefix("10.0.0.0/24"), prefix("10.0.0.0/16")}, 24), HasSubstr("overlap"));
    EXPECT_THAT(error({prefix("10.0.0.0/24"), prefix("fd00::/64")}, 24), HasSubstr("family"));
}

// Beside a plain list of flags.
TEST(BlockPool, NeverGivesWhatIsTaken) {
    std::mt19937 random(7);
    for (int round = 0; round < 200; ++round) {
        auto blocks = pool({"10.0.0.0/26", "10.0.1.0/27"}, 28);
        std::vector<bool> free(6, true);
        const auto index = [](const IpPrefix& block) {
            const uint32_t low = block.address().low32() & 0xffff;
            return low < 0x100 ? low / 16 : 4 + (low - 0x100) / 16;
        };
        for (int i = 0; i < 8; ++i) {
            const auto got = blocks.pick();
            const auto expected = std::ranges::find(free, true);
            ASSERT_EQ(got.has_value(), expected != free.end());
            if (got) ASSERT_EQ(index(*got), static_cast<uint32_t>(expected - free.begin()));
            const uint32_t which = random() % 6;
            const uint32_t base = 0x0a000000 + (which < 4 ? which * 16 : 0x100 + (which - 4) * 16);
            const unsigned length = 28 + random() % 5;
            blocks.taken(IpPrefix::make(IpAddress::v4(base + random() % 16), length).value());
            free[which] = false;
        }
    }
}

}  // namespace
}  // namespace weir::ipam
