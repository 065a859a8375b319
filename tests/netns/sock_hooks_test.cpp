// SPDX-License-Identifier: Apache-2.0
// The socket hooks under real sockets: a client in a cgroup of its own, servers outside of it. VIPs
// are assigned to no interface, so what is not translated at the socket reaches nobody.
#include "netns/sock_hooks.h"

#include <cerrno>
#include <functional>
#include <set>
#include <string>

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/foreign_counter.h"
#include "support/child.h"
#include "support/peers.h"

namespace weir::test {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr uint8_t kTcp = IPPROTO_TCP;
constexpr uint8_t kUdp = IPPROTO_UDP;
constexpr uint32_t kAllOn = WEIR_CFG_SOCK_PODS | WEIR_CFG_SOCK_HOST;
constexpr uint32_t kPod = 1;
constexpr uint32_t kHost = 0;
constexpr uint16_t kPort = 8080;
constexpr const char* kUnreachable = "child: connect: Network is unreachable";

const SocketAddress kVip4("10.96.0.10", 80);
const SocketAddress kVip6("fd00:10:96::10", 80);
const SocketAddress kVipMapped = SocketAddress::mapped("10.96.0.10", 80);

/// One namespace with two backends of each family, and a Service over each family and protocol:
/// index 1 TCP IPv4, 2 TCP IPv6, 3 UDP IPv4, 4 UDP IPv6.
class SockHooksTest : public testing::Test {
  protected:
    void SetUp() override {
        for (const char* address : {"192.0.2.1/32", "192.0.2.2/32"}) {
            netns_.run({"ip", "addr", "add", address, "dev", "lo"});
        }
        for (const char* address : {"2001:db8::1/128", "2001:db8::2/128"}) {
            netns_.run({"ip", "addr", "add", address, "dev", "lo", "nodad"});
        }
        servers_.emplace_back(netns_, "one", SocketAddress("192.0.2.1", kPort));
        servers_.emplace_back(netns_, "two", SocketAddress("192.0.2.2", kPort));
        servers_.emplace_back(netns_, "one", SocketAddress("2001:db8::1", kPort));
        servers_.emplace_back(netns_, "two", SocketAddress("2001:db8::2", kPort));
        load(kAllOn);
    }

    void load(uint32_t flags) {
        hooks_.reset();
        hooks_ = std::make_unique<SockHooks>(cgroup_, flags);
        hooks_->serve(netns_, kPod);
        for (const uint8_t proto : {kTcp, kUdp}) {
            const uint32_t base = proto == kTcp ? 1 : 3;  // of services; backends 10, 20 ...
            hooks_->backend(base * 10, "192.0.2.1", kPort, proto);
            hooks_->backend(base * 10 + 1, "192.0.2.2", kPort, proto);
            hooks_->backend(base * 10 + 10, "2001:db8::1", kPort, proto);
            hooks_->backend(base * 10 + 11, "2001:db8::2", kPort, proto);
            hooks_->service(base, {.cluster = {base * 10, base * 10 + 1}});
            hooks_->service(base + 1, {.cluster = {base * 10 + 10, base * 10 + 11}});
            hooks_->vip({.address = "10.96.0.10", .port = 80, .proto = proto}, base);
            hooks_->vip({.address = "fd00:10:96::10", .port = 80, .proto = proto}, base + 1);
        }
    }

    /// The text of `work` run by the client.
    std::string client(const std::function<std::string()>& work) const {
        return in_child({netns_.place().netns, cgroup_.path()}, work);
    }

    /// "one: hi via 10.96.0.10:80": who answered, and whom the client believes to talk to.
    std::string ask(int type, const SocketAddress& to) const {
        return client([&] {
            Fd sock = make_socket(to.family(), type);
            connect_to(sock, to);
            send_text(sock, "hi");
            return receive_text(sock) + " via " + peer_of(sock);
        });
    }

    std::string ask_unconnected(const SocketAddress& to) const {
        return client([&] {
            Fd sock = make_socket(to.family(), SOCK_DGRAM);
            send_text_to(sock, "hi", to);
            return receive_text_from(sock);
        });
    }

    std::set<std::string> answers(const std::function<std::string()>& question) const {
        std::set<std::string> result;
        for (int i = 0; i < 24; i++)
            result.insert(question());  // 2^-23 that one backend is missed
        return result;
    }

