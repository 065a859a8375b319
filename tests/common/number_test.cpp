// SPDX-License-Identifier: Apache-2.0
#include "common/number.h"

#include <cstdint>

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(WholeNumber, TheWholeTextInTheRangeOfTheType) {
    EXPECT_EQ(whole_number<uint8_t>("0"), 0);
    EXPECT_EQ(whole_number<uint8_t>("255"), 255);
    EXPECT_EQ(whole_number<uint16_t>("00080"), 80);
    EXPECT_EQ(whole_number<uint16_t>("65535"), 65535);
    EXPECT_EQ(whole_number<uint64_t>("18446744073709551615"), UINT64_MAX);
    EXPECT_EQ(whole_number<int64_t>("-9223372036854775808"), INT64_MIN);
    EXPECT_EQ(whole_number<unsigned>(std::string_view("807").substr(0, 2)), 80U);
}

TEST(WholeNumber, AnythingElseIsNone) {
    for (const char* text : {"", " ", "x", "8 ", " 8", "+8", "-8", "-0", "8x", "0x8", "8.0", "8e1"})
        EXPECT_FALSE(whole_number<uint16_t>(text)) << text;
    EXPECT_FALSE(whole_number<uint8_t>("256"));
    EXPECT_FALSE(whole_number<uint16_t>("65536"));
    EXPECT_FALSE(whole_number<uint64_t>("18446744073709551616"));
    EXPECT_FALSE(whole_number<int64_t>("9223372036854775808"));
    EXPECT_FALSE(whole_number<int>("-"));
    EXPECT_FALSE(whole_number<uint16_t>(std::string_view("8\0", 2)));
}

}  // namespace
}  // namespace weir
