// SPDX-License-Identifier: Apache-2.0
#include "agent/peer_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

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

const std::vector<IpPrefix> kOwnRanges = {range("10.244.0.0/24"), range("fd00:10:244::/64")};
const std::vector<netlink::Address> kAddresses = {
    {.ifindex = 1, .address = ip("127.0.0.1"), .length = 8},
    {.ifindex = 2, .address = ip("fe80::1"), .length = 64},
    {.ifindex = 2, .address = ip("192.0.2.1"), .length = 24},
    {.ifindex = 3, .address = ip("2001:db8::1"), .length = 64},
    {.ifindex = 7, .address = ip("10.244.0.1"), .length = 32}};

const OwnSide kOwn = {.name = "me",
                      .ranges = kOwnRanges,
                      .node_addresses = {ip("192.0.2.1"), ip("2001:db8::1")},
                      .addresses = kAddresses};

PeerRoutes routes(const std::vector<model::Node>& nodes, Routing routing = Routing::kNative) {
    std::vector<const model::Node*> others;
    for (const auto& one : nodes)
        others.push_back(&one);
    return peer_routes(others, kOwn, routing);
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
    EXPECT_EQ(got.elsewhere.size(), 0U);
    EXPECT_THAT(got.refused, IsEmpty());
}

TEST(PeerRoutes, BeyondARouterTheFabricKnows) {
    const auto got = routes({node("a", {"10.244.1.0/24"}, {"198.51.100.2"}),
                             node("b", {"fd00:10:244:2::/64"}, {"192.0.2.3"}),
                             node("c", {"10.244.3.0/24"}, {})});
    EXPECT_THAT(got.routes, IsEmpty());
    EXPECT_EQ(got.elsewhere.size(), 3U);
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
    std::vector<std::string> refused;
    std::vector<RefusedRange::Why> why;
    for (const auto& one : got.refused) {
        refused.push_back("Node " + one.node + ": " + one.text);
        why.push_back(one.why);
    }
    using Why = RefusedRange::Why;
    EXPECT_THAT(why, ElementsAre(Why::kOverlap, Why::kOverlap, Why::kOverlap, Why::kOverlap,
                                 Why::kOverlap, Why::kHostAddress, Why::kOverlap));
    EXPECT_THAT(refused,
                ElementsAre("Node mine: pod range 10.244.0.0/16 overlaps 10.244.0.0/24 of Node me",
                            HasSubstr("10.244.0.128/25 overlaps 10.244.0.0/24 of Node me"),
                            HasSubstr("10.244.1.0/25 overlaps 10.244.1.0/24 of Node a"),
                            HasSubstr("overlaps 10.244.0.0/24 of Node me"),
                            HasSubstr("overlaps fd00:10:244::/64 of Node me"),
                            HasSubstr("holds an address of this host, 192.0.2.1"),
                            HasSubstr("Node all: pod range 0.0.0.0/0")));
}

// A node that was made again under this one's address: nothing leads over itself.
TEST(PeerRoutes, NotOverAnAddressOfThisHost) {
    const auto got = routes({node("old", {"10.244.1.0/24"}, {"192.0.2.1"})});
    EXPECT_THAT(got.routes, IsEmpty());
    EXPECT_EQ(got.elsewhere.size(), 1U);
}

/// The far ends of the routes' ranges, by range.
std::vector<std::string> ends(const PeerRoutes& got) {
    std::vector<std::string> out;
    for (const auto& [prefix, peer] : got.peers) {
        out.push_back(fmt::format("{} {} from {}{}", prefix.to_string(), peer.outer.to_string(),
                                  peer.local.is_unspecified() ? "any" : peer.local.to_string(),
                                  peer.is_node ? " itself" : ""));
    }
    return out;
}

