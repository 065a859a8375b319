// SPDX-License-Identifier: Apache-2.0
// The agent stopped, killed and replaced while connections are open and made. Cites: "Restart,
// upgrade, crash" and the properties "With the agent dead…" and "Killing or upgrading the agent
// under load loses no connection".
#include <csignal>
#include <list>
#include <string>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/fd.h"
#include "netns/load.h"
#include "netns/node.h"
#include "netns/web.h"
#include "support/child.h"
#include "support/exercises.h"
#include "weir/ct.h"

namespace weir::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Restarts : public testing::TestWithParam<const char*> {
  protected:
    Restarts() : node_({.socket_hooks = GetParam()}) {}
    void SetUp() override { ASSERT_TRUE(node_.start_agent()); }

    std::string version() const {
        return node_.weir_json({"status"}).at("version").as_string().c_str();
    }
    Node node_;
};

// "all": clients in pods and on the host are served by socket hooks; "off": by tc and weir0.
INSTANTIATE_TEST_SUITE_P(SocketHooks, Restarts, testing::Values("all", "off"),
                         [](const auto& mode) { return std::string(mode.param); });

TEST_P(Restarts, LoseNoConnection) {
    node_.apply("web.yaml", Node::node_port_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    node_.run_server("web-2", "web");
    auto& client = node_.run_client("client");
    const std::vector<std::string> vips = {joined(kVip4, 80), joined(kVip6, 80)};
    const std::vector<std::string> node_ports = {joined(node_ip(4), 30080),
                                                 joined(node_ip(6), 30080)};
    ASSERT_TRUE(eventually([&] { return http(client.place, kVip4).starts_with("web"); }));
    std::list<Load> loads;
    for (const bool lasting : {false, true}) {
        const std::vector<std::string> how = {"--keep-alive"};
        const auto options = lasting ? how : std::vector<std::string>();
        const std::string kind = lasting ? "open from " : "new from ";
        loads.emplace_back(kind + "pod", client.place, vips, options);
        loads.emplace_back(kind + "host", node_.host(), vips, options);
        loads.emplace_back(kind + "outside", node_.outside(), node_ports, options);
    }

    EXPECT_THAT(version(), Not(HasSubstr("-next")));
    node_.stop_agent(SIGTERM);
    ASSERT_TRUE(node_.start_agent());
    node_.stop_agent(SIGKILL);
    ASSERT_TRUE(node_.start_agent());
    node_.stop_agent(SIGTERM);
    ASSERT_TRUE(node_.start_agent({}, Build::kNext));
    EXPECT_THAT(version(), HasSubstr("-next"));
    node_.stop_agent(SIGKILL);
    ASSERT_TRUE(node_.start_agent());
    for (auto& load : loads)
        load.finish();
    EXPECT_EQ(node_.drops("ct_miss") + node_.drops("backend_gone") + node_.drops("stage_missing"),
              0U);
}

TEST_P(Restarts, CatchUpWithWhatChangedMeanwhile) {
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    node_.apply("old.yaml", Node::service_yaml("old", "10.96.0.20", "fd00:10:96::20"));
    auto& web = node_.run_server("web-1", "web");
    auto& other = node_.run_server("other-1", "other");
    auto& old = node_.run_server("old-1", "old");
    auto& client = node_.run_client("client");
    ASSERT_TRUE(eventually([&] { return http(client.place, kVip4).starts_with("web-1"); }));
    ASSERT_TRUE(eventually([&] { return http(client.place, "10.96.0.20").starts_with("old-1"); }));

    node_.stop_agent(SIGKILL);
    node_.apply("slice4.yaml", Node::slice_yaml("web-4", "web", {other.v4}));
    node_.apply("slice6.yaml", Node::slice_yaml("web-6", "web", {other.v6}));
    node_.apply("new.yaml", Node::service_yaml("web2", "10.96.0.30", "fd00:10:96::30"));
    node_.apply("new4.yaml", Node::slice_yaml("web2-4", "web2", {web.v4}));
    node_.remove("old.yaml");
    node_.stop_pod(old);  // its DEL waits in the queue
    EXPECT_THAT(http(client.place, kVip4), StartsWith("web-1")) << "the tables of before";

    ASSERT_TRUE(node_.start_agent());
    for (const char* vip : {kVip4, kVip6})
        EXPECT_THAT(http(client.place, vip), StartsWith("other-1")) << vip;
    EXPECT_THAT(http(client.place, "10.96.0.30"), StartsWith("web-1"));
    EXPECT_THAT(http(client.place, "10.96.0.20"), StartsWith("error"));
    EXPECT_THAT(node_.weir_ok({"service", "list", "-A"}), Not(HasSubstr("10.96.0.20")));
    EXPECT_TRUE(eventually([&] {
        const auto pods = node_.weir_ok({"pod", "list"}) + node_.weir_ok({"ipam", "list"});
        return pods.find("old-1") == std::string::npos;
    }));
}

/// By the kernel, without an agent.
weir_sweep_stats sweep(const Node& node) {
    const auto path = node.dir() / "bpf/weir/v1/maps/weir_sweep";
    const int raw = bpf_obj_get(path.c_str());
    if (raw < 0) throw std::runtime_error(path.string() + " cannot be opened");
    const Fd map(raw);
    struct {
        bpf_timer timer;
        weir_sweep_stats stats;
    } slot{};
    const uint32_t key = 0;
    EXPECT_EQ(bpf_map_lookup_elem(map.get(), &key, &slot), 0) << path;
    return slot.stats;
}

constexpr unsigned kFlows = 50;

class Expiry : public testing::Test {
  protected:
    Node node_{{.socket_hooks = "off",
                .agent_flags = {"--timeout-udp-new=1s", "--timeout-udp-established=2s"}}};
};

TEST_F(Expiry, GoesOnWithTheAgentDead) {
    ASSERT_TRUE(node_.start_agent());
    node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    ASSERT_TRUE(eventually([&] { return http(client.place, kVip4).starts_with("web-1"); }));
    node_.stop_agent(SIGKILL);
    const uint64_t before = sweep(node_).expired;
    in_child(client.place, [&] {
        for (unsigned i = 0; i < kFlows; ++i)
            udp_ask(kVip4, 80);
        return std::string();
    });
    const auto tracked = [&] {
        return node_.weir_ok({"conntrack", "list", "--protocol=UDP", "-o", "name"});
    };
    EXPECT_THAT(tracked(), HasSubstr(kVip4));
    EXPECT_TRUE(eventually([&] { return tracked().empty(); })) << tracked();
    // Not only out of sight: the kernel removed them, two entries a translated flow. All shards
    // take one walk of about 13 s.
    EXPECT_TRUE(eventually([&] { return sweep(node_).expired >= before + 2 * kFlows; },
                           std::chrono::seconds(60)))
        << sweep(node_).expired - before;
    EXPECT_FALSE(node_.agent_running());
}

}  // namespace
}  // namespace weir::test
