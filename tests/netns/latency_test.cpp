// SPDX-License-Identifier: Apache-2.0
// What the agent measures of itself, in its metrics.
#include <string>

#include <gtest/gtest.h>

#include "netns/node.h"
#include "netns/web.h"

namespace weir::test {
namespace {

std::string slice_stamped(const std::string& stamp, const std::string& address) {
    return Node::slice_yaml(
        "web-x", "web", {address},
        "  annotations: {endpoints.kubernetes.io/last-change-trigger-time: \"" + stamp + "\"}\n");
}

// Network programming latency: from the stamp of the endpoint controller to the kernel.
TEST(Latency, OfNetworkProgrammingCountsEachStampOnce) {
    Node node;
    node.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    node.apply("slice.yaml", slice_stamped("2020-01-01T00:00:00Z", "10.1.0.1"));
    ASSERT_TRUE(node.start_agent());
    const auto count = [&] {
        return node.metric("kubeproxy_network_programming_duration_seconds_count");
    };
    EXPECT_EQ(count(), 0) << "a stamp from before the start";
    const auto now = [] {
        std::string out = run({"date", "-u", "+%Y-%m-%dT%H:%M:%S.%NZ"}).out;
        out.pop_back();
        return out;
    };
    const std::string stamp = now();
    node.apply("slice.yaml", slice_stamped(stamp, "10.1.0.2"));
    EXPECT_TRUE(eventually([&] { return count() == 1; })) << count();
    node.apply("slice.yaml", slice_stamped(stamp, "10.1.0.3"));
    EXPECT_TRUE(eventually([&] {
        return node.weir({"service", "get", "web", "-n", "shop"}).out.find("10.1.0.3") !=
               std::string::npos;
    }));
    EXPECT_EQ(count(), 1) << "the same stamp";
}

}  // namespace
}  // namespace weir::test
