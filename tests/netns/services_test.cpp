// SPDX-License-Identifier: Apache-2.0
// Services with real processes and sockets, with the socket hooks on and off. Cites: Kubernetes
// Service API, kube-proxy's verdicts (no endpoint: refuse; hairpin; NodePort on the node's
// addresses).
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/services_fixture.h"

namespace weir::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using testing::UnorderedElementsAre;

INSTANTIATE_TEST_SUITE_P(SocketHooks, Services, testing::Values("all", "host", "off"),
                         [](const auto& mode) { return std::string(mode.param); });

TEST_P(Services, ClusterIpBalancesForPodsAndHost) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    node_.run_server("web-2", "web");
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(client.place, vip(family)));
        EXPECT_THAT(servers(client.place, vip(family), 80, client.ip(family)),
                    UnorderedElementsAre("web-1", "web-2"));
        EXPECT_THAT(servers(node_.host(), vip(family), 80, ""),
                    UnorderedElementsAre("web-1", "web-2"));
    }
}

TEST_P(Services, UdpAnswersComeFromTheVip) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(client.place, vip(family)));
        const auto expected = joined(vip(family), 80) + " web-1";
        for (const auto& place : {client.place, node_.host()}) {
            EXPECT_EQ(in_child(place, [&] { return udp_ask(vip(family), 80); }), expected);
            EXPECT_EQ(in_child(place, [&] { return udp_connected(vip(family), 80); }), expected);
        }
    }
}

TEST_P(Services, DatagramsLargerThanTheMtuAreFragmentedBothWays) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    auto& server = node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(client.place, vip(family)));
        for (const size_t size : {2000U, 8000U}) {
            EXPECT_EQ(in_child(client.place, [&] { return udp_ask(vip(family), 80, size); }),
                      joined(vip(family), 80) + " web-1");
            EXPECT_EQ(
                in_child(client.place, [&] { return udp_ask(server.ip(family), 8080, size); }),
                joined(server.ip(family), 8080) + " web-1");
        }
    }
}

TEST_P(Services, PeerNameIsTheVip) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(client.place, vip(family)));
        EXPECT_THAT(in_child(client.place, [&] { return tcp_connect({vip(family), 80}); }),
                    StartsWith("ok " + joined(vip(family), 80)));
    }
    // A v4-mapped destination of an IPv6 socket is the IPv4 Service.
    EXPECT_THAT(in_child(client.place,
                         [&] { return tcp_connect(SocketAddress::mapped("10.96.0.10", 80)); }),
                StartsWith("ok [::ffff:10.96.0.10]:80"));
}

// Whoever translated it: a hook at the socket, whose packets show the backend only, or tc.
TEST_P(Services, FlowsNameTheirService) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    auto& server = node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(client.place, vip(family)));
        ASSERT_THAT(http(client.place, server.ip(family), 8080), StartsWith("web-1"));
    }
    const std::vector<std::string> flows = {"flows", "--from-pod", "shop/client", "--no-headers"};
    const auto with = [&](std::vector<std::string> more) {
        more.insert(more.begin(), flows.begin(), flows.end());
        return node_.weir_ok(more);
    };
    // Events are read ten times a second.
    const auto there = [&](const std::vector<std::string>& more) {
        return eventually([&] { return !with(more).empty(); });
    };
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        EXPECT_TRUE(there({"--service", "shop/web", "--ip", client.ip(family)}));
        EXPECT_TRUE(there({"--not", "--service", "shop/web", "--ip", server.ip(family)}));
    }
}

TEST_P(Services, NodePortFromOutsidePodsAndHost) {
    node_.apply("web.yaml", Node::node_port_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    node_.run_server("web-2", "web");
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(node_.outside(), node_ip(family), 30080));
        EXPECT_THAT(servers(node_.outside(), node_ip(family), 30080, outside_ip(family)),
                    UnorderedElementsAre("web-1", "web-2"));
        EXPECT_THAT(servers(client.place, node_ip(family), 30080, ""),
                    UnorderedElementsAre("web-1", "web-2"));
        EXPECT_THAT(servers(node_.host(), node_ip(family), 30080, ""),
                    UnorderedElementsAre("web-1", "web-2"));
        for (const auto& place : {node_.outside(), client.place, node_.host()}) {
            EXPECT_THAT(in_child(place, [&] { return udp_ask(node_ip(family), 30080); }),
                        StartsWith(joined(node_ip(family), 30080) + " web-"));
        }
    }
}