    NetNs netns_;
    Cgroup cgroup_;
    std::vector<EchoServer> servers_;
    std::unique_ptr<SockHooks> hooks_;
};

TEST_F(SockHooksTest, TcpReachesEveryBackendAndSeesTheVip) {
    EXPECT_THAT(answers([&] { return ask(SOCK_STREAM, kVip4); }),
                UnorderedElementsAre("one: hi via 10.96.0.10:80", "two: hi via 10.96.0.10:80"));
    EXPECT_THAT(
        answers([&] { return ask(SOCK_STREAM, kVip6); }),
        UnorderedElementsAre("one: hi via [fd00:10:96::10]:80", "two: hi via [fd00:10:96::10]:80"));
    EXPECT_EQ(hooks_->counter(WEIR_COUNTER_SOCK_TRANSLATED), 48U);
}

TEST_F(SockHooksTest, TcpOfAnIpv6SocketToAnIpv4Vip) {
    EXPECT_THAT(answers([&] { return ask(SOCK_STREAM, kVipMapped); }),
                UnorderedElementsAre("one: hi via [::ffff:10.96.0.10]:80",
                                     "two: hi via [::ffff:10.96.0.10]:80"));
}

TEST_F(SockHooksTest, ConnectedUdpReachesEveryBackendAndSeesTheVip) {
    EXPECT_THAT(answers([&] { return ask(SOCK_DGRAM, kVip4); }),
                UnorderedElementsAre("one: hi via 10.96.0.10:80", "two: hi via 10.96.0.10:80"));
    EXPECT_THAT(
        answers([&] { return ask(SOCK_DGRAM, kVip6); }),
        UnorderedElementsAre("one: hi via [fd00:10:96::10]:80", "two: hi via [fd00:10:96::10]:80"));
    EXPECT_THAT(ask(SOCK_DGRAM, kVipMapped), HasSubstr("via [::ffff:10.96.0.10]:80"));
}

TEST_F(SockHooksTest, ConnectedUdpRepliesComeFromTheVip) {
    EXPECT_THAT(client([] {
                    Fd sock = make_socket(AF_INET, SOCK_DGRAM);
                    connect_to(sock, kVip4);
                    send_text(sock, "hi");
                    return receive_text_from(sock);
                }),
                HasSubstr("hi from 10.96.0.10:80"));
}

TEST_F(SockHooksTest, UnconnectedUdpRepliesComeFromTheVip) {
    EXPECT_THAT(answers([&] { return ask_unconnected(kVip4); }),
                UnorderedElementsAre("one: hi from 10.96.0.10:80", "two: hi from 10.96.0.10:80"));
    EXPECT_THAT(answers([&] { return ask_unconnected(kVip6); }),
                UnorderedElementsAre("one: hi from [fd00:10:96::10]:80",
                                     "two: hi from [fd00:10:96::10]:80"));
    EXPECT_THAT(answers([&] { return ask_unconnected(kVipMapped); }),
                UnorderedElementsAre("one: hi from [::ffff:10.96.0.10]:80",
                                     "two: hi from [::ffff:10.96.0.10]:80"));
}

TEST_F(SockHooksTest, UnconnectedUdpStaysWithItsBackendUntilThatLeaves) {
    const std::string outcome = client([&]() -> std::string {
        Fd sock = make_socket(AF_INET, SOCK_DGRAM);
        const auto say = [&] {
            send_text_to(sock, "hi", kVip4);
            return receive_text_from(sock).substr(0, 3);
        };
        const std::string first = say();
        hooks_->backend(32, "192.0.2.1", kPort, kUdp);  // others come
        hooks_->service(3, {.cluster = {32, 32, 32, 30, 31}});
        for (int i = 0; i < 24; i++) {
            if (say() != first) return "moved although the backend was there";
        }
        const bool one = first == "one";
        hooks_->backend(one ? 30 : 31, one ? "192.0.2.1" : "192.0.2.2", kPort, kUdp,
                        WEIR_BACKEND_REMOVED);
        hooks_->service(3, {.cluster = {one ? 31U : 30U}});
        return say() == first ? "stayed although the backend had left" : "as it should be";
    });
    EXPECT_EQ(outcome, "as it should be");
}

// REJECT semantics: a client of a Service without endpoints hears "connection refused" at once.
TEST_F(SockHooksTest, ServiceWithoutEndpointsRefuses) {
    for (const uint32_t index : {1U, 2U, 3U, 4U})
        hooks_->service(index, {.cluster = {}});
    for (const SocketAddress& vip : {kVip4, kVip6, kVipMapped}) {
        EXPECT_EQ(ask(SOCK_STREAM, vip), "child: connect: Connection refused") << vip.to_string();
        EXPECT_EQ(ask(SOCK_DGRAM, vip), "child: connect: Connection refused") << vip.to_string();
        EXPECT_EQ(ask_unconnected(vip), "child: sendto: Connection refused") << vip.to_string();
    }
    EXPECT_EQ(hooks_->counter(WEIR_COUNTER_SOCK_REFUSED), 9U);
    EXPECT_EQ(hooks_->counter(WEIR_COUNTER_SOCK_TRANSLATED), 0U);
    EXPECT_EQ(hooks_->remembered(), 0U);
}

// Verdict matrix: usable endpoints, none local, internalTrafficPolicy Local: dropped, not refused.
// The drop is tc's, so the address must pass here as it is.
TEST_F(SockHooksTest, LocalPolicyWithoutLocalEndpointIsLeftToTc) {
    hooks_->service(1, {.cluster = {10, 11}, .flags = WEIR_SVC_IN_USE | WEIR_SVC_INTERNAL_LOCAL});
    EXPECT_EQ(ask(SOCK_STREAM, kVip4), kUnreachable);
    EXPECT_EQ(hooks_->counter(WEIR_COUNTER_SOCK_REFUSED), 0U);
}

TEST_F(SockHooksTest, LocalPolicyUsesLocalEndpointsOnly) {
    hooks_->service(
        1,
        {.cluster = {10, 11}, .local = {11}, .flags = WEIR_SVC_IN_USE | WEIR_SVC_INTERNAL_LOCAL});
    EXPECT_THAT(answers([&] { return ask(SOCK_STREAM, kVip4); }),
                UnorderedElementsAre("two: hi via 10.96.0.10:80"));
}

// Verdict matrix, external kinds under externalTrafficPolicy Local: local pods and the host are
// balanced over the cluster list.
TEST_F(SockHooksTest, ExternalAddressesUnderLocalPolicyUseTheClusterListFromThisNode) {
    hooks_->service(1, {.cluster = {10}, .flags = WEIR_SVC_IN_USE | WEIR_SVC_EXTERNAL_LOCAL});
    hooks_->vip({.address = "198.51.100.7", .port = 80, .proto = kTcp, .flags = WEIR_VIP_EXTERNAL},
                1);
    EXPECT_EQ(ask(SOCK_STREAM, {"198.51.100.7", 80}), "one: hi via 198.51.100.7:80");
    hooks_->serve(netns_, kHost);
    EXPECT_EQ(ask(SOCK_STREAM, {"198.51.100.7", 80}), "one: hi via 198.51.100.7:80");
}

// LB source ranges apply to in-cluster pods by their own address; tc drops those that are left.
TEST_F(SockHooksTest, SourceRangesAdmitAPodByItsAddress) {
    hooks_->service(1, {.cluster = {10}});
    hooks_->vip({.address = "198.51.100.8",
                 .port = 80,
                 .proto = kTcp,
                 .flags = WEIR_VIP_EXTERNAL | WEIR_VIP_SOURCE_RANGES},
                1);
    hooks_->endpoint(kPod, "10.1.2.3", "fd01::3");
    EXPECT_EQ(ask(SOCK_STREAM, {"198.51.100.8", 80}), kUnreachable);
    hooks_->range(1, "0.0.0.0/32");
    hooks_->range(2, "10.0.0.0/8");
    EXPECT_EQ(ask(SOCK_STREAM, {"198.51.100.8", 80}), kUnreachable) << "others' ranges";
    hooks_->range(1, "10.0.0.0/8");
    EXPECT_EQ(ask(SOCK_STREAM, {"198.51.100.8", 80}), "one: hi via 198.51.100.8:80");
    hooks_->range(1, "10.0.0.0/8", WEIR_RANGE_REFUSE);
    hooks_->service(1, {.cluster = {}});
    EXPECT_EQ(ask(SOCK_STREAM, {"198.51.100.8", 80}), kUnreachable) << "not refused either";
    EXPECT_EQ(hooks_->counter(WEIR_COUNTER_SOCK_NOT_ADMITTED), 0U);
}

// The host has no hook behind this one: the call itself fails.
TEST_F(SockHooksTest, SourceRangesAdmitTheHostByTheEntryForIt) {
    hooks_->service(1, {.cluster = {10}});
    hooks_->vip({.address = "198.51.100.8",
                 .port = 80,
                 .proto = kTcp,
                 .flags = WEIR_VIP_EXTERNAL | WEIR_VIP_SOURCE_RANGES},
                1);
    hooks_->serve(netns_, kHost);
    hooks_->range(1, "10.0.0.0/8");
    EXPECT_EQ(ask(SOCK_STREAM, {"198.51.100.8", 80}), "child: connect: Operation not permitted");
    EXPECT_EQ(hooks_->counter(WEIR_COUNTER_SOCK_NOT_ADMITTED), 1U);
    hooks_->range(1, "0.0.0.0/32");
    EXPECT_EQ(ask(SOCK_STREAM, {"198.51.100.8", 80}), "one: hi via 198.51.100.8:80");
}

TEST_F(SockHooksTest, NodePortAnswersOnEligibleAddressesOnly) {
    for (const uint32_t service : {1U, 2U}) {
        hooks_->vip({.address = service == 1 ? "0.0.0.0" : "::",
                     .port = 30080,
                     .proto = kTcp,
                     .flags = WEIR_VIP_EXTERNAL,
                     .scope = WEIR_VIP_NODEPORT},
                    service);
    }
    hooks_->node_address("203.0.113.1", WEIR_NODE_ADDR_NODEPORT);
    hooks_->node_address("2001:db8:1::1", WEIR_NODE_ADDR_NODEPORT);
    hooks_->node_address("203.0.113.2", 0);
    EXPECT_THAT(ask(SOCK_STREAM, {"203.0.113.1", 30080}), HasSubstr("hi via 203.0.113.1:30080"));
    EXPECT_THAT(ask(SOCK_STREAM, {"2001:db8:1::1", 30080}),
                HasSubstr("hi via [2001:db8:1::1]:30080"));
    EXPECT_THAT(ask(SOCK_STREAM, SocketAddress::mapped("203.0.113.1", 30080)),
                HasSubstr("hi via [::ffff:203.0.113.1]:30080"));
    EXPECT_EQ(ask(SOCK_STREAM, {"203.0.113.2", 30080}), kUnreachable);
    EXPECT_EQ(ask(SOCK_STREAM, {"203.0.113.3", 30080}), kUnreachable);
    EXPECT_EQ(ask(SOCK_STREAM, {"203.0.113.1", 30081}), kUnreachable);
}

TEST_F(SockHooksTest, LoopbackIsTheHostsOnlyForTheHost) {
    hooks_->vip({.address = "0.0.0.0",
                 .port = 30080,
                 .proto = kTcp,
                 .flags = WEIR_VIP_EXTERNAL,
                 .scope = WEIR_VIP_NODEPORT},
                1);
    hooks_->node_address("127.0.0.1", WEIR_NODE_ADDR_NODEPORT);
    EXPECT_EQ(ask(SOCK_STREAM, {"127.0.0.1", 30080}), "child: connect: Connection refused");
    EXPECT_EQ(hooks_->counter(WEIR_COUNTER_SOCK_TRANSLATED), 0U);
    hooks_->serve(netns_, kHost);
    EXPECT_THAT(ask(SOCK_STREAM, {"127.0.0.1", 30080}), HasSubstr("hi via 127.0.0.1:30080"));
}

TEST_F(SockHooksTest, ProtocolsAndPortsAreSeparate) {
    hooks_->remove_vip({.address = "10.96.0.10", .port = 80, .proto = kUdp});
    EXPECT_THAT(ask(SOCK_STREAM, kVip4), HasSubstr("hi via 10.96.0.10:80"));
    EXPECT_EQ(ask(SOCK_DGRAM, kVip4), kUnreachable);
    EXPECT_EQ(ask(SOCK_STREAM, {"10.96.0.10", 81}), kUnreachable);
}

TEST_F(SockHooksTest, OtherDestinationsAreUntouchedAndNothingIsWritten) {
    EXPECT_EQ(ask(SOCK_STREAM, {"192.0.2.1", kPort}), "one: hi via 192.0.2.1:8080");
    EXPECT_EQ(ask(SOCK_DGRAM, {"192.0.2.1", kPort}), "one: hi via 192.0.2.1:8080");
    EXPECT_EQ(ask_unconnected({"2001:db8::2", kPort}), "two: hi from [2001:db8::2]:8080");
    EXPECT_EQ(hooks_->remembered(), 0U);
    EXPECT_EQ(hooks_->counter(WEIR_COUNTER_SOCK_TRANSLATED), 0U);
}

TEST_F(SockHooksTest, ASocketThatTurnsToTheBackendItselfSeesTheBackend) {
    hooks_->service(3, {.cluster = {30}});
    const SocketAddress backend("192.0.2.1", kPort);
    EXPECT_EQ(client([&] {
                  Fd sock = make_socket(AF_INET, SOCK_DGRAM);
                  send_text_to(sock, "hi", kVip4);
                  std::string said = receive_text_from(sock);
                  send_text_to(sock, "hi", backend);
                  return said + ", " + receive_text_from(sock);
              }),
              "one: hi from 10.96.0.10:80, one: hi from 192.0.2.1:8080");
    EXPECT_EQ(client([&] {
                  Fd sock = make_socket(AF_INET, SOCK_DGRAM);
                  connect_to(sock, kVip4);
                  connect_to(sock, backend);
                  return peer_of(sock);
              }),
              "192.0.2.1:8080");
}

TEST_F(SockHooksTest, ADatagramOfAnotherServicesGenerationIsNotShownAsTheVip) {
    EXPECT_THAT(client([&] {
                    Fd sock = make_socket(AF_INET, SOCK_DGRAM);
                    send_text_to(sock, "hi", kVip4);
                    hooks_->service(3, {.cluster = {30}, .generation = 2});
                    return receive_text_from(sock);
                }),
                HasSubstr("from 192.0.2."));
}

TEST_F(SockHooksTest, PodsAreLeftAloneWhenHooksAreForTheHost) {
    load(WEIR_CFG_SOCK_HOST);
    EXPECT_EQ(ask(SOCK_STREAM, kVip4), kUnreachable);
    hooks_->serve(netns_, kHost);
    EXPECT_THAT(ask(SOCK_STREAM, kVip4), HasSubstr("hi via"));
}

TEST_F(SockHooksTest, TheHostIsLeftAloneWhenHooksAreForPods) {
    load(WEIR_CFG_SOCK_PODS);
    EXPECT_THAT(ask(SOCK_STREAM, kVip4), HasSubstr("hi via"));
    hooks_->serve(netns_, kHost);
    EXPECT_EQ(ask(SOCK_STREAM, kVip4), kUnreachable);
}

TEST_F(SockHooksTest, APodThatOptedOutIsLeftAlone) {
    hooks_->serve(netns_, kPod, WEIR_EP_SOCK_OFF);
    EXPECT_EQ(ask(SOCK_STREAM, kVip6), "child: connect: Network is unreachable");
    EXPECT_EQ(ask_unconnected(kVip4), "child: sendto: Network is unreachable");
    EXPECT_EQ(hooks_->remembered(), 0U);
}

TEST_F(SockHooksTest, AnUnknownNamespaceIsLeftAlone) {
    const NetNs other;
    EXPECT_EQ(in_child({other.place().netns, cgroup_.path()},
                       [] {
                           Fd sock = make_socket(AF_INET, SOCK_STREAM);
                           connect_to(sock, kVip4);
                           return std::string("connected");
                       }),
              kUnreachable);
}

TEST_F(SockHooksTest, AProcessOutsideOfTheCgroupIsLeftAlone) {
    EXPECT_EQ(in_child(netns_.place(),
                       [] {
                           Fd sock = make_socket(AF_INET, SOCK_STREAM);
                           connect_to(sock, kVip4);
                           return std::string("connected");
                       }),
              kUnreachable);
}

TEST_F(SockHooksTest, AProcessBelowTheCgroupIsServed) {
    const Cgroup pod = Cgroup::below(cgroup_);
    EXPECT_THAT(in_child({netns_.place().netns, pod.path()},
                         [] {
                             Fd sock = make_socket(AF_INET, SOCK_STREAM);
                             connect_to(sock, kVip4);
                             return peer_of(sock);
                         }),
                "10.96.0.10:80");
}

TEST_F(SockHooksTest, ForeignProgramsStillRun) {
    const ForeignCounter before(cgroup_.fd(), BPF_CGROUP_INET4_CONNECT);
    load(kAllOn);  // attached after it
    const ForeignCounter after(cgroup_.fd(), BPF_CGROUP_INET4_CONNECT);
    EXPECT_THAT(ask(SOCK_STREAM, kVip4), HasSubstr("hi via 10.96.0.10:80"));
    EXPECT_EQ(before.runs(), 1U);
    EXPECT_EQ(after.runs(), 1U);
}

}  // namespace
}  // namespace weir::test
