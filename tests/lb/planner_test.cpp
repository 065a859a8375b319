// SPDX-License-Identifier: Apache-2.0
#include "lb/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lb/build.h"

namespace weir::lb {
namespace {

using test::service;

std::vector<uint64_t> ids(const Changes& changes) {
    std::vector<uint64_t> out;
    for (const auto& plan : changes.upserts)
        out.push_back(plan.id);
    return out;
}

TEST(Planner, PortsThatGoAreRemovedOthersAreNot) {
    Planner planner({.name = "node"});
    Changes first;
    auto s = service("dns", "10.96.0.10",
                     {{.name = "udp", .protocol = model::Protocol::kUdp, .port = 53},
                      {.name = "tcp", .port = 53}});
    planner.update(s, {}, first);
    ASSERT_EQ(first.upserts.size(), 2U);
    s.ports.pop_back();
    Changes second;
    planner.update(s, {}, second);
    EXPECT_THAT(second.removed, testing::ElementsAre(ids(first)[1]));
    EXPECT_THAT(ids(second), testing::ElementsAre(ids(first)[0]));
}

TEST(Planner, ATypeWithoutClusterIpRemovesAll) {
    Planner planner({.name = "node"});
    Changes changes;
    auto s = service("web", "10.96.0.1");
    planner.update(s, {}, changes);
    const auto before = ids(changes);
    s.type = model::ServiceType::kExternalName;
    changes = {};
    planner.update(s, {}, changes);
    EXPECT_EQ(changes.removed, before);
    changes = {};
    planner.remove(s.meta.name, changes);
    EXPECT_TRUE(changes.removed.empty());
}

TEST(Planner, ARemovedServiceRemovesItsPorts) {
    Planner planner({.name = "node"});
    Changes changes;
    const auto s = service("web", "10.96.0.1");
    planner.update(s, {}, changes);
    const auto before = ids(changes);
    changes = {};
    planner.remove(s.meta.name, changes);
    EXPECT_EQ(changes.removed, before);
}

TEST(Planner, ANewNodeContextCountsFromTheNextUpdate) {
    Planner planner({.name = "node"});
    auto s = service("web", "10.96.0.1");
    s.internal_policy = model::TrafficPolicy::kLocal;
    const auto one = test::slice(s, {{.address = "10.1.0.1", .node = "other"}});
    const model::EndpointSlice* slices[] = {&one};
    Changes changes;
    planner.update(s, slices, changes);
    EXPECT_TRUE(changes.upserts[0].backends[WEIR_SCOPE_LOCAL].empty());
    planner.set_node({.name = "other"});
    changes = {};
    planner.update(s, slices, changes);
    EXPECT_EQ(changes.upserts[0].backends[WEIR_SCOPE_LOCAL].size(), 1U);
}

}  // namespace
}  // namespace weir::lb
