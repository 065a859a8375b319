// SPDX-License-Identifier: Apache-2.0
// Services rewritten as fast as the agent takes it, while real sockets connect. Cites: "A lookup
// gives the old or the new answer": never a refusal, never a backend of another Service.
#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/load.h"
#include "netns/node.h"
#include "netns/web.h"

namespace weir::test {
namespace {

using testing::IsSubsetOf;

constexpr auto kDuration = std::chrono::seconds(4);

class Churn : public testing::TestWithParam<const char*> {
  protected:
    Churn() : node_({.socket_hooks = GetParam()}) {}
    Node node_;
};

INSTANTIATE_TEST_SUITE_P(SocketHooks, Churn, testing::Values("all", "off"),
                         [](const auto& mode) { return std::string(mode.param); });

TEST_P(Churn, NoClientIsRefusedOrSentToAnother) {
    ASSERT_TRUE(node_.start_agent());
    // Two Services whose extents, ids and slots are freed and taken all the time.
    std::vector<std::string> web;
    std::vector<std::string> api;
    for (const char* name : {"web-1", "web-2", "web-3"})
        web.push_back(node_.run_server(name, "none").v4);
    for (const char* name : {"api-1", "api-2"})
        api.push_back(node_.run_server(name, "none").v4);
    auto& client = node_.run_client("client");
    const auto write = [&](size_t round) {
        // From one to three backends each, in changing order; never none.
        const size_t first = round % web.size();
        std::vector<std::string> some;
        for (size_t i = 0; i <= round % 3; ++i)
            some.push_back(web[(first + i) % web.size()]);
        node_.apply("web4.yaml", Node::slice_yaml("web-x", "web", some));
        std::vector<std::string> others = {api[round % 2]};
        if (round % 3 == 0) others.push_back(api[(round + 1) % 2]);
        node_.apply("api4.yaml", Node::slice_yaml("api-x", "api", others));
        // A Service that comes and goes, so that its id and extents are used again.
        if (round % 2 == 0) {
            node_.apply("fly.yaml", Node::service_yaml("fly", "10.96.0.99", "fd00:10:96::99") +
                                        "---\n" + Node::slice_yaml("fly-x", "fly", web));
        } else {
            node_.remove("fly.yaml");
        }
    };
    node_.apply("web.yaml", Node::node_port_yaml("web", kVip4, kVip6));
    node_.apply("api.yaml", Node::node_port_yaml("api", "10.96.0.20", "fd00:10:96::20", 30081));
    write(0);
    for (const auto* vip : {kVip4, "10.96.0.20"}) {
        ASSERT_TRUE(eventually([&] { return !http(client.place, vip).starts_with("error"); }));
    }
    Load to_web("pod to web", client.place, {joined(kVip4, 80)});
    Load to_api("pod to api", client.place, {"10.96.0.20:80"});
    Load outside_web("outside to web", node_.outside(), {joined(node_ip(4), 30080)});
    Load outside_api("outside to api", node_.outside(), {joined(node_ip(4), 30081)});
    size_t rounds = 0;
    for (const auto end = std::chrono::steady_clock::now() + kDuration;
         std::chrono::steady_clock::now() < end; ++rounds) {
        write(rounds);
    }
    EXPECT_THAT(to_web.finish(50).pods, IsSubsetOf({"web-1", "web-2", "web-3"}));
    EXPECT_THAT(to_api.finish(50).pods, IsSubsetOf({"api-1", "api-2"}));
    EXPECT_THAT(outside_web.finish(50).pods, IsSubsetOf({"web-1", "web-2", "web-3"}));
    EXPECT_THAT(outside_api.finish(50).pods, IsSubsetOf({"api-1", "api-2"}));
    std::printf("%zu rewrites\n", rounds);
    EXPECT_GT(rounds, 20U);
    // And it settles on what was written last.
    write(0);
    EXPECT_TRUE(eventually([&] {
        const auto text = node_.weir_ok({"service", "get", "shop/web"});
        return text.find(web[0]) != std::string::npos && text.find(web[1]) == std::string::npos;
    }));
    EXPECT_EQ(node_.drops("service_race"), 0U);
}

}  // namespace
}  // namespace weir::test
