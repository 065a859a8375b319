// SPDX-License-Identifier: Apache-2.0
#include "agent/peer_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

IpPrefix range(std::string_view text) {
    return IpPrefix::parse(text).value();
}
IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}

model::Node node(const char* name, std::vector<std::string_view> ranges,
                 std::vector<std::string_view> addresses) {
    model::Node out;
    out.meta.name = {{}, model::Text(name)};
    for (const auto text : ranges)
        out.pod_cidrs.push_back(range(text));
    for (const auto text : addresses)
        out.internal_ips.push_back(ip(text));
    return out;
}

const std::vector<IpPrefix> kOwn = {range("10.244.0.0/24"), range("fd00:10:244::/64")};
const std::vector<netlink::Address> kAddresses = {
    {.ifindex = 1, .address = ip("127.0.0.1"), .length = 8},
    {.ifindex = 2, .address = ip("fe80::1"), .length = 64},
    {.ifindex = 2, .address = ip("192.0.2.1"), .length = 24},
    {.ifindex = 3, .address = ip("2001:db8::1"), .length = 64},
    {.ifindex = 7, .address = ip("10.244.0.1"), .length = 32}};

PeerRoutes routes(const std::vector<model::Node>& nodes) {
    std::vector<const model::Node*> others;
    for (const auto& one : nodes)
        others.push_back(&one);
    return peer_routes(others, kAddresses, kOwn);
}

netlink::PeerRoute route(std::string_view pods, std::string_view via, uint32_t ifindex) {
    return {.pods = range(pods), .via = ip(via), .ifindex = ifindex};
}

TEST(PeerRoutes, GoOverTheSharedLinkOfEachFamily) {
    const auto got =
        routes({node("b", {"10.244.2.0/24", "fd00:10:244:2::/64"}, {"192.0.2.3", "2001:db8::3"}),
                node("a", {"10.244.1.0/24"}, {"2001:db8::2", "192.0.2.2"})});
    EXPECT_THAT(got.routes, ElementsAre(route("10.244.1.0/24", "192.0.2.2", 2),
                                        route("10.244.2.0/24", "192.0.2.3", 2),
                                        route("fd00:10:244:2::/64", "2001:db8::3", 3)));
    EXPECT_EQ(got.elsewhere, 0U);
    EXPECT_THAT(got.refused, IsEmpty());
}

TEST(PeerRoutes, BeyondARouterTheFabricKnows) {
    const auto got = routes({node("a", {"10.244.1.0/24"}, {"198.51.100.2"}),
                             node("b", {"fd00:10:244:2::/64"}, {"192.0.2.3"}),
                             node("c", {"10.244.3.0/24"}, {})});
    EXPECT_THAT(got.routes, IsEmpty());
    EXPECT_EQ(got.elsewhere, 3U);
    EXPECT_THAT(got.refused, IsEmpty());
}

TEST(PeerRoutes, WhatWouldCutOffThisNodeOrAnotherIsRefused) {
    const auto got = routes(
        {node("a", {"10.244.1.0/24"}, {"192.0.2.2"}),
         node("mine", {"10.244.0.0/16"}, {"192.0.2.3"}),
         node("part", {"10.244.0.128/25"}, {"192.0.2.3"}),
         node("twice", {"10.244.1.0/25"}, {"192.0.2.4"}),
         node("wider", {"10.0.0.0/8", "fd00:10:244::/48"}, {"192.0.2.4", "2001:db8::4"}),
         node("link", {"192.0.2.0/25"}, {"192.0.2.5"}), node("all", {"0.0.0.0/0"}, {"192.0.2.6"})});
    EXPECT_THAT(got.routes, ElementsAre(route("10.244.1.0/24", "192.0.2.2", 2)));
    EXPECT_THAT(got.refused,
                ElementsAre(HasSubstr("Node mine: pod range 10.244.0.0/16 overlaps this node's"),
                            HasSubstr("Node part: pod range 10.244.0.128/25 overlaps this node's"),
                            HasSubstr("overlaps 10.244.1.0/24 of another Node"),
                            HasSubstr("overlaps this node's 10.244.0.0/24"),
                            HasSubstr("overlaps this node's fd00:10:244::/64"),
                            HasSubstr("holds an address of this host, 192.0.2.1"),
                            HasSubstr("Node all: pod range 0.0.0.0/0")));
}

// A node that was made again under this one's address: nothing leads over itself.
TEST(PeerRoutes, NotOverAnAddressOfThisHost) {
    const auto got = routes({node("old", {"10.244.1.0/24"}, {"192.0.2.1"})});
    EXPECT_THAT(got.routes, IsEmpty());
    EXPECT_EQ(got.elsewhere, 1U);
}

}  // namespace
}  // namespace weir::agent
