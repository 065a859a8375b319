// SPDX-License-Identifier: Apache-2.0
// Kubernetes, "EndpointSlice ingestion".
#include "lb/merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lb/build.h"

namespace weir::lb {
namespace {

using test::EndpointSpec;
using test::slice;

const model::Service kWeb = test::service("web", "10.96.0.1");

std::string merged(std::vector<const model::EndpointSlice*> slices, PortName port = {},
                   const model::Text& node = "node") {
    port.service = kWeb.meta.name;
    std::vector<PlanBackend> backends;
    for (const MergedEndpoint& e : merge_endpoints(slices, port, node)) {
        backends.push_back(e.backend);
    }
    return test::show(backends);
}

TEST(Merge, AllSlicesOfTheServiceInAnyOrder) {
    const auto a = slice(kWeb, {{.address = "10.1.0.3"}, {.address = "10.1.0.1"}});
    const auto b = slice(kWeb, {{.address = "10.1.0.2"}});
    EXPECT_EQ(merged({&a, &b}), "10.1.0.1:8080 10.1.0.2:8080 10.1.0.3:8080");
    EXPECT_EQ(merged({&b, &a}), merged({&a, &b}));
}

TEST(Merge, PortsMatchByNameAndProtocolNotByNumber) {
    const auto s = slice(kWeb, {{.address = "10.1.0.1"}},
                         {{.name = "dns", .protocol = model::Protocol::kUdp, .port = 53},
                          {.name = "dns", .protocol = model::Protocol::kTcp, .port = 5353},
                          {.name = "web", .port = 80},
                          {.name = "none", .port = 0}});
    EXPECT_EQ(merged({&s}, {.port = "dns", .protocol = model::Protocol::kUdp}), "10.1.0.1:53");
    EXPECT_EQ(merged({&s}, {.port = "dns"}), "10.1.0.1:5353");
    EXPECT_EQ(merged({&s}, {.port = "none"}), "");
    EXPECT_EQ(merged({&s}, {.port = ""}), "");
}

TEST(Merge, SameAddressWithAnotherPortNumberIsAnotherEndpoint) {
    const auto a = slice(kWeb, {{.address = "10.1.0.1"}}, {{.port = 8080}});
    const auto b = slice(kWeb, {{.address = "10.1.0.1"}}, {{.port = 8081}});
    EXPECT_EQ(merged({&a, &b}), "10.1.0.1:8080 10.1.0.1:8081");
}

TEST(Merge, AnEndpointThatMovesBetweenSlicesIsOneEndpoint) {
    const auto a = slice(kWeb, {{.address = "10.1.0.1"}});
    const auto b = slice(kWeb, {{.address = "10.1.0.1"}});
    EXPECT_EQ(merged({&a, &b}), "10.1.0.1:8080");
}

const MergedEndpoint& only(const std::vector<MergedEndpoint>& list) {
    EXPECT_EQ(list.size(), 1U);
    return list.front();
}

TEST(Merge, ANonTerminatingDuplicateBeatsATerminatingOne) {
    // The address of a terminating pod may already be another pod's.
    const auto a = slice(kWeb, {{.address = "10.1.0.1",
                                 .ready = false,
                                 .serving = true,
                                 .terminating = true,
                                 .node = "node"}});
    const auto b = slice(kWeb, {{.address = "10.1.0.1", .node = "other"}});
    for (const auto& order : {std::vector{&a, &b}, std::vector{&b, &a}}) {
        const auto list = merge_endpoints(order, {.service = kWeb.meta.name}, "node");
        EXPECT_TRUE(only(list).origin->ready);
        EXPECT_FALSE(only(list).local);
    }
}

TEST(Merge, ThenReadyThenLocalThenTheNewestSlice) {
    const auto unready = slice(kWeb, {{.address = "10.1.0.1", .ready = false, .node = "node"}});
    const auto remote = slice(kWeb, {{.address = "10.1.0.1", .node = "other"}});
    const auto local = slice(kWeb, {{.address = "10.1.0.1", .node = "node"}});
    auto newer = local;
    newer.meta.created = "2025-01-01T00:00:00Z";
    const auto winner = [](std::vector<const model::EndpointSlice*> slices) {
        return only(merge_endpoints(slices, {.service = kWeb.meta.name}, "node")).origin;
    };
    EXPECT_EQ(winner({&unready, &remote}), remote.endpoints.data());
    EXPECT_EQ(winner({&remote, &local}), local.endpoints.data());
    EXPECT_EQ(winner({&newer, &local}), newer.endpoints.data());
    EXPECT_EQ(winner({&local, &newer}), newer.endpoints.data());
}

TEST(Merge, FamiliesDoNotMixAndWrongAddressesAreReported) {
    auto s =
        slice(kWeb, {{.address = "10.1.0.1"}, {.address = "fd00::1"}, {.address = "127.0.0.1"}});
    EXPECT_EQ(merged({&s}), "10.1.0.1:8080");
    EXPECT_EQ(merged({&s}, {.family = Family::kIpv6}), "");
    const model::EndpointSlice* slices[] = {&s};
    EXPECT_THAT(
        endpoint_warnings(slices),
        testing::ElementsAre(
            "EndpointSlice shop/web-1: endpoint fd00::1 is ignored: not of the slice's addressType",
            "EndpointSlice shop/web-1: endpoint 127.0.0.1 is ignored: loopback"));
}

TEST(Merge, LocalMeansTheSameNonEmptyNodeName) {
    const auto s = slice(kWeb, {{.address = "10.1.0.1", .node = "node"},
                                {.address = "10.1.0.2", .node = "other"},
                                {.address = "10.1.0.3"}});
    const model::EndpointSlice* slices[] = {&s};
    const auto list = merge_endpoints(slices, {.service = kWeb.meta.name}, "node");
    ASSERT_EQ(list.size(), 3U);
    EXPECT_TRUE(list[0].local);
    EXPECT_FALSE(list[1].local);
    EXPECT_FALSE(list[2].local);
    EXPECT_FALSE(merge_endpoints(slices, {.service = kWeb.meta.name}, "")[2].local);
}

}  // namespace
}  // namespace weir::lb
