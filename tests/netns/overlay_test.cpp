// SPDX-License-Identifier: Apache-2.0
// Pods of two nodes that share no link, with a fabric between them that knows no pod: over VXLAN.
#include <optional>
#include <string>
#include <thread>

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/nodes.h"
#include "netns/web.h"

namespace weir::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::vector<std::string> kVxlan = {"--routing=vxlan"};

class Overlay : public testing::Test {
  protected:
    explicit Overlay(Fabric fabric = Fabric::kRouter) : nodes_(fabric) {}

    bool start(const std::vector<std::string>& flags = kVxlan) {
        if (!nodes_.start_agent('a', flags) || !nodes_.start_agent('b', flags)) return false;
        pod_a_ = &nodes_.run_pod('a', "pod-a");
        pod_b_ = &nodes_.run_pod('b', "pod-b");
        return true;
    }
    /// Both ways, both families, small and large, from pods and from the nodes themselves.
    void expect_all_reach() {
        for (const int family : {4, 6}) {
            SCOPED_TRACE(family);
            expect_reach(pod_a_->place, *pod_b_, family, pod_a_->ip(family));
            expect_reach(pod_b_->place, *pod_a_, family, pod_b_->ip(family));
            expect_reach(nodes_.at('a'), *pod_b_, family, "");
            expect_reach(nodes_.at('b'), *pod_a_, family, "");
        }
    }
    /// `seen`: the client's address as the server sees it.
    void expect_reach(const Place& from, const Nodes::Pod& to, int family,
                      const std::string& seen) {
        EXPECT_THAT(http(from, to.ip(family), 8080),
                    AllOf(StartsWith(to.name + " to "), HasSubstr(seen)));
        for (const size_t size : {8UL, 1300UL, 9000UL}) {
            EXPECT_THAT(in_child(from, [&] { return udp_ask(to.ip(family), 8080, size); }),
                        HasSubstr(to.name))
                << size << " bytes";
        }
    }
    bool reaches(const Place& from, const Nodes::Pod& to, int family = 4,
                 std::chrono::milliseconds patience = std::chrono::seconds(10)) {
        return eventually([&] { return http(from, to.ip(family), 8080).starts_with(to.name); },
                          patience);
    }

    Nodes nodes_;
    Nodes::Pod* pod_a_ = nullptr;
    Nodes::Pod* pod_b_ = nullptr;
};

TEST_F(Overlay, PodsAndHostsReachPodsOfTheOtherNode) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(reaches(pod_a_->place, *pod_b_));
    expect_all_reach();
    const auto status = nodes_.weir('a', {"status"});
    EXPECT_TRUE(status.ok()) << status.describe();
    EXPECT_THAT(status.out,
                HasSubstr("vxlan (weir_vxlan, UDP port 4789), MTU 1450: 1 other nodes, 0 ranges "
                          "over shared links, 2 by VXLAN"));
    EXPECT_THAT(nodes_.sh('a', "ip -d link show weir_vxlan"),
                AllOf(HasSubstr("external"), HasSubstr("mtu 1450"), HasSubstr("dstport 4789")));
    EXPECT_THAT(nodes_.sh('a', "bridge fdb show dev weir_vxlan"), Not(HasSubstr("dst")));
    // One next hop for all pods of all nodes: no neighbour a pod.
    EXPECT_THAT(nodes_.sh('a', "ip -4 neigh show nud all dev weir_vxlan"),
                Not(HasSubstr("10.244")));
}

// Packets of pods cross no FORWARD chain; those of the host cross the others both ways.
TEST_F(Overlay, WorksBehindStrictHostFirewalls) {
    ASSERT_TRUE(start());
    for (const char node : {'a', 'b'}) {
        nodes_.sh(node, R"(nft 'table inet strict {
  chain forward { type filter hook forward priority 0; policy drop; }
  chain input { type filter hook input priority 0; ct state invalid drop; }
  chain output { type filter hook output priority 0; ct state invalid drop; }
  chain pre { type filter hook prerouting priority 0; ct state invalid drop; }
}')");
    }
    ASSERT_TRUE(reaches(pod_a_->place, *pod_b_));
    expect_all_reach();
}

