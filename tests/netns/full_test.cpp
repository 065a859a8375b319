// SPDX-License-Identifier: Apache-2.0
// Tables that are full: what does not fit is refused whole and said, nothing else suffers, nothing
// is forwarded unchecked, and it recovers when there is room again.
#include <csignal>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/fd.h"
#include "netns/load.h"
#include "netns/node.h"
#include "netns/web.h"
#include "support/child.h"
#include "support/exercises.h"

namespace weir::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr unsigned kServices = 16, kBackends = 64, kPods = 8, kNewFlows = 1024;

class Full : public testing::Test {
  protected:
    Full()
        : node_({.socket_hooks = "off",
                 .agent_flags = {fmt::format("--max-services={}", kServices),
                                 fmt::format("--max-backends={}", kBackends),
                                 fmt::format("--max-pods={}", kPods),
                                 fmt::format("--max-new-connections={}", kNewFlows),
                                 "--max-connections=4096", "--timeout-udp-established=6s"}}) {}
    void SetUp() override {
        ASSERT_TRUE(node_.start_agent());
        node_.apply("web.yaml", service("web", kVip4));
        server_ = &node_.run_server("web-1", "web");
        client_ = node_.run_client("client").place;
        ASSERT_TRUE(eventually([&] { return http(kVip4).starts_with("web-1"); }));
    }
    /// One port of one family, selecting app=web.
    static std::string service(const std::string& name, const std::string& address) {
        return fmt::format(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: shop}}\n"
            "spec: {{clusterIP: {}, selector: {{app: web}}, "
            "ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n",
            name, address);
    }
    [[nodiscard]] std::string http(const std::string& address, uint16_t port = 80) const {
        return test::http(client_, address, port);
    }
    [[nodiscard]] bool says(const std::string& text) const {
        return eventually([&] { return node_.problems().find(text) != std::string::npos; });
    }
    [[nodiscard]] double table(const std::string& what, const std::string& name) const {
        return node_.metric("weir_table_" + what + "{table=\"" + name + "\"}");
    }

    Node node_;
    Node::Pod* server_ = nullptr;
    Place client_;
};

TEST_F(Full, OneServiceTooMany) {
    // The first index is never used.
    std::string fillers;
    for (unsigned i = 1; i + 1 < kServices; ++i)
        fillers += service(fmt::format("f{}", i), fmt::format("10.96.1.{}", i)) + "---\n";
    node_.apply("fillers.yaml", fillers);
    ASSERT_TRUE(eventually([&] { return node_.metric("weir_service_ports") == kServices - 1; }))
        << node_.metric("weir_service_ports");
    EXPECT_EQ(node_.problems(), "");
    node_.apply("extra.yaml", service("extra", "10.96.2.1"));
    EXPECT_TRUE(says("Service shop/extra")) << node_.problems();
    EXPECT_THAT(node_.problems(), HasSubstr("--max-services")) << "the next step";
    EXPECT_EQ(node_.metric("weir_problems{kind=\"Service\"}"), 1.0);
    EXPECT_THAT(node_.weir_ok({"status"}), HasSubstr("shop/extra"));
    const auto before = node_.drops("service_cidr_miss");
    EXPECT_THAT(http("10.96.2.1"), StartsWith("error")) << "does not leave the node";
    EXPECT_GT(node_.drops("service_cidr_miss"), before);
    EXPECT_THAT(http(kVip4), StartsWith("web-1"));
    EXPECT_THAT(http("10.96.1.1"), StartsWith("web-1"));

    node_.apply("fillers.yaml", fillers.substr(fillers.find("---\n") + 4));
    EXPECT_TRUE(eventually([&] { return http("10.96.2.1").starts_with("web-1"); }));
    EXPECT_EQ(node_.problems(), "");
    EXPECT_THAT(http("10.96.1.1"), StartsWith("error"));
}

TEST_F(Full, OneBackendTooMany) {
    const auto many = [&](size_t count) {
        std::vector<std::string> addresses = {server_->v4};
        for (size_t i = 1; i < count; ++i)
            addresses.push_back(fmt::format("10.244.7.{}", i));
        return Node::slice_yaml("many-x", "many", addresses);
    };
    node_.apply("many.yaml", service("many", "10.96.3.1"));
    node_.apply("slice.yaml", many(kBackends - 1));  // web-1 is one backend of both Services
    ASSERT_TRUE(eventually([&] { return node_.metric("weir_backends") == kBackends - 1; }))
        << node_.metric("weir_backends") << node_.problems();
    EXPECT_EQ(node_.problems(), "");
    node_.apply("slice.yaml", many(kBackends));
    EXPECT_TRUE(says("Service shop/many")) << node_.problems();
    EXPECT_THAT(node_.problems(), HasSubstr("--max-backends"));
    EXPECT_EQ(node_.metric("weir_backends"), kBackends - 1) << "its former state is in force";
    EXPECT_THAT(http(kVip4), StartsWith("web-1"));
    node_.apply("slice.yaml", many(1));
    EXPECT_TRUE(eventually([&] { return http("10.96.3.1").starts_with("web-1"); }));
    EXPECT_EQ(node_.problems(), "");
}

