// SPDX-License-Identifier: Apache-2.0
// States in which a reboot or a careless hand leaves a node: the pins gone while pods live on, the
// agent's directory gone while the pins are there, both gone. Each has a clear outcome.
#include <csignal>
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/node.h"
#include "netns/web.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Reboot : public testing::TestWithParam<const char*> {
  protected:
    Reboot() : node_({.socket_hooks = GetParam()}) {}
    void SetUp() override {
        ASSERT_TRUE(node_.start_agent());
        node_.apply("web.yaml", Node::node_port_yaml("web", kVip4, kVip6));
        server_ = &node_.run_server("web-1", "web");
        client_ = node_.run_client("client").place;
        ASSERT_TRUE(eventually([&] { return works(); }));
    }
    [[nodiscard]] bool works() const {
        for (const int family : {4, 6}) {
            if (!http(client_, vip(family)).starts_with("web-1") ||
                !http(node_.host(), vip(family)).starts_with("web-1") ||
                !http(client_, server_->ip(family), 8080).starts_with("web-1") ||
                !http(client_, outside_ip(family), 8080).starts_with("outside") ||
                !http(node_.outside(), node_ip(family), 30080).starts_with("web-1")) {
                return false;
            }
        }
        return true;
    }
    void forget_pins() const {
        for (const char* what : {"links", "progs", "maps"})
            fs::remove_all(node_.dir() / "bpf/weir/v1" / what);
        fs::remove_all(node_.dir() / "bpf/weir");
        ASSERT_FALSE(fs::exists(node_.dir() / "bpf/weir"));
    }
    void forget_run_dir() const {
        for (const char* what : {"ipam", "cni-queue", "cni", "names.json", "agent.sock"})
            fs::remove_all(node_.dir() / "run" / what);
    }
    /// New pods come up, with addresses that nobody has, and are served.
    void expect_new_pods_work() {
        auto& more = node_.run_server("web-2", "web");
        EXPECT_NE(more.v4, server_->v4);
        EXPECT_THAT(http(client_, more.v4, 8080), StartsWith("web-2"));
        EXPECT_TRUE(eventually([&] { return http(client_, kVip4, 80).starts_with("web-2"); }));
        node_.stop_pod(more);
    }

    Node node_;
    Node::Pod* server_ = nullptr;
    Place client_;
};

INSTANTIATE_TEST_SUITE_P(SocketHooks, Reboot, testing::Values("all", "off"),
                         [](const auto& mode) { return std::string(mode.param); });

TEST_P(Reboot, PinsGoneWhilePodsLiveOn) {
    node_.stop_agent(SIGKILL);
    forget_pins();
    ASSERT_TRUE(node_.start_agent());
    EXPECT_TRUE(eventually([&] { return works(); })) << node_.weir_ok({"drops"});
    const auto pods = node_.weir_ok({"pod", "list"});
    EXPECT_THAT(pods, HasSubstr("web-1"));
    EXPECT_THAT(pods, HasSubstr("client"));
    expect_new_pods_work();
    EXPECT_EQ(node_.drops("unknown_endpoint"), 0U);
}

TEST_P(Reboot, RunDirectoryGoneWhilePinsAreThere) {
    node_.stop_agent(SIGKILL);
    forget_run_dir();
    ASSERT_TRUE(node_.start_agent());
    EXPECT_TRUE(eventually([&] { return works(); })) << node_.weir_ok({"drops"});
    const auto addresses = node_.weir_ok({"ipam", "list"});
    EXPECT_THAT(addresses, HasSubstr(server_->v4)) << "kept from being given out again";
    EXPECT_THAT(addresses, HasSubstr(server_->v6));
    EXPECT_THAT(node_.weir_ok({"pod", "list"}), HasSubstr("web-1")) << "from the link's alias";
    expect_new_pods_work();
}

TEST_P(Reboot, BothGoneWhilePodsLiveOn) {
    node_.stop_agent(SIGKILL);
    forget_pins();
    forget_run_dir();
    ASSERT_TRUE(node_.start_agent());
    EXPECT_TRUE(eventually([&] { return works(); })) << node_.weir_ok({"drops"});
    expect_new_pods_work();
}

// After a real reboot nothing lives: directories of before are no reason to stumble.
TEST_P(Reboot, PodsGoneWhileTheirRecordsAreThere) {
    node_.stop_agent(SIGKILL);
    for (const char* pod : {"web-1", "client"})
        ::kill(node_.command_pid(pod), SIGKILL);
    ASSERT_TRUE(eventually([&] { return fs::is_empty(node_.dir() / "run/runs"); }));
    forget_pins();
    ASSERT_TRUE(node_.start_agent());
    EXPECT_TRUE(eventually([&] { return node_.weir_ok({"pod", "list", "--no-headers"}).empty(); }))
        << node_.weir_ok({"pod", "list"});
    EXPECT_THAT(node_.weir_ok({"ipam", "list"}), Not(HasSubstr("web-1")));
    client_ = node_.run_client("again").place;
    EXPECT_THAT(http(client_, outside_ip(4), 8080), StartsWith("outside"));
}

}  // namespace
}  // namespace weir::test
