// SPDX-License-Identifier: Apache-2.0
#include "model/text.h"

#include <thread>
#include <vector>

#include <rapidcheck.h>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace weir::model {
namespace {

static_assert(sizeof(Text) == 8);

TEST(Text, EmptyOnesAreEqualAndHaveNoAllocation) {
    EXPECT_TRUE(Text().empty());
    EXPECT_TRUE(Text("").empty());
    EXPECT_EQ(Text(), Text(""));
    EXPECT_EQ(Text().view(), "");
    EXPECT_STREQ(Text().c_str(), "");
}

TEST(Text, CopiesShareOneAllocation) {
    const Text a("web");
    EXPECT_TRUE(a.unique());
    const Text b = a;
    EXPECT_FALSE(a.unique());
    EXPECT_EQ(a.c_str(), b.c_str());
}

TEST(Text, AssignmentOverItselfKeepsTheValue) {
    Text a("web");
    const Text& same = a;
    a = same;
    EXPECT_EQ(a, "web");
}

TEST(Text, ReadsLikeTheUsualStringTypes) {
    const Text text("shop");
    EXPECT_EQ(text, "shop");
    EXPECT_EQ("shop", text);
    EXPECT_EQ(text, std::string("shop"));
    EXPECT_EQ(std::string_view("shop"), text);
    EXPECT_EQ(fmt::format("{}/{:>4}", text, Text("a")), "shop/   a");
    const std::string copy = text;
    EXPECT_EQ(copy, "shop");
    EXPECT_EQ(text + "/web", "shop/web");
}

TEST(Text, SurvivesCopiesOnManyThreads) {
    const Text shared("a name longer than the small string buffer");
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&shared] {
            for (int n = 0; n < 10000; ++n) {
                const Text copy = shared;
                ASSERT_EQ(copy.size(), shared.size());
            }
        });
    }
    threads.clear();
    EXPECT_TRUE(shared.unique());
}

RC_GTEST_PROP(Text, OrderAndHashAreThoseOfTheCharacters,
              (const std::string& a, const std::string& b)) {
    const Text x(a);
    const Text y(b);
    RC_ASSERT(x.view() == std::string_view(a));
    RC_ASSERT((x < y) == (a < b));
    RC_ASSERT((x == y) == (a == b));
    RC_ASSERT(std::hash<Text>()(x) == std::hash<Text>()(Text(a)));
}

}  // namespace
}  // namespace weir::model