// What closes a host is named with what it has to admit, and with what came so far.
TEST_F(Overlay, AClosedHostFirewallIsNamed) {
    nodes_.sh('a', R"(nft 'table inet host {
  chain closed { type filter hook input priority 0; policy drop; ct state established accept; }
}')");
    ASSERT_TRUE(start());
    const auto status = [this] { return nodes_.weir('a', {"status"}).out; };
    EXPECT_THAT(status(),
                AllOf(HasSubstr("firewall chain inet host closed"),
                      HasSubstr("UDP port 4789 from other nodes (none has come so far)")));
    EXPECT_THAT(nodes_.weir('b', {"status"}).out, Not(HasSubstr("firewall")));
    nodes_.sh('a', "nft add rule inet host closed udp dport 4789 accept");
    ASSERT_TRUE(reaches(pod_a_->place, *pod_b_));
    nodes_.stop_agent('a');
    ASSERT_TRUE(nodes_.start_agent('a', kVxlan));
    EXPECT_THAT(status(), HasSubstr("UDP port 4789 from other nodes (admitted: "));
}

class OverlayService : public Overlay {
  protected:
    /// shop/web, whose one backend is on b.
    bool start_with_service() {
        nodes_.apply("web.yaml", R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: ["10.96.0.10", "fd00:10:96::10"]
  ipFamilies: [IPv4, IPv6]
  ports:
  - {name: http, port: 80, targetPort: 8080, nodePort: 30080}
  - {name: echo, port: 80, targetPort: 8080, nodePort: 30080, protocol: UDP}
)");
        if (!start()) return false;
        for (const int family : {4, 6}) {
            serve_on_b("web", family,
                       "{name: http, port: 8080, protocol: TCP}, "
                       "{name: echo, port: 8080, protocol: UDP}");
        }
        return eventually([&] {
            return http(pod_a_->place, kVip4).starts_with("pod-b") &&
                   http(pod_a_->place, kVip6).starts_with("pod-b");
        });
    }
    /// The Service's one endpoint of that family is the pod on b.
    void serve_on_b(const std::string& service, int family, const std::string& ports) {
        nodes_.apply(fmt::format("{}{}.yaml", service, family),
                     fmt::format(R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {0}-{1}, namespace: shop, labels: {{kubernetes.io/service-name: {0}}}}}
addressType: IPv{1}
ports: [{2}]
endpoints: [{{addresses: ["{3}"], conditions: {{ready: true}}}}]
)",
                                 service, family, ports, pod_b_->ip(family)));
    }
};

TEST_F(OverlayService, ReachesBackendsOfTheOtherNode) {
    ASSERT_TRUE(start_with_service());
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        EXPECT_THAT(http(nodes_.at('a'), vip(family)), StartsWith("pod-b"));
        // From outside through the node that has no backend.
        EXPECT_THAT(http({}, nodes_.ip('a', family), 30080), StartsWith("pod-b"));
        EXPECT_THAT(in_child({}, [&] { return udp_ask(nodes_.ip('a', family), 30080, 1300); }),
                    HasSubstr("pod-b"));
    }
}

// Pieces that fit the way here and not the overlay, without a bit that forbids cutting them.
TEST_F(OverlayService, PiecesFromOutsideAreCutUp) {
    ASSERT_TRUE(start_with_service());
    for (const size_t size : {3000U, 9000U}) {
        EXPECT_THAT(in_child({}, [&] { return udp_ask(nodes_.ip('a', 4), 30080, size); }),
                    HasSubstr("pod-b"))
            << size << " bytes";
    }
}

