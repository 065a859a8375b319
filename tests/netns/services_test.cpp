// SPDX-License-Identifier: Apache-2.0
// Services with real processes and sockets, with the socket hooks on and off. Cites: Kubernetes
// Service API, kube-proxy's verdicts (no endpoint: refuse; hairpin; NodePort on the node's
// addresses).
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/node.h"
#include "netns/sockets.h"

namespace weir::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using testing::UnorderedElementsAre;

constexpr const char* kVip4 = "10.96.0.10";
constexpr const char* kVip6 = "fd00:10:96::10";
const std::string& vip(int family) {
    static const std::string four = kVip4;
    static const std::string six = kVip6;
    return family == 4 ? four : six;
}
std::string node_ip(int family) {
    return family == 4 ? "192.0.2.1" : "2001:db8::1";
}
std::string outside_ip(int family) {
    return family == 4 ? "192.0.2.2" : "2001:db8::2";
}
std::string joined(const std::string& address, int port) {
    return address.find(':') == std::string::npos ? address + ":" + std::to_string(port)
                                                  : "[" + address + "]:" + std::to_string(port);
}

class Services : public testing::TestWithParam<const char*> {
  protected:
    Services() : node_({.socket_hooks = GetParam()}) {}

    void SetUp() override { ASSERT_TRUE(node_.start_agent()); }

    std::string http(const Place& place, const std::string& address, uint16_t port = 80) {
        return run_in(place, [&] { return http_get(address, port); });
    }
    /// Which servers answer 40 requests; every answer must come from a client that looks like
    /// `seen`.
    std::set<std::string> servers(const Place& place, const std::string& address, uint16_t port,
                                  const std::string& seen) {
        std::set<std::string> names;
        for (int i = 0; i < 40; ++i) {
            const auto body = http(place, address, port);
            EXPECT_THAT(body, HasSubstr(" to " + seen)) << "from " << address << ":" << port;
            names.insert(body.substr(0, body.find(' ')));
        }
        return names;
    }
    /// Services take effect at once, but not in the same instant as the file is written.
    bool answers(const Place& place, const std::string& address, uint16_t port = 80) {
        return eventually([&] { return !http(place, address, port).starts_with("error"); });
    }

    Node node_;
};

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
            EXPECT_EQ(run_in(place, [&] { return udp_ask(vip(family), 80); }), expected);
            EXPECT_EQ(run_in(place, [&] { return udp_connected(vip(family), 80); }), expected);
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
            EXPECT_EQ(run_in(client.place, [&] { return udp_ask(vip(family), 80, size); }),
                      joined(vip(family), 80) + " web-1");
            EXPECT_EQ(run_in(client.place, [&] { return udp_ask(server.ip(family), 8080, size); }),
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
        EXPECT_THAT(run_in(client.place, [&] { return tcp_connect(vip(family), 80); }),
                    StartsWith("ok " + joined(vip(family), 80)));
    }
    // A v4-mapped destination of an IPv6 socket is the IPv4 Service.
    EXPECT_THAT(run_in(client.place, [&] { return tcp_connect("::ffff:10.96.0.10", 80); }),
                StartsWith("ok 10.96.0.10:80"));
}

TEST_P(Services, NodePortFromOutsidePodsAndHost) {
    node_.apply("web.yaml", R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIPs: ["10.96.0.10", "fd00:10:96::10"]
  ipFamilies: [IPv4, IPv6]
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080, nodePort: 30080}
  - {name: echo, port: 80, targetPort: 8080, nodePort: 30080, protocol: UDP}
)");
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
            EXPECT_THAT(run_in(place, [&] { return udp_ask(node_ip(family), 30080); }),
                        StartsWith(joined(node_ip(family), 30080) + " web-"));
        }
    }
}

// The range bounds what is given out, not what a Service may have.
TEST_P(Services, NodePortOutsideOfTheRange) {
    node_.apply("web.yaml", R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIPs: ["10.96.0.10", "fd00:10:96::10"]
  ipFamilies: [IPv4, IPv6]
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 8088}]
)");
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
    node_.apply("web.yaml", R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: LoadBalancer
  clusterIPs: ["10.96.0.10", "fd00:10:96::10"]
  ipFamilies: [IPv4, IPv6]
  externalIPs: ["198.51.100.7", "2001:db8:7::7"]
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
status:
  loadBalancer: {ingress: [{ip: 198.51.100.8}, {ip: "2001:db8:7::8"}]}
)");
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

std::string restricted_yaml(const std::string& ranges) {
    return fmt::format(R"(apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec:
  type: LoadBalancer
  clusterIPs: ["10.96.0.10", "fd00:10:96::10"]
  ipFamilies: [IPv4, IPv6]
  externalIPs: ["198.51.100.7", "2001:db8:7::7"]
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080, nodePort: 30080}}]
  loadBalancerSourceRanges: [{}]
status:
  loadBalancer: {{ingress: [{{ip: 198.51.100.8}}, {{ip: "2001:db8:7::8"}}]}}
)",
                       ranges);
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