TEST_F(Full, OnePodTooMany) {
    for (unsigned i = 2; i < kPods; ++i)
        node_.run_client("filler-" + std::to_string(i));
    const auto refused = node_.weir({"run", "--name=extra", "-n", "shop", "--", "true"});
    EXPECT_NE(refused.status, 0);
    EXPECT_THAT(refused.err, AllOf(HasSubstr("all 8 endpoints"), HasSubstr("--max-pods")));
    EXPECT_EQ(node_.metric("weir_cni_requests_total{code=\"102\",command=\"ADD\"}"), 1.0);
    EXPECT_THAT(node_.weir_ok({"ipam", "list"}), Not(HasSubstr("extra"))) << "nothing is left";
    EXPECT_EQ(node_.metric("weir_pods"), kPods);
    EXPECT_THAT(http(kVip4), StartsWith("web-1"));
    ::kill(node_.command_pid("filler-2"), SIGKILL);
    EXPECT_TRUE(eventually([&] { return node_.metric("weir_pods") == kPods - 1; }));
    EXPECT_EQ(node_.weir({"run", "--name=extra", "-n", "shop", "--", "true"}).status, 0);
}

/// `count` UDP flows to the Service, a few hundred at a time; how many were answered.
std::string many_flows(const std::string& address, uint16_t port, size_t count, bool wait) {
    constexpr size_t kBatch = 50;
    size_t answered = 0;
    for (size_t done = 0; done < count; done += kBatch) {
        std::vector<Fd> sockets;
        for (size_t i = 0; i < kBatch; ++i) {
            const SocketAddress to(address, port);
            sockets.push_back(make_socket(to.family(), SOCK_DGRAM));
            // A port of its own: a flow of earlier that is half forgotten is another matter.
            bind_to(sockets.back(), SocketAddress(to.family() == AF_INET ? "0.0.0.0" : "::",
                                                  static_cast<uint16_t>(10000 + done + i)));
            connect_to(sockets.back(), to);
            send_text(sockets.back(), "hello");
        }
        for (const auto& each : sockets) {
            if (wait && receive_text(each) == "web-1 hello") ++answered;
        }
    }
    return std::to_string(answered);
}

TEST_F(Full, EstablishedFlows) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    ASSERT_TRUE(eventually(
        [&] { return in_child(client_, [&] { return udp_ask(kVip4, 80); }).ends_with("web-1"); }));
    Load open("open", client_, {joined(kVip4, 80)}, {"--keep-alive"});
    // A translated flow is two entries.
    constexpr size_t kFlows = 4000;
    EXPECT_EQ(in_child(client_, [&] { return many_flows(kVip4, 80, kFlows, true); }),
              std::to_string(kFlows))
        << "served all the same\n"
        << node_.weir({"drops"}).out;
    EXPECT_GT(node_.metric("weir_conntrack_promote_failed_total"), 0.0);
    EXPECT_EQ(in_child(client_, [&] { return udp_ask(kVip6, 80); }), joined(kVip6, 80) + " web-1")
        << "the other family has a table of its own";
    EXPECT_THAT(http(kVip4), StartsWith("web-1"));
    // Room is made by the sweep, without anybody's help.
    double failed = -1;
    EXPECT_TRUE(eventually(
        [&] {
            const double before = node_.metric("weir_conntrack_promote_failed_total");
            in_child(client_, [&] { return many_flows(kVip4, 80, 200, true); });
            failed = node_.metric("weir_conntrack_promote_failed_total") - before;
            return failed == 0;
        },
        std::chrono::seconds(20)))
        << failed;
    open.finish();
}

TEST_F(Full, HalfOpenFlowsEvictNoEstablishedOne) {
    Load open("open", client_, {joined(kVip4, 80)}, {"--keep-alive"});
    Load fresh("new", client_, {joined(kVip4, 80)});
    // Nobody answers there.
    in_child(client_, [&] { return many_flows("192.0.2.77", 9, 5 * kNewFlows, false); });
    EXPECT_THAT(http(kVip4), StartsWith("web-1"));
    EXPECT_GE(table("capacity", "weir_half4"), kNewFlows);
    EXPECT_LE(table("entries", "weir_half4"), table("capacity", "weir_half4"));
    fresh.finish();
    open.finish();
}

}  // namespace
}  // namespace weir::test
