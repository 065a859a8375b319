// SPDX-License-Identifier: Apache-2.0
#include "agent/trigger_times.h"

#include <gtest/gtest.h>

namespace weir::agent {
namespace {

using namespace std::chrono_literals;
using Time = TriggerTimes::Time;

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