/// How many bytes of five million arrived by nc, in text: there, at `server`, or back at `client`.
std::string streamed(const Place& server, const std::string& listen, const Place& client,
                     const std::string& connect, bool to_server) {
    const std::string sends = "head -c 5000000 /dev/zero | nc -N ";
    const auto counts = [](const std::string& nc) { return "nc " + nc + " </dev/null | wc -c"; };
    Process listener({"sh", "-c", to_server ? counts(listen) : sends + listen}, {.place = server});
    Outcome asked;
    // refused, until the listener is there
    EXPECT_TRUE(eventually([&] {
        asked = run({"bash", "-o", "pipefail", "-c", to_server ? sends + connect : counts(connect)},
                    {.place = client});
        return asked.ok();
    }));
    EXPECT_EQ(listener.wait_for(std::chrono::seconds(30)), 0);
    return to_server ? listener.out() : asked.out;
}

/// What a connected socket that does not fragment learns of the path after `size` bytes: "MTU n".
std::string learnt_mtu(const std::string& address, uint16_t port, size_t size) {
    const SocketAddress to(address, port);
    const bool v6 = to.family() == AF_INET6;
    const auto fd = make_socket(to.family(), SOCK_DGRAM);
    const int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
    int value = IP_PMTUDISC_DO;
    ::setsockopt(fd.get(), level, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &value, sizeof value);
    connect_to(fd, to);
    socklen_t length = sizeof value;
    for (int i = 0; i < 20; ++i) {
        const std::string payload(size, 'x');
        if (::send(fd.get(), payload.data(), payload.size(), 0) < 0 && errno == EMSGSIZE) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (::getsockopt(fd.get(), level, v6 ? IPV6_MTU : IP_MTU, &value, &length) != 0) return "?";
    return fmt::format("MTU {}", value);
}

// A larger packet than the overlay takes is answered with what would fit.
TEST_F(OverlayService, WhatDoesNotFitIsSaid) {
    ASSERT_TRUE(start_with_service());
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        const int headers = family == 4 ? 28 : 48;
        const auto ping = [&](int size) {
            return run({"ping", "-c1", "-W2", "-Mdo", "-s", std::to_string(size - headers),
                        pod_b_->ip(family)},
                       {.place = pod_a_->place});
        };
        EXPECT_TRUE(ping(1450).ok()) << ping(1450).describe();
        EXPECT_THAT(ping(1451).err, HasSubstr("essage too long")) << "the pod knows";
        EXPECT_EQ(in_child({}, [&] { return learnt_mtu(nodes_.ip('a', family), 30080, 1440); }),
                  "MTU 1450");
        EXPECT_EQ(
            in_child(nodes_.at('a'), [&] { return learnt_mtu(pod_b_->ip(family), 8080, 1440); }),
            "MTU 1450");
    }
    EXPECT_GT(nodes_.drops('a', "too_big"), 0U);
}

class OverlayStreams : public OverlayService {
  protected:
    /// shop/bulk, whose NodePort leads to port 9000 of the pod on b.
    bool start_with_bulk() {
        if (!start_with_service()) return false;
        nodes_.apply("bulk.yaml", R"(apiVersion: v1
kind: Service
metadata: {name: bulk, namespace: shop}
spec:
  type: NodePort
  clusterIP: 10.96.0.11
  clusterIPs: ["10.96.0.11", "fd00:10:96::11"]
  ipFamilies: [IPv4, IPv6]
  ports: [{name: bulk, port: 9000, targetPort: 9000, nodePort: 30090}]
)");
        for (const int family : {4, 6})
            serve_on_b("bulk", family, "{name: bulk, port: 9000, protocol: TCP}");
        return true;
    }
    /// Through a, there and back, with segments that leave `client` or this place as one large
    /// packet and without. Nobody has learnt of the way before.
    void expect_streams(const Place& client) {
        for (const int family : {4, 6}) {
            for (const char* offload : {"on", "off"}) {
                for (const bool to_server : {true, false}) {
                    SCOPED_TRACE(fmt::format("IPv{}, offload {}, {}", family, offload,
                                             to_server ? "there" : "back"));
                    for (const Place& place : {client, Place{}})
                        set_offload(place, offload);
                    for (const Place& place : {client, Place{}, nodes_.at('a'), pod_b_->place})
                        sh_at(place, fmt::format("ip -{} route flush cache", family));
                    ASSERT_EQ(streamed(pod_b_->place, fmt::format("-{} -l 9000", family), client,
                                       "-w 20 " + nodes_.ip('a', family) + " 30090", to_server),
                              "5000000\n");
                }
            }
        }
    }

