// SPDX-License-Identifier: Apache-2.0
// What changes while Services are served: who is admitted, the node's pod ranges, its addresses and
// devices.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/services_fixture.h"

namespace weir::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

INSTANTIATE_TEST_SUITE_P(SocketHooks, Services, testing::Values("all", "host", "off"),
                         [](const auto& mode) { return std::string(mode.param); });

std::string restricted_yaml(const std::string& ranges) {
    return Node::load_balancer_yaml("web", kVip4, kVip6,
                                    "  loadBalancerSourceRanges: [" + ranges + "]\n");
}

// loadBalancerSourceRanges hold for load-balancer addresses only, for pods and the node as for
// anybody; who is not admitted hears nothing.
TEST_P(Services, SourceRangesHoldForPodsTheHostAndOutsiders) {
    node_.apply("web.yaml", restricted_yaml(R"("192.0.2.0/24", "2001:db8::/64")"));
    run({"sh", "-c",
         "ip -n outside route add 198.51.100.0/24 via 192.0.2.1; "
         "ip -n outside -6 route add 2001:db8:7::/64 via 2001:db8::1"});
    node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    const auto lb = [](int family) {
        return std::string(family == 4 ? "198.51.100.8" : "2001:db8:7::8");
    };
    const auto refused = [&](const Place& place, int family) {
        const auto body = http(place, lb(family));
        return body.starts_with("error") && body != "error: ECONNREFUSED";
    };
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(node_.outside(), lb(family)));
        EXPECT_THAT(http(node_.host(), lb(family)), StartsWith("web-1 to "));
        EXPECT_TRUE(refused(client.place, family)) << "pods are not in the ranges";
        EXPECT_THAT(http(client.place, vip(family)), StartsWith("web-1"));
        EXPECT_THAT(http(client.place, node_ip(family), 30080), StartsWith("web-1"));
        EXPECT_THAT(http(client.place, family == 4 ? "198.51.100.7" : "2001:db8:7::7"),
                    StartsWith("web-1"));
    }
    EXPECT_GT(node_.drops("source_range"), 0U);
    EXPECT_THAT(node_.weir_ok({"service", "get", "web", "-n", "shop"}),
                AllOf(HasSubstr("192.0.2.0/24"), HasSubstr("this host")));

    // The other way round.
    node_.apply("web.yaml", restricted_yaml(R"("10.244.0.0/16", "fd00:10:244::/48")"));
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(client.place, lb(family)));
        EXPECT_TRUE(refused(node_.outside(), family));
        EXPECT_TRUE(refused(node_.host(), family));
    }
    // A new agent takes the table over as it is.
    node_.stop_agent(9);
    ASSERT_TRUE(node_.start_agent());
    EXPECT_TRUE(refused(node_.outside(), 4));
    EXPECT_THAT(http(client.place, lb(4)), StartsWith("web-1"));
    node_.apply("web.yaml", restricted_yaml(""));
    for (const int family : {4, 6}) {
        EXPECT_TRUE(answers(node_.outside(), lb(family)));
        EXPECT_TRUE(answers(node_.host(), lb(family)));
    }
}

// Pods of another node that shares a link are reached over it, and see the pod's own address; the
// other may change its address or range, go, and be there again.
TEST_P(Services, PodsOfOtherNodesAreRoutedTo) {
    const auto node = [](const std::string& range4, const std::string& range6) {
        return fmt::format(R"(apiVersion: v1
kind: Node
metadata: {{name: node-2}}
spec: {{podCIDR: {0}, podCIDRs: ["{0}", "{1}"]}}
status: {{addresses: [{{type: InternalIP, address: 192.0.2.2}}, {{type: InternalIP, address: "2001:db8::2"}}]}}
)",
                           range4, range6);
    };
    const auto peer_pod = [](int family) {
        return std::string(family == 4 ? "10.244.7.9" : "fd00:10:244:7::9");
    };
    run({"sh", "-c",
         "ip -n outside address add 10.244.7.9/32 dev lo; "
         "ip -n outside address add fd00:10:244:7::9/128 dev lo nodad; "
         "ip -n outside route add 10.244.0.0/24 via 192.0.2.1; "
         "ip -n outside -6 route add fd00:10:244::/64 via 2001:db8::1"});
    const std::vector<std::string> flags = {"--cluster-cidrs=10.244.0.0/16,fd00:10:244::/48"};
    node_.stop_agent(15);
    ASSERT_TRUE(node_.start_agent(flags));
    auto& client = node_.run_client("client");
    const auto routes = [] {
        return run({"sh", "-c", "ip route show proto 87; ip -6 route show proto 87"}).out;
    };
    EXPECT_THAT(routes(), testing::Not(HasSubstr(" via ")));
    node_.apply("node-2.yaml", node("10.244.7.0/24", "fd00:10:244:7::/64"));
    ASSERT_TRUE(eventually(
        [&] { return routes().find("10.244.7.0/24 via 192.0.2.2") != std::string::npos; }));
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(client.place, peer_pod(family), 8080));
        EXPECT_THAT(http(client.place, peer_pod(family), 8080),
                    HasSubstr(" to " + client.ip(family)));
        EXPECT_TRUE(answers(node_.host(), peer_pod(family), 8080));
    }
    node_.stop_agent(9);
    EXPECT_TRUE(answers(client.place, peer_pod(4), 8080));
    node_.remove("node-2.yaml");
    ASSERT_TRUE(node_.start_agent(flags));
    EXPECT_TRUE(eventually([&] { return routes().find(" via ") == std::string::npos; }));
    node_.apply("node-2.yaml", node("10.244.8.0/24", "fd00:10:244:8::/64"));
    EXPECT_TRUE(eventually(
        [&] { return routes().find("10.244.8.0/24 via 192.0.2.2") != std::string::npos; }));
    EXPECT_THAT(routes(), HasSubstr("fd00:10:244:8::/64 via 2001:db8::2"));
    EXPECT_THAT(routes(), testing::Not(HasSubstr("10.244.7.0/24 via")));
}

