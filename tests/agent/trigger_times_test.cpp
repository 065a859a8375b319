// SPDX-License-Identifier: Apache-2.0
#include "agent/trigger_times.h"

#include <gtest/gtest.h>

namespace weir::agent {
namespace {

using namespace std::chrono_literals;
using Time = TriggerTimes::Time;

int64_t nanoseconds(const char* text) {
    const auto time = parse_rfc3339(text);
    return time ? time->time_since_epoch() / 1ns : -1;
}

TEST(ParseRfc3339, WhatControllersWrite) {
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:00Z"), 0);
    EXPECT_EQ(nanoseconds("1970-01-02T01:02:03Z"), 90123'000000000);
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:01.5Z"), 1'500000000);
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:00.000000001Z"), 1);
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:00.0000000019Z"), 1);
    EXPECT_EQ(nanoseconds("1970-01-01T02:00:00+02:00"), 0);
    EXPECT_EQ(nanoseconds("1970-01-01T00:00:00-01:30"), 5400'000000000);
}

TEST(ParseRfc3339, AnythingElseIsNoTime) {
    for (const char* text :
         {"", "x", "1970-01-01", "1970-01-01T00:00:00", "1970-02-30T00:00:00Z",
          "1970-13-01T00:00:00Z", "1970-01-01T24:00:00Z", "1970-01-01T00:00:00.Z",
          "1970-01-01T00:00:00Zx", "1970-01-01T00:00:00+2:00", "1970-01-01 00:00:00Z",
          "-970-01-01T00:00:00Z", "1970-01-01T00:00:00+02:00Z"}) {
        EXPECT_FALSE(parse_rfc3339(text)) << text;
    }
}

model::EndpointSlice slice(const char* name, const char* stamp) {
    model::EndpointSlice out;
    out.meta.name = {.ns = "shop", .name = name};
    if (stamp != nullptr) {
        out.meta.annotations.emplace("endpoints.kubernetes.io/last-change-trigger-time", stamp);
    }
    return out;
}

// Network programming latency: each stamp counts once, and none from before the start.
TEST(TriggerTimes, EachStampIsToldOnce) {
    TriggerTimes times(Time(10s));
    const model::ObjectName web{.ns = "shop", .name = "web"};
    const auto tell = [&](std::vector<model::EndpointSlice> slices) {
        std::vector<const model::EndpointSlice*> pointers;
        for (const auto& one : slices)
            pointers.push_back(&one);
        std::vector<int64_t> seconds;
        for (const Time time : times.update(web, pointers))
            seconds.push_back(time.time_since_epoch() / 1s);
        return seconds;
    };
    using Seconds = std::vector<int64_t>;
    EXPECT_EQ(tell({slice("a", "1970-01-01T00:00:09Z")}), Seconds{}) << "before the start";
    EXPECT_EQ(tell({slice("a", "1970-01-01T00:00:11Z"), slice("b", nullptr)}), Seconds{11});
    EXPECT_EQ(tell({slice("a", "1970-01-01T00:00:11Z"), slice("b", nullptr)}), Seconds{});
    EXPECT_EQ(tell({slice("a", "1970-01-01T00:00:12Z"), slice("b", "1970-01-01T00:00:12Z")}),
              (Seconds{12, 12}));
    EXPECT_EQ(tell({slice("a", "nonsense")}), Seconds{});
    EXPECT_EQ(tell({}), Seconds{});
    EXPECT_EQ(tell({slice("b", "1970-01-01T00:00:13Z")}), Seconds{13});
}

}  // namespace
}  // namespace weir::agent