  private:
    static void sh_at(const Place& place, const std::string& command) {
        const auto outcome = run({"sh", "-ec", command}, {.place = place});
        EXPECT_TRUE(outcome.ok()) << command << ": " << outcome.describe();
    }
    static void set_offload(const Place& place, const char* state) {
        sh_at(place,
              fmt::format("for d in $(ls /sys/class/net); do"
                          "  ethtool -K $d tso {0} gso {0} gro {0} 2>/dev/null || true; done",
                          state));
    }
};

// Segments as large as the way to the node takes do not fit the overlay: their sender is told, also
// of those that leave it as one large packet; and back.
TEST_F(OverlayStreams, FromOutsideGetThrough) {
    ASSERT_TRUE(start_with_bulk());
    expect_streams({});
}

// A router tells the node that its answers are too large; the backend is on another node, which
// believes nobody but the first.
TEST_F(OverlayStreams, FromBehindANarrowRouterGetThrough) {
    ASSERT_TRUE(start_with_bulk());
    nodes_.sh(
        "ip netns add far; ip link add to-far type veth peer name eth0 netns far;"
        "ip addr add 203.0.113.254/24 dev to-far;"
        "ip addr add 2001:db8:3::fe/64 dev to-far nodad; ip link set to-far up;"
        "ip -n far addr add 203.0.113.9/24 dev eth0;"
        "ip -n far addr add 2001:db8:3::9/64 dev eth0 nodad; ip -n far link set eth0 up;"
        "ip -n far route add default via 203.0.113.254;"
        "ip -n far -6 route add default via 2001:db8:3::fe;"
        "ip route add 203.0.113.9 dev to-far mtu lock 1300;"
        "ip -6 route add 2001:db8:3::9 dev to-far mtu lock 1300");
    expect_streams({.netns = "/run/netns/far"});
    EXPECT_EQ(nodes_.drops('b', "overlay_source"), 0U);
    // of the address that a has among the pods
    for (const char* known : {"10.244.1.1", "fd00:10:244:1::1"}) {
        EXPECT_THAT(run({"ip", "route", "get", known}, {.place = pod_b_->place}).out,
                    HasSubstr("mtu 1300"))
            << "the pod has been told";
    }
}

// Nobody fragments outer packets of IPv6: who sends learns what the way between the nodes carries.
TEST_F(OverlayStreams, OverANarrowWayBetweenNodesGetThrough) {
    nodes_.apply_node('a', {nodes_.ip('a', 6)});
    nodes_.apply_node('b', {nodes_.ip('b', 6)});
    ASSERT_TRUE(start_with_bulk());
    nodes_.sh(
        "ip -6 route add 2001:db8:1::1 dev to-a mtu lock 1400;"
        "ip -6 route add 2001:db8:2::1 dev to-b mtu lock 1400");
    for (const int family : {4, 6}) {
        for (const Place& client : {pod_a_->place, nodes_.at('a')}) {
            for (const bool to_server : {true, false}) {
                SCOPED_TRACE(fmt::format("IPv{} {}", family, to_server ? "there" : "back"));
                EXPECT_EQ(streamed(pod_b_->place, fmt::format("-{} -l 9000", family), client,
                                   "-w 20 " + pod_b_->ip(family) + " 9000", to_server),
                          "5000000\n");
            }
        }
    }
    expect_streams({});
}

