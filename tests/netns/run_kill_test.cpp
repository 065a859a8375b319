// SPDX-License-Identifier: Apache-2.0
// `weir run` ended by force: "however it ends, kill -9 included, the namespace, the addresses and
// the cgroup are given back", also when the agent is dead at that time.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/fd.h"
#include "netns/node.h"
#include "netns/web.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class RunKill : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(node_.start_agent());
        node_.run_server("other", "other");
        pod_ = &node_.run_server("victim", "victim");
    }
    /// Where traces of the victim are, one a word; "" if there are none.
    [[nodiscard]] std::string traces() const {
        std::string found;
        for (const auto& entry : fs::directory_iterator("/run/netns"))
            add(found, entry.path());
        for (const auto& entry : fs::directory_iterator(node_.host().cgroup))
            add(found, entry.path());
        for (const char* part : {"pods.d", "runs", "cni-queue"}) {
            for (const auto& entry : fs::directory_iterator(node_.dir() / "run" / part))
                add(found, entry.path());
        }
        for (const char* kind : {"pod", "ipam"}) {
            if (node_.weir({kind, "list"}).out.find("victim") != std::string::npos)
                found += std::string(kind) + " ";
        }
        if (node_.weir({"service", "get", "shop/web"}).out.find(pod_->v4) != std::string::npos) {
            found += "backend ";
        }
        if (sh("ip route; ip -6 route").find(pod_->v4 + " ") != std::string::npos) found += "route";
        return found;
    }
    static void add(std::string& found, const fs::path& path) {
        if (path.string().find("victim") != std::string::npos) found += path.string() + " ";
    }
    /// The process of the run that outlives its front.
    [[nodiscard]] pid_t reaper() const {
        const std::string children =
            fmt::format("/proc/{0}/task/{0}/children", pod_->process.pid());
        std::ifstream in(children);
        for (pid_t each = 0; in >> each;) {
            const auto name = read_file("/proc/" + std::to_string(each) + "/comm").value_or("");
            if (name.starts_with("weir-run-reaper")) return each;
        }
        ADD_FAILURE() << "no reaper";
        return -1;
    }
    void expect_no_trace() {
        EXPECT_TRUE(eventually([&] { return traces().empty(); })) << traces();
        EXPECT_EQ(sh("ip -o link show type veth | grep -vc -e weir0 -e ext0 || true"), "1\n");
    }

    Node node_;
    Node::Pod* pod_ = nullptr;
};

TEST_F(RunKill, TheFront) {
    pod_->process.stop(SIGKILL);
    expect_no_trace();
}

TEST_F(RunKill, TheCommand) {
    ::kill(node_.command_pid("victim"), SIGKILL);
    EXPECT_EQ(pod_->process.wait_for(std::chrono::seconds(10)), 128 + SIGKILL);
    expect_no_trace();
}

TEST_F(RunKill, TheAgentFirst) {
    node_.stop_agent(SIGKILL);
    pod_->process.stop(SIGKILL);
    // The DEL waits; what needs no agent is given back already.
    EXPECT_TRUE(eventually([&] { return !fs::exists(node_.dir() / "run/runs/shop_victim.json"); }));
    EXPECT_FALSE(fs::is_empty(node_.dir() / "run/cni-queue"));
    ASSERT_TRUE(node_.start_agent());
    expect_no_trace();
}

TEST_F(RunKill, FrontAndReaperAreMadeUpForByTheNextRun) {
    const pid_t second = reaper();
    ::kill(second, SIGKILL);
    pod_->process.stop(SIGKILL);
    EXPECT_TRUE(eventually([&] {
        return http(node_.host(), pod_->v4, 8080) == "error: ECONNREFUSED";
    })) << "its command dies with it, its network waits";
    EXPECT_NE(traces(), "");
    node_.run_client("next");
    EXPECT_TRUE(eventually([&] { return traces().empty(); })) << traces();
}

TEST_F(RunKill, AllOfThemAtOnce) {
    const pid_t second = reaper();
    node_.stop_agent(SIGKILL);
    ::kill(second, SIGKILL);
    pod_->process.stop(SIGKILL);
    ASSERT_TRUE(node_.start_agent());
    node_.run_client("next");
    EXPECT_TRUE(eventually([&] { return traces().empty(); })) << traces();
    EXPECT_THAT(node_.weir_ok({"ipam", "list"}), HasSubstr("next"));
}

}  // namespace
}  // namespace weir::test
