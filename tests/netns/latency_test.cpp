// SPDX-License-Identifier: Apache-2.0
// What the agent measures of itself, in its metrics.
#include <string>

#include <gtest/gtest.h>

#include "netns/node.h"

namespace weir::test {
namespace {

std::string metrics() {
    return run({"bash", "-c",
                "exec 3<>/dev/tcp/127.0.0.1/9470; "
                "printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"})
        .out;
}

std::string slice_stamped(const std::string& stamp, const std::string& address) {
    return fmt::format(R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-x
  namespace: shop
  labels: {{kubernetes.io/service-name: web}}
  annotations: {{endpoints.kubernetes.io/last-change-trigger-time: "{}"}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: ["{}"]}}]
)",
                       stamp, address);
}

// Network programming latency: from the stamp of the endpoint controller to the kernel.
TEST(Latency, OfNetworkProgrammingCountsEachStampOnce) {
    Node node;
    node.apply("web.yaml", Node::service_yaml("web", "10.96.0.10", "fd00:10:96::10"));
    node.apply("slice.yaml", slice_stamped("2020-01-01T00:00:00Z", "10.1.0.1"));
    ASSERT_TRUE(node.start_agent());
    const auto count = [](int n) {
        return metrics().find("kubeproxy_network_programming_duration_seconds_count " +
                              std::to_string(n) + "\n") != std::string::npos;
    };
    EXPECT_TRUE(count(0)) << "a stamp from before the start";
    const auto now = [] {
        std::string out = run({"date", "-u", "+%Y-%m-%dT%H:%M:%S.%NZ"}).out;
        out.pop_back();
        return out;
    };
    const std::string stamp = now();
    node.apply("slice.yaml", slice_stamped(stamp, "10.1.0.2"));
    EXPECT_TRUE(eventually([&] { return count(1); })) << metrics();
    node.apply("slice.yaml", slice_stamped(stamp, "10.1.0.3"));
    EXPECT_TRUE(eventually([&] {
        return node.weir({"service", "get", "web", "-n", "shop"}).out.find("10.1.0.3") !=
               std::string::npos;
    }));
    EXPECT_TRUE(count(1)) << "the same stamp";
}

}  // namespace
}  // namespace weir::test