// The range bounds what is given out, not what a Service may have.
TEST_P(Services, NodePortOutsideOfTheRange) {
    node_.apply("web.yaml", Node::node_port_yaml("web", kVip4, kVip6, 8088));

    node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(node_.outside(), node_ip(family), 8088));
        EXPECT_THAT(http(client.place, node_ip(family), 8088), StartsWith("web-1"));
        EXPECT_THAT(http(node_.host(), node_ip(family), 8088), StartsWith("web-1"));
    }
}

TEST_P(Services, ExternalAndLoadBalancerAddresses) {
    node_.apply("web.yaml", Node::load_balancer_yaml("web", kVip4, kVip6));

    run({"sh", "-c",
         "ip -n outside route add 198.51.100.0/24 via 192.0.2.1; "
         "ip -n outside -6 route add 2001:db8:7::/64 via 2001:db8::1"});
    node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    for (const auto* address : {"198.51.100.7", "2001:db8:7::7", "198.51.100.8", "2001:db8:7::8"}) {
        SCOPED_TRACE(address);
        ASSERT_TRUE(answers(node_.outside(), address));
        EXPECT_THAT(http(node_.outside(), address), StartsWith("web-1 to "));
        EXPECT_THAT(http(client.place, address), StartsWith("web-1 to "));
        EXPECT_THAT(http(node_.host(), address), StartsWith("web-1 to "));
    }
}

TEST_P(Services, APodReachesItselfThroughItsService) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    auto& server = node_.run_server("web-1", "web");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(server.place, vip(family)));
        for (int i = 0; i < 5; ++i)
            EXPECT_THAT(http(server.place, vip(family)), StartsWith("web-1"));
        EXPECT_EQ(in_child(server.place, [&] { return udp_ask(vip(family), 80); }),
                  joined(vip(family), 80) + " web-1");
    }
}

TEST_P(Services, WithoutEndpointsIsRefusedAtOnce) {
    node_.apply("web.yaml", Node::node_port_yaml("nobody", kVip4, kVip6));

    auto& client = node_.run_client("client");
    ASSERT_TRUE(eventually([&] {
        return node_.weir({"service", "list", "-A"}).out.find("10.96.0.10") != std::string::npos;
    }));
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        for (const auto& place : {client.place, node_.host()}) {
            EXPECT_EQ(http(place, vip(family)), "error: ECONNREFUSED");
            EXPECT_EQ(in_child(place, [&] { return udp_connected(vip(family), 80); }),
                      "error: ECONNREFUSED");
        }
        for (const auto& place : {client.place, node_.host(), node_.outside()}) {
            EXPECT_EQ(http(place, node_ip(family), 30080), "error: ECONNREFUSED");
            EXPECT_EQ(in_child(place, [&] { return udp_connected(node_ip(family), 30080); }),
                      "error: ECONNREFUSED");
        }
    }
}

TEST_P(Services, AnUndefinedPortOfAClusterIpIsRefused) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(client.place, vip(family)));
        EXPECT_EQ(http(client.place, vip(family), 81), "error: ECONNREFUSED");
    }
}

TEST_P(Services, EndpointsFollowReadinessAndSlicesWin) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    auto& first = node_.run_server("web-1", "web");
    auto& other = node_.run_server("other", "other");
    auto& client = node_.run_client("client");
    ASSERT_TRUE(answers(client.place, kVip4));
    node_.apply("slice.yaml", Node::slice_yaml("web-x", "web", {other.v4}));
    EXPECT_TRUE(eventually([&] { return http(client.place, kVip4).starts_with("other"); }));
    node_.remove("slice.yaml");
    EXPECT_TRUE(eventually([&] { return http(client.place, kVip4).starts_with("web-1"); }));
    node_.stop_pod(first);
    EXPECT_TRUE(eventually([&] { return http(client.place, kVip4) == "error: ECONNREFUSED"; }));
}

TEST_P(Services, ClientsOfAnAffineServiceStayWithTheirBackend) {
    node_.apply("web.yaml",
                Node::service_yaml("web", kVip4, kVip6, "  sessionAffinity: ClientIP\n"));
    std::map<std::string, Node::Pod*> pods;
    for (const std::string name : {"web-1", "web-2", "web-3"})
        pods[name] = &node_.run_server(name, "web");
    auto& client = node_.run_client("client");
    for (const auto& place : {client.place, node_.host()}) {
        for (const int family : {4, 6}) {
            SCOPED_TRACE(family);
            ASSERT_TRUE(answers(place, vip(family)));
            EXPECT_EQ(servers(place, vip(family), 80, "").size(), 1U);
        }
    }
    const std::string body = http(client.place, kVip4);
    const std::string first = body.substr(0, body.find(' '));
    ASSERT_TRUE(pods.contains(first)) << body;
    node_.stop_pod(*pods.at(first));
    ASSERT_TRUE(eventually([&] {
        const auto now = http(client.place, kVip4);
        return !now.starts_with("error") && !now.starts_with(first);
    }));
    EXPECT_EQ(servers(client.place, kVip4, 80, "").size(), 1U);
}