// Both families go over the outer family that the nodes share, IPv4 before IPv6.
TEST(PeerRoutes, ByTheOverlayWhateverTheOuterFamily) {
    const auto got = routes({node("a", {"10.244.1.0/24", "fd00:10:244:1::/64"}, {"198.51.100.2"}),
                             node("b", {"10.244.2.0/24"}, {"2001:db8:5::2"}),
                             node("c", {"10.244.3.0/24"}, {"2001:db8::3", "192.0.2.3"})},
                            Routing::kVxlan);
    EXPECT_THAT(got.routes,
                ElementsAre(route("10.244.1.0/24", "169.254.1.1", 0),
                            route("10.244.2.0/24", "169.254.1.1", 0),
                            route("10.244.3.0/24", "169.254.1.1", 0),
                            route("fd00:10:244:1::/64", "fe80::ecee:eeff:feee:eeee", 0)));
    EXPECT_THAT(ends(got),
                UnorderedElementsAre("10.244.1.0/24 198.51.100.2 from 192.0.2.1",
                                     "fd00:10:244:1::/64 198.51.100.2 from 192.0.2.1",
                                     "198.51.100.2/32 198.51.100.2 from 192.0.2.1 itself",
                                     "10.244.2.0/24 2001:db8:5::2 from 2001:db8::1",
                                     "2001:db8:5::2/128 2001:db8:5::2 from 2001:db8::1 itself",
                                     "10.244.3.0/24 192.0.2.3 from 192.0.2.1",
                                     "192.0.2.3/32 192.0.2.3 from 192.0.2.1 itself",
                                     "2001:db8::3/128 192.0.2.3 from 192.0.2.1 itself"));
    EXPECT_EQ(got.nodes, 3U);
    EXPECT_EQ(got.overlay, 4U);
    EXPECT_TRUE(got.outer_ipv6);
    EXPECT_THAT(got.refused, IsEmpty());
}

// A node that shares no link changes nothing for those that do.
TEST(PeerRoutes, AutoTakesTheSharedLinkWhereThereIsOne) {
    const auto got = routes({node("far", {"10.244.1.0/24"}, {"198.51.100.2"}),
                             node("near", {"10.244.2.0/24"}, {"192.0.2.3"})},
                            Routing::kAuto);
    EXPECT_THAT(got.routes, ElementsAre(route("10.244.1.0/24", "169.254.1.1", 0),
                                        route("10.244.2.0/24", "192.0.2.3", 2)));
    EXPECT_EQ(got.overlay, 1U);
    EXPECT_FALSE(got.outer_ipv6);
}

// While nodes change over, packets come either way: owners are known in every mode.
TEST(PeerRoutes, OwnersAreKnownInEveryMode) {
    const std::vector<model::Node> nodes = {node("a", {"10.244.1.0/24"}, {"192.0.2.2"})};
    EXPECT_EQ(routes(nodes, Routing::kNative).peers, routes(nodes, Routing::kVxlan).peers);
    EXPECT_EQ(routes(nodes, Routing::kNative).peers.size(), 2U);
}

TEST(PeerRoutes, WithoutACommonFamilyThereIsNoOverlay) {
    const OwnSide own = {
        .ranges = kOwnRanges, .node_addresses = {ip("192.0.2.1")}, .addresses = kAddresses};
    const auto far = node("far", {"10.244.1.0/24"}, {"2001:db8:5::2"});
    const auto got = peer_routes({&far}, own, Routing::kVxlan);
    EXPECT_THAT(got.routes, IsEmpty());
    ASSERT_EQ(got.refused.size(), 1U);
    EXPECT_THAT(got.refused[0].text, HasSubstr("no address of a family of this node's"));
    EXPECT_EQ(got.refused[0].why, RefusedRange::Why::kUnreachable);
}

// Nothing is sent to this node itself, even if it is another Node's address too.
TEST(PeerRoutes, NoOverlayToThisHost) {
    const auto got = routes({node("old", {"10.244.1.0/24"}, {"192.0.2.1"})}, Routing::kVxlan);
    EXPECT_THAT(got.routes, IsEmpty());
    EXPECT_THAT(got.peers, IsEmpty());
    EXPECT_EQ(got.refused.size(), 1U);
}

}  // namespace
}  // namespace weir::agent