// The sender of an encapsulated packet must be the node that has its inner source.
TEST_F(Overlay, AnEncapsulatedPacketOfAnotherIsDropped) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(reaches(pod_a_->place, *pod_b_));
    ASSERT_EQ(nodes_.drops('b', "overlay_source"), 0U);
    // The router in between says what a pod of a would, with its own outer address.
    nodes_.sh(
        "ip link add forged type vxlan id 87 dstport 4789 remote 198.51.100.1 noudpcsum;"
        "ip link set forged address 02:00:00:00:00:01 up;"
        "ip addr add 10.244.1.77/32 dev forged;"
        "ip route add " +
        pod_b_->v4 +
        " dev forged;"
        "ip neigh add " +
        pod_b_->v4 + " lladdr ee:ee:ee:ee:ee:ee dev forged");
    EXPECT_THAT(in_child({}, [&] { return udp_connected(pod_b_->v4, 8080); }), StartsWith("error"));
    EXPECT_GT(nodes_.drops('b', "overlay_source"), 0U);
    // What is nobody's, too: an address that no node has.
    const auto before = nodes_.drops('b', "overlay_source");
    nodes_.sh("ip addr flush dev forged; ip addr add 203.0.113.7/32 dev forged");
    EXPECT_THAT(in_child({}, [&] { return udp_connected(pod_b_->v4, 8080); }), StartsWith("error"));
    EXPECT_GT(nodes_.drops('b', "overlay_source"), before);
    EXPECT_TRUE(reaches(pod_a_->place, *pod_b_));
}

// A pod cannot have its node send an encapsulated packet of the pod's making.
TEST_F(Overlay, PodsDoNotSpeakForTheirNode) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(reaches(pod_a_->place, *pod_b_));
    EXPECT_THAT(in_child(pod_a_->place, [&] { return udp_connected(nodes_.ip('b', 4), 4789); }),
                StartsWith("error"));
    EXPECT_GT(nodes_.drops('a', "overlay_forged"), 0U);
}

TEST_F(Overlay, ANodeUnderAnotherAddressOrRangeIsFollowed) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(reaches(pod_a_->place, *pod_b_));
    // Of a second, and what a busy machine and sanitizers make of it; a missed change would be
    // noticed within a minute only, if at all.
    const auto soon = std::chrono::milliseconds(3000);
    // Another address.
    nodes_.sh('b',
              "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1;"
              "ip addr add 198.51.100.9/24 dev eth0");
    nodes_.apply_node('b', {"198.51.100.9", nodes_.ip('b', 6)});
    nodes_.sh('b',
              "ip addr del 198.51.100.1/24 dev eth0;"
              "ip route replace default via 198.51.100.254");
    EXPECT_TRUE(reaches(pod_a_->place, *pod_b_, 4, soon));
    EXPECT_TRUE(reaches(pod_b_->place, *pod_a_, 6, soon));
    // Gone: its range is nobody's, and leads nowhere but to the default route.
    nodes_.forget_node('a', 'b');
    EXPECT_TRUE(eventually(
        [&] { return nodes_.sh('a', "ip route").find("10.244.2.0/24") == std::string::npos; },
        soon));
    EXPECT_FALSE(reaches(pod_a_->place, *pod_b_, 4, std::chrono::milliseconds(200)));
    // There again, by IPv6 only: both families go over it.
    nodes_.apply_node('b', {nodes_.ip('b', 6)});
    EXPECT_TRUE(reaches(pod_a_->place, *pod_b_, 4, soon));
    EXPECT_TRUE(reaches(pod_a_->place, *pod_b_, 6, soon));
    EXPECT_THAT(nodes_.sh('a', "ip link show weir_vxlan"), HasSubstr("mtu 1430"));
    // Another range: pods of it are reached.
    nodes_.apply_node('b', {"198.51.100.9", nodes_.ip('b', 6)},
                      {"10.244.9.0/24", "fd00:10:244:9::/64"});
    ASSERT_TRUE(eventually([&] {
        return nodes_.sh('b', "ip addr show weir0").find("10.244.9.1/32") != std::string::npos;
    }));
    auto& fresh = nodes_.run_pod('b', "pod-new");
    ASSERT_THAT(fresh.v4, StartsWith("10.244.9."));
    EXPECT_TRUE(reaches(pod_a_->place, fresh, 4, soon));
}