TEST_P(Services, PodsThatLeaveAreMasqueraded) {
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        EXPECT_EQ(http(client.place, outside_ip(family), 8080), "outside to " + node_ip(family));
        EXPECT_EQ(in_child(client.place, [&] { return udp_ask(outside_ip(family), 8080, 3000); }),
                  joined(outside_ip(family), 8080) + " outside");
        // An ICMP error about a masqueraded flow finds its way back into the pod.
        EXPECT_EQ(in_child(client.place, [&] { return udp_connected(outside_ip(family), 9); }),
                  "error: ECONNREFUSED");
    }
    EXPECT_TRUE(run({"ping", "-c1", "-W2", "192.0.2.2"}, {.place = client.place}).ok());
    EXPECT_TRUE(run({"ping", "-c1", "-W2", "2001:db8::2"}, {.place = client.place}).ok());
}

// Pieces that the way to the outside has no room for, without a bit that forbids cutting them: the
// host's stack cuts those up that have its own address, too. It forwards nothing of its own accord.
TEST_P(Services, DatagramsTooLargeForTheWayOutAreCutUp) {
    node_.apply("web.yaml", Node::node_port_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    ASSERT_TRUE(answers(node_.outside(), node_ip(4), 30080));
    ASSERT_EQ(run({"cat", "/proc/sys/net/ipv4/ip_forward"}).out, "0\n");
    const auto narrow =
        run({"ip", "route", "add", outside_ip(4) + "/32", "dev", "ext0", "mtu", "lock", "1300"});
    ASSERT_TRUE(narrow.ok()) << narrow.describe();
    for (const size_t size : {1600U, 3000U, 9000U}) {
        SCOPED_TRACE(size);
        EXPECT_EQ(in_child(node_.outside(), [&] { return udp_ask(node_ip(4), 30080, size); }),
                  joined(node_ip(4), 30080) + " web-1");
        EXPECT_EQ(in_child(client.place, [&] { return udp_ask(outside_ip(4), 8080, size); }),
                  joined(outside_ip(4), 8080) + " outside");
    }
}

TEST_P(Services, WorksBehindAStrictHostFirewall) {
    const auto rules = run({"nft", R"(table inet strict {
  chain forward { type filter hook forward priority 0; policy drop; }
  chain input { type filter hook input priority 0; ct state invalid drop; }
  chain output { type filter hook output priority 0; ct state invalid drop; }
  chain pre { type filter hook prerouting priority 0; ct state invalid drop; }
})"});
    ASSERT_TRUE(rules.ok()) << rules.describe();
    node_.apply("web.yaml", Node::node_port_yaml("web", kVip4, kVip6));
    auto& server = node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(client.place, vip(family)));
        for (const auto& place : {client.place, node_.host()}) {
            EXPECT_THAT(http(place, vip(family)), StartsWith("web-1"));
            EXPECT_THAT(http(place, node_ip(family), 30080), StartsWith("web-1"));
            EXPECT_THAT(http(place, server.ip(family), 8080), StartsWith("web-1"));
            EXPECT_THAT(in_child(place, [&] { return udp_ask(vip(family), 80, 3000); }),
                        HasSubstr("web-1"));
        }
        EXPECT_THAT(http(node_.outside(), node_ip(family), 30080), StartsWith("web-1"));
        EXPECT_THAT(http(client.place, outside_ip(family), 8080), StartsWith("outside"));
    }
    EXPECT_THAT(run({"nft", "list", "ruleset"}).out, Not(HasSubstr("weir")));
}

TEST_P(Services, EverythingWorksOnWithTheAgentDead) {
    node_.apply("web.yaml", Node::node_port_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    ASSERT_TRUE(answers(client.place, kVip4));
    node_.stop_agent(9);
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        EXPECT_THAT(http(client.place, vip(family)), StartsWith("web-1"));
        EXPECT_THAT(http(node_.host(), vip(family)), StartsWith("web-1"));
        EXPECT_THAT(http(node_.outside(), node_ip(family), 30080), StartsWith("web-1"));
        EXPECT_THAT(http(client.place, outside_ip(family), 8080), StartsWith("outside"));
    }
    // The CLI reads the kernel's tables itself.
    const auto list = node_.weir({"conntrack", "list"});
    EXPECT_TRUE(list.ok()) << list.describe();
    EXPECT_THAT(list.out, HasSubstr("30080"));
    ASSERT_TRUE(node_.start_agent());
    EXPECT_THAT(http(client.place, kVip4), StartsWith("web-1"));
}

}  // namespace
}  // namespace weir::test
