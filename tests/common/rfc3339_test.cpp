// SPDX-License-Identifier: Apache-2.0
#include "common/rfc3339.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir {
namespace {

using namespace std::chrono_literals;
using std::chrono::sys_seconds;
using Nanos = std::chrono::sys_time<std::chrono::nanoseconds>;

/// Since 1970; -1: it is no time.
int64_t nanoseconds(const char* text) {
    const auto time = parse_rfc3339(text);
    return time ? time->time_since_epoch() / 1ns : -1;
}

int64_t seconds(const char* text) {
    const int64_t all = nanoseconds(text);
    return all < 0 ? all : all / 1'000'000'000;
}

TEST(Rfc3339, EveryNumberHasItsZeros) {
    EXPECT_EQ(rfc3339(sys_seconds(0s)), "1970-01-01T00:00:00Z");
    EXPECT_EQ(rfc3339(sys_seconds(1767323045s)), "2026-01-02T03:04:05Z");
    EXPECT_EQ(rfc3339(sys_seconds(-1s)), "1969-12-31T23:59:59Z");
    EXPECT_EQ(rfc3339(sys_seconds(951782400s)), "2000-02-29T00:00:00Z");
    EXPECT_EQ(rfc3339(sys_seconds(4107542400s)), "2100-03-01T00:00:00Z") << "2100 has no leap day";
}

TEST(Rfc3339, YearsOfFourDigitsOnly) {
    EXPECT_EQ(rfc3339(sys_seconds(-62135596800s)), "0001-01-01T00:00:00Z");
    EXPECT_EQ(rfc3339(sys_seconds(-62135596801s)), "");
    EXPECT_EQ(rfc3339(sys_seconds(253402300799s)), "9999-12-31T23:59:59Z");
    EXPECT_EQ(rfc3339(sys_seconds(253402300800s)), "");
    EXPECT_EQ(rfc3339(sys_seconds::max()), "");
    EXPECT_EQ(rfc3339(sys_seconds::min()), "");
}

TEST(Rfc3339, AFractionIsCut) {
    const std::chrono::system_clock::time_point time(1767323045s + 999'999'999ns);
    EXPECT_EQ(rfc3339(time), "2026-01-02T03:04:05Z");
    EXPECT_EQ(rfc3339(std::chrono::system_clock::time_point(-1ns)), "1969-12-31T23:59:59Z");
}

TEST(Rfc3339, SixDigitsOfFraction) {
    const std::chrono::system_clock::time_point time(1767323045s + 6789ns);
    EXPECT_EQ(rfc3339_micros(time), "2026-01-02T03:04:05.000006Z");
    EXPECT_EQ(rfc3339_micros(time - 1767323045s), "1970-01-01T00:00:00.000006Z");
}

TEST(Rfc3339, NineDigitsOfFraction) {
    EXPECT_EQ(rfc3339_nanos(Nanos(0ns)), "1970-01-01T00:00:00.000000000Z");
    EXPECT_EQ(rfc3339_nanos(Nanos(1s + 5ns)), "1970-01-01T00:00:01.000000005Z");
    EXPECT_EQ(rfc3339_nanos(Nanos(999'999'999ns)), "1970-01-01T00:00:00.999999999Z");
    EXPECT_EQ(rfc3339_nanos(Nanos(-1ns)), "1969-12-31T23:59:59.999999999Z");
    EXPECT_EQ(rfc3339_nanos(Nanos::max()), "2262-04-11T23:47:16.854775807Z");
}

TEST(Rfc3339, NowIsNow) {
    const auto now = parse_rfc3339(rfc3339_now());
    ASSERT_TRUE(now);
    const auto age = std::chrono::system_clock::now() - *now;
    EXPECT_GE(age, 0s);
    EXPECT_LT(age, 60s);
}

TEST(Rfc3339, WhatIsWrittenIsRead) {
    for (const int64_t second : {int64_t{0}, int64_t{951'782'399}, int64_t{951'868'799},
                                 int64_t{1'767'323'045}, int64_t{9'214'646'399}}) {
        const sys_seconds time{std::chrono::seconds(second)};
        EXPECT_EQ(seconds(rfc3339(time).c_str()), second);
        EXPECT_EQ(nanoseconds(rfc3339_nanos(time + 7ns).c_str()), second * 1'000'000'000 + 7);
    }
}

TEST(ParseRfc3339, WhatControllersWrite) {
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:00Z"), 0);
    EXPECT_EQ(nanoseconds("1970-01-02T01:02:03Z"), 90123'000000000);
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:01.5Z"), 1'500000000);
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:00.000000001Z"), 1);
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:00.0000000019Z"), 1) << "cut, not rounded";
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:00.99999999999999999999999Z"), 999'999'999);
}

TEST(ParseRfc3339, OffsetsAreTakenOff) {
    EXPECT_EQ(nanoseconds("1970-01-01T02:00:00+02:00"), 0);
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:00-01:30"), 5400'000000000);
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:00.25-00:00"), 250'000'000);
    EXPECT_EQ(seconds("2000-03-01T00:59:59+01:00"), 951'868'799) << "the day before";
    EXPECT_EQ(seconds("1970-01-01T00:00:00-23:59"), 86340);
}

TEST(ParseRfc3339, LeapDaysAndSeconds) {
    EXPECT_EQ(seconds("2000-02-29T12:00:00Z"), 951'825'600);
    EXPECT_EQ(seconds("2024-02-29T00:00:00Z"), 1'709'164'800);
    EXPECT_EQ(seconds("2016-12-31T23:59:60Z"), seconds("2017-01-01T00:00:00Z"));
    for (const char* text : {"2023-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2024-02-30T00:00:00Z",
                             "2024-04-31T00:00:00Z", "2016-12-31T23:59:61Z"}) {
        EXPECT_FALSE(parse_rfc3339(text)) << text;
    }
}

TEST(ParseRfc3339, YearsThatTheClockCanSay) {
    EXPECT_EQ(seconds("2261-12-31T23:59:59Z"), 9'214'646'399);
    EXPECT_FALSE(parse_rfc3339("2262-01-01T00:00:00Z"));
    EXPECT_FALSE(parse_rfc3339("1969-12-31T23:59:59Z"));
    EXPECT_FALSE(parse_rfc3339("0001-01-01T00:00:00Z"));
}

TEST(ParseRfc3339, AnythingElseIsNoTime) {
    for (const char* text : {"",
                             "x",
                             "1970-01-01",
                             "1970-01-01T00:00:00",
                             "1970-1-01T00:00:00Z",
                             "1970-00-01T00:00:00Z",
                             "1970-13-01T00:00:00Z",
                             "1970-01-00T00:00:00Z",
                             "1970-02-30T00:00:00Z",
                             "1970-01-01T24:00:00Z",
                             "1970-01-01T00:60:00Z",
                             "1970-01-01T-0:00:00Z",
                             "1970-01-01T+1:00:00Z",
                             "1970-01-01T 1:00:00Z",
                             "1970-01-01T00:00:00.Z",
                             "1970-01-01T00:00:00.5",
                             "1970-01-01T00:00:00.-5Z",
                             "1970-01-01T00:00:00,5Z",
                             "1970-01-01T00:00:00Zx",
                             "1970-01-01T00:00:00 Z",
                             "1970-01-01T00:00:00z",
                             "1970-01-01t00:00:00Z",
                             "1970-01-01 00:00:00Z",
                             "1970-01-01T00:00:00+2:00",
                             "1970-01-01T00:00:00+0200",
                             "1970-01-01T00:00:00+02",
                             "1970-01-01T00:00:00+24:00",
                             "1970-01-01T00:00:00+01:60",
                             "1970-01-01T00:00:00+-1:00",
                             "1970-01-01T00:00:00+02:00Z",
                             "-970-01-01T00:00:00Z",
                             " 1970-01-01T00:00:00Z"}) {
        EXPECT_FALSE(parse_rfc3339(text)) << text;
    }
}

}  // namespace
}  // namespace weir