TEST_P(Services, APodReachesItselfThroughItsService) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    auto& server = node_.run_server("web-1", "web");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(server.place, vip(family)));
        for (int i = 0; i < 5; ++i)
            EXPECT_THAT(http(server.place, vip(family)), StartsWith("web-1"));
        EXPECT_EQ(run_in(server.place, [&] { return udp_ask(vip(family), 80); }),
                  joined(vip(family), 80) + " web-1");
    }
}

TEST_P(Services, WithoutEndpointsIsRefusedAtOnce) {
    node_.apply("web.yaml", R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIPs: ["10.96.0.10", "fd00:10:96::10"]
  ipFamilies: [IPv4, IPv6]
  selector: {app: nobody}
  ports:
  - {name: http, port: 80, nodePort: 30080}
  - {name: echo, port: 80, nodePort: 30080, protocol: UDP}
)");
    auto& client = node_.run_client("client");
    ASSERT_TRUE(eventually([&] {
        return node_.weir({"service", "list", "-A"}).out.find("10.96.0.10") != std::string::npos;
    }));
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        for (const auto& place : {client.place, node_.host()}) {
            EXPECT_EQ(http(place, vip(family)), "error: ECONNREFUSED");
            EXPECT_EQ(run_in(place, [&] { return udp_connected(vip(family), 80); }),
                      "error: ECONNREFUSED");
        }
        for (const auto& place : {client.place, node_.host(), node_.outside()}) {
            EXPECT_EQ(http(place, node_ip(family), 30080), "error: ECONNREFUSED");
            EXPECT_EQ(run_in(place, [&] { return udp_connected(node_ip(family), 30080); }),
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
    node_.apply("slice.yaml", fmt::format(R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-x
  namespace: shop
  labels: {{kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: ["{}"], conditions: {{ready: true}}}}]
)",
                                          other.v4));
    EXPECT_TRUE(eventually([&] { return http(client.place, kVip4).starts_with("other"); }));
    node_.remove("slice.yaml");
    EXPECT_TRUE(eventually([&] { return http(client.place, kVip4).starts_with("web-1"); }));
    node_.stop_pod(first);
    EXPECT_TRUE(eventually([&] { return http(client.place, kVip4) == "error: ECONNREFUSED"; }));
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
    node_.apply("web.yaml", R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIPs: ["10.96.0.10"]
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
)");
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

TEST_P(Services, PodsThatLeaveAreMasqueraded) {
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        EXPECT_EQ(http(client.place, outside_ip(family), 8080), "outside to " + node_ip(family));
        EXPECT_EQ(run_in(client.place, [&] { return udp_ask(outside_ip(family), 8080, 3000); }),
                  joined(outside_ip(family), 8080) + " outside");
        // An ICMP error about a masqueraded flow finds its way back into the pod.
        EXPECT_EQ(run_in(client.place, [&] { return udp_connected(outside_ip(family), 9); }),
                  "error: ECONNREFUSED");
    }
    EXPECT_TRUE(run({"ping", "-c1", "-W2", "192.0.2.2"}, client.place).ok());
    EXPECT_TRUE(run({"ping", "-c1", "-W2", "2001:db8::2"}, client.place).ok());
}

TEST_P(Services, WorksBehindAStrictHostFirewall) {
    const auto rules = run({"nft", R"(table inet strict {
  chain forward { type filter hook forward priority 0; policy drop; }
  chain input { type filter hook input priority 0; ct state invalid drop; }
  chain output { type filter hook output priority 0; ct state invalid drop; }
  chain pre { type filter hook prerouting priority 0; ct state invalid drop; }
})"});
    ASSERT_TRUE(rules.ok()) << rules.describe();
    node_.apply("web.yaml", R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIPs: ["10.96.0.10", "fd00:10:96::10"]
  ipFamilies: [IPv4, IPv6]
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080, nodePort: 30080}
  - {name: echo, port: 80, targetPort: 8080, nodePort: 30080, protocol: UDP}
)");
    auto& server = node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        ASSERT_TRUE(answers(client.place, vip(family)));
        for (const auto& place : {client.place, node_.host()}) {
            EXPECT_THAT(http(place, vip(family)), StartsWith("web-1"));
            EXPECT_THAT(http(place, node_ip(family), 30080), StartsWith("web-1"));
            EXPECT_THAT(http(place, server.ip(family), 8080), StartsWith("web-1"));
            EXPECT_THAT(run_in(place, [&] { return udp_ask(vip(family), 80, 3000); }),
                        HasSubstr("web-1"));
        }
        EXPECT_THAT(http(node_.outside(), node_ip(family), 30080), StartsWith("web-1"));
        EXPECT_THAT(http(client.place, outside_ip(family), 8080), StartsWith("outside"));
    }
    EXPECT_THAT(run({"nft", "list", "ruleset"}).out, Not(HasSubstr("weir")));
}

TEST_P(Services, EverythingWorksOnWithTheAgentDead) {
    node_.apply("web.yaml", R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIPs: ["10.96.0.10", "fd00:10:96::10"]
  ipFamilies: [IPv4, IPv6]
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
)");
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
