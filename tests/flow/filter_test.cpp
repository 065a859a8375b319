// SPDX-License-Identifier: Apache-2.0
#include "flow/filter.h"

#include <gtest/gtest.h>

#include "flow/fixture.h"

namespace weir::flow {
namespace {

struct FilterTest : testing::Test {
    FilterTest()
        : forwarded(recorder.make(fixture::service_flow())),
          dropped(recorder.make(fixture::dropped_packet())) {}

    /// Which of the two pass: "f", "d", "fd" or "".
    std::string passing(const std::vector<FilterParam>& params) const {
        const auto filter = Filter::parse(params);
        EXPECT_TRUE(filter) << filter.error().message();
        if (!filter) return "error";
        return std::string(filter->matches(*forwarded) ? "f" : "") +
               (filter->matches(*dropped) ? "d" : "");
    }

    fixture::World world;
    Recorder recorder{world};
    RecordPtr forwarded;
    RecordPtr dropped;
};

TEST_F(FilterTest, EveryKeySelects) {
    const std::tuple<std::string, std::string, std::string> cases[] = {
        {"verdict", "DROPPED", "d"},
        {"verdict", "FORWARDED", "f"},
        {"from-pod", "shop/web-1", "f"},
        {"from-pod", "web-1", "f"},
        {"from-pod", "web-*", "f"},
        {"from-pod", "*/web-1", "f"},
        {"from-pod", "shop/api-0", ""},
        {"from-pod", "web", ""},
        {"to-pod", "shop/api-0", "f"},
        {"to-pod", "web-1", ""},
        {"pod", "api-0", "f"},
        {"pod", "web-1", "f"},
        {"pod", "other/web-1", ""},
        {"namespace", "shop", "f"},
        {"namespace", "sho", ""},
        {"service", "shop/api", "f"},
        {"service", "api", "f"},
        {"service", "web", ""},
        {"ip", "10.96.0.10", "f"},
        {"ip", "10.1.0.0/16", "f"},
        {"ip", "198.51.100.0/24", "d"},
        {"ip", "::/0", ""},
        {"port", "80", "f"},
        {"port", "8080", "f"},
        {"port", "30053", "d"},
        {"port", "1", ""},
        {"protocol", "udp", "d"},
        {"protocol", "TCP", "f"},
        {"protocol", "17", "d"},
        {"reason", "no_endpoints", "d"},
        {"reason", "NO_ENDPOINTS", "d"},
        {"reason", "none", ""},
    };
    for (const auto& [key, value, expected] : cases) {
        EXPECT_EQ(passing({{key, value}}), expected) << key << "=" << value;
    }
}

TEST_F(FilterTest, SameKeyIsOrDifferentKeysAreAndNotExcludes) {
    EXPECT_EQ(passing({}), "fd");
    EXPECT_EQ(passing({{"port", "80"}, {"port", "30053"}}), "fd");
    EXPECT_EQ(passing({{"port", "80"}, {"port", "30053"}, {"protocol", "UDP"}}), "d");
    EXPECT_EQ(passing({{"not-verdict", "DROPPED"}}), "f");
    EXPECT_EQ(passing({{"port", "80"}, {"port", "30053"}, {"not-pod", "web-*"}}), "d");
    EXPECT_EQ(passing({{"not-protocol", "TCP"}, {"not-protocol", "UDP"}}), "");
}

TEST_F(FilterTest, LostRecordsAlwaysPass) {
    const auto filter = Filter::parse(std::vector<FilterParam>{{"port", "1"}});
    ASSERT_TRUE(filter);
    EXPECT_TRUE(filter->matches(*Recorder::make_lost(1, "ring")));
}

TEST_F(FilterTest, ErrorsNameTheOptionAndWhatItTakes) {
    const std::tuple<std::string, std::string, std::string> cases[] = {
        {"verdict", "maybe", "--verdict \"maybe\": expected FORWARDED or DROPPED"},
        {"pod", "a/b/c", "--pod \"a/b/c\": expected NAME or NAMESPACE/NAME"},
        {"pod", "", "--pod \"\": expected NAME or NAMESPACE/NAME"},
        {"pod", "/x", "--pod \"/x\": expected NAME or NAMESPACE/NAME"},
        {"port", "65536", "--port \"65536\": expected 0 to 65535"},
        {"port", "80x", "--port \"80x\": expected 0 to 65535"},
        {"reason", "bad", "--reason \"bad\": no such drop reason"},
        {"protocol", "256", "--protocol \"256\": expected"},
        {"ip", "10.0.0.300", "--ip \"10.0.0.300\": "},
        {"colour", "red", "no flow filter \"colour\""},
    };
    for (const auto& [key, value, expected] : cases) {
        const auto filter = Filter::parse(std::vector<FilterParam>{{key, value}});
        ASSERT_FALSE(filter) << key;
        EXPECT_TRUE(filter.error().message().starts_with(expected)) << filter.error().message();
        EXPECT_EQ(filter.error().code(), Errc::kInvalid);
    }
    EXPECT_FALSE(Filter::parse(std::vector<FilterParam>(65, {"port", "1"})));
}

TEST(Duration, Units) {
    EXPECT_EQ(parse_duration_ns("90s").value(), 90'000'000'000);
    EXPECT_EQ(parse_duration_ns("1h30m").value(), 5'400'000'000'000);
    EXPECT_EQ(parse_duration_ns("500ms").value(), 500'000'000);
    EXPECT_EQ(parse_duration_ns("2d").value(), 172'800'000'000'000);
    for (const auto* wrong :
         {"", "5", "m", "5x", "-5m", "5m3", "9999999999d", "1000000d1000000d"}) {
        EXPECT_FALSE(parse_duration_ns(wrong)) << wrong;
    }
}

TEST(QueryParse, SinceLastFollow) {
    const int64_t now = 1'800'000'000LL * 1'000'000'000;
    const auto query = Query::parse(
        std::vector<FilterParam>{{"since", "5m"}, {"last", "10"}, {"follow", "1"}, {"port", "80"}},
        now);
    ASSERT_TRUE(query);
    EXPECT_EQ(query->since_ns, now - 300'000'000'000);
    EXPECT_EQ(query->last, 10U);
    EXPECT_TRUE(query->follow);
    const auto absolute =
        Query::parse(std::vector<FilterParam>{{"since", "2026-01-31T12:00:00Z"}}, now);
    ASSERT_TRUE(absolute);
    EXPECT_EQ(absolute->since_ns, 1'769'860'800LL * 1'000'000'000);
    EXPECT_FALSE(Query::parse(std::vector<FilterParam>{{"since", "yesterday"}}, now));
    EXPECT_FALSE(Query::parse(std::vector<FilterParam>{{"last", "-1"}}, now));
}

}  // namespace
}  // namespace weir::flow