TEST_P(Services, PodRangesOfTheNodeAreFollowed) {
    const auto node = [](const std::string& v4, const std::string& v6) {
        return fmt::format(R"(apiVersion: v1
kind: Node
metadata: {{name: node-1}}
spec: {{podCIDR: {0}, podCIDRs: ["{0}", "{1}"]}}
status: {{addresses: [{{type: InternalIP, address: 192.0.2.1}}]}}
)",
                           v4, v6);
    };
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    auto& old = node_.run_server("web-1", "web");
    ASSERT_THAT(old.v4, StartsWith("10.244.0."));
    ASSERT_TRUE(answers(node_.host(), kVip4));
    node_.apply("node.yaml", node("10.245.0.0/24", "fd00:10:245::/64"));
    ASSERT_TRUE(eventually([&] {
        return run({"ip", "addr", "show", "weir0"}).out.find("10.245.0.1/32") != std::string::npos;
    }));
    auto& fresh = node_.run_server("new-1", "new");
    EXPECT_THAT(fresh.v4, StartsWith("10.245.0."));
    EXPECT_THAT(fresh.v6, StartsWith("fd00:10:245:"));
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        EXPECT_THAT(http(fresh.place, vip(family)), StartsWith("web-1"));
        EXPECT_THAT(http(fresh.place, old.ip(family), 8080), StartsWith("web-1"));
        EXPECT_THAT(http(old.place, fresh.ip(family), 8080), StartsWith("new-1"));
        EXPECT_THAT(http(old.place, vip(family)), StartsWith("web-1")) << "itself";
        EXPECT_THAT(http(node_.host(), vip(family)), StartsWith("web-1"));
        for (const auto& place : {old.place, fresh.place}) {
            EXPECT_EQ(http(place, outside_ip(family), 8080), "outside to " + node_ip(family));
        }
    }
    const auto routes = [] {
        return run({"sh", "-c",
                    "ip route show type unreachable; ip -6 route show type unreachable"})
            .out;
    };
    EXPECT_THAT(routes(), AllOf(HasSubstr("10.244.0.0/24"), HasSubstr("10.245.0.0/24")));
    node_.stop_pod(old);
    EXPECT_TRUE(eventually([&] { return routes().find("10.244.0.0/24") == std::string::npos; }));
    EXPECT_THAT(routes(), AllOf(HasSubstr("10.245.0.0/24"), HasSubstr("fd00:10:245::/64")));
    EXPECT_THAT(run({"ip", "addr", "show", "weir0"}).out, Not(HasSubstr("10.244.0.1/32")));
}

// An address that comes to the node answers NodePorts.
TEST_P(Services, AddressesOfTheNodeAreFollowed) {
    node_.apply("web.yaml", Node::node_port_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    ASSERT_TRUE(answers(node_.outside(), "192.0.2.1", 30080));
    run({"ip", "addr", "add", "192.0.2.77/24", "dev", "ext0"});
    EXPECT_TRUE(answers(node_.outside(), "192.0.2.77", 30080));
}

// Weir leaves other engines' devices alone, and says so.
TEST_P(Services, DevicesThatAreLeftAloneAreNamed) {
    run({"sh", "-c",
         "ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; "
         "ip link set docker0 up"});
    EXPECT_TRUE(eventually([&] {
        return node_.weir_ok({"status", "-o", "json"}).find("docker0 (") != std::string::npos;
    }));
}

}  // namespace
}  // namespace weir::test