TEST_F(Overlay, ItsDeviceIsPutBackAndCleanedUp) {
    ASSERT_TRUE(start());
    ASSERT_TRUE(reaches(pod_a_->place, *pod_b_));
    nodes_.sh('a', "ip link del weir_vxlan");
    EXPECT_TRUE(reaches(pod_a_->place, *pod_b_, 4, std::chrono::seconds(2)));
    nodes_.sh('a', "ip link set weir_vxlan down");
    EXPECT_TRUE(reaches(pod_a_->place, *pod_b_, 6, std::chrono::seconds(2)));
    nodes_.sh('a', "ip route del 10.244.2.0/24");
    EXPECT_TRUE(reaches(pod_a_->place, *pod_b_, 4, std::chrono::seconds(2)));
    // Everything works on without the agent, and a new one changes nothing.
    nodes_.stop_agent('a', 9);
    expect_all_reach();
    ASSERT_TRUE(nodes_.start_agent('a', kVxlan));
    expect_all_reach();
    nodes_.stop_pod(*pod_a_);
    nodes_.stop_agent('a');
    EXPECT_TRUE(nodes_.weir('a', {"cleanup"}).ok());
    EXPECT_THAT(nodes_.sh('a', "ip link; ip route"),
                AllOf(Not(HasSubstr("weir_vxlan")), Not(HasSubstr("proto 87"))));
}

class SharedLink : public Overlay {
  protected:
    SharedLink() : Overlay(Fabric::kSwitch) {}
};

TEST_F(SharedLink, AutoNeedsNoOverlayWhereALinkIsShared) {
    ASSERT_TRUE(start({"--routing=auto"}));
    ASSERT_TRUE(reaches(pod_a_->place, *pod_b_));
    expect_all_reach();
    EXPECT_THAT(nodes_.sh('a', "ip route show proto 87"),
                HasSubstr("10.244.2.0/24 via 192.0.2.2 dev eth0"));
    EXPECT_THAT(nodes_.weir('a', {"status"}).out,
                HasSubstr("2 ranges over shared links, 0 by VXLAN"));
}

/// A TCP connection made at a place.
Fd connected(const Place& from, const std::string& to, uint16_t port) {
    std::optional<Fd> made;
    std::thread([&] {
        const Fd netns(::open(from.netns.c_str(), O_RDONLY | O_CLOEXEC));
        if (::setns(netns.get(), CLONE_NEWNET) != 0) return;
        made.emplace(make_socket(SocketAddress(to, port).family(), SOCK_STREAM));
        connect_to(*made, SocketAddress(to, port));
    }).join();
    return std::move(made).value();
}

/// Whether the server at the other end still answers.
bool still_answers(const Fd& connection) {
    send_text(connection, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    return receive_text(connection).starts_with("HTTP/1.1 200");
}

// One node after the other, by way of auto; open connections go on.
TEST_F(SharedLink, TheModeChangesNodeByNodeWithoutLoss) {
    const auto flags = [](const std::string& mode) {
        return std::vector<std::string>{"--routing=" + mode, "--mtu=1450"};
    };
    ASSERT_TRUE(start(flags("native")));
    ASSERT_TRUE(reaches(pod_a_->place, *pod_b_));
    std::vector<Fd> connections;
    for (const int family : {4, 6}) {
        connections.push_back(connected(pod_a_->place, pod_b_->ip(family), 8080));
        connections.push_back(connected(pod_b_->place, pod_a_->ip(family), 8080));
    }
    for (const char* mode : {"auto", "vxlan", "auto", "native"}) {
        for (const char node : {'a', 'b'}) {
            SCOPED_TRACE(fmt::format("{} to {}", node, mode));
            nodes_.stop_agent(node);
            ASSERT_TRUE(nodes_.start_agent(node, flags(mode)));
            expect_all_reach();
            for (size_t i = 0; i < connections.size(); ++i)
                EXPECT_TRUE(still_answers(connections[i])) << "connection " << i;
        }
        // Connections that were made in this mode live on in the next.
        connections.push_back(connected(pod_a_->place, pod_b_->v4, 8080));
        connections.push_back(connected(pod_b_->place, pod_a_->v6, 8080));
    }
    EXPECT_THAT(nodes_.sh('a', "ip link"), Not(HasSubstr("weir_vxlan")));
}

}  // namespace
}  // namespace weir::test
