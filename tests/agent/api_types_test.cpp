// SPDX-License-Identifier: Apache-2.0
#include "agent/api_types.h"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "agent/router.h"

namespace weir::api {
namespace {

namespace json = boost::json;

TEST(ApiTypes, RoundTrip) {
    Status status;
    status.node = "n1";
    status.uptime_seconds = 1.5;
    status.reasons = {"waiting for Node n1"};
    Source source;
    source.name = "file:/x";
    source.objects = {{"Pod", 3}};
    source.problems.push_back(
        {"file:/x", "a.yaml", 7, "Service shop/api", "spec.ports", "bad", ""});
    status.sources.push_back(source);
    status.datapath.maps.push_back({"weir_ct4", "flows", 1, 2, 3});
    const json::value encoded = to_json(status);
    EXPECT_EQ(encoded.at("sources").at(0).at("problems").at(0).at("line"), 7);
    const auto decoded = from_json<Status>(encoded);
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_EQ(to_json(*decoded), encoded);
}

TEST(ApiTypes, NeighbouringVersionsUnderstandEachOther) {
    const auto pod = from_json<Pod>(
        json::value{{"name", "web-1"}, {"a_field_of_tomorrow", {1, 2}}, {"uid", nullptr}});
    ASSERT_TRUE(pod);
    EXPECT_EQ(pod->name, "web-1");
    EXPECT_FALSE(pod->ready);
}

TEST(ApiTypes, ErrorsNameTheField) {
    const auto status = from_json<Status>(
        json::parse(R"({"datapath": {"maps": [{"bytes": 1}, {"bytes": "many"}]}})"));
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message(), "datapath: maps: [1]: bytes: not a number in range");
    EXPECT_FALSE(from_json<Map>(json::parse(R"({"bytes": -1})")));
    EXPECT_FALSE(list_from_json<Pod>(json::parse("{}")));
}

TEST(Target, DecodesAndRefuses) {
    const auto target = parse_target("/v1/a%20b?x=1&y&&x=%2f%2F&z=a=b");
    ASSERT_TRUE(target);
    EXPECT_EQ(target->first, "/v1/a b");
    const std::vector<std::pair<std::string, std::string>> expected = {
        {"x", "1"}, {"y", ""}, {"x", "//"}, {"z", "a=b"}};
    EXPECT_EQ(target->second, expected);
    for (const auto* wrong : {"/a?x=%", "/a?x=%2", "/a?x=%zz", "/%"}) {
        EXPECT_FALSE(parse_target(wrong)) << wrong;
    }
    const std::string odd = "a/b c&d=%ä";
    EXPECT_EQ(parse_target("/?k=" + encode_query_part(odd))->second.at(0).second, odd);
}

}  // namespace
}  // namespace weir::api
