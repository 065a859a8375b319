// SPDX-License-Identifier: Apache-2.0
// kill -9 of the real agent at the steps of CNI ADD and DEL: no leak of addresses or links, no
// address given twice, and everything in order after the restart. strace stops the threads that do
// the wiring at their N-th system call that changes something: nothing in the agent knows of it.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/fd.h"
#include "netns/node.h"
#include "support/child.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

/// What changes the directory, the network or the tables, and nothing else.
constexpr const char* kCalls = "write,pwrite64,sendto,sendmsg,rename,unlink,bpf";
/// Every how-manyth step is tried; WEIR_TEST_EVERY_STEP tries all.
constexpr unsigned kStride = 9;

using Names = std::set<std::string>;

class CniKill : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(node_.start_agent());
        config_ = config();
        sh("ip netns add old; ip netns add new");
        ASSERT_TRUE(plugin("ADD", "old").ok());
    }
    void TearDown() override {
        if (!node_.agent_running()) return;
        for (const char* pod : {"old", "new"})
            EXPECT_TRUE(plugin("DEL", pod).ok());
        sh("ip netns delete old; ip netns delete new");
    }
    static Variables variables(const std::string& command, const std::string& pod) {
        return {{"CNI_COMMAND", command},
                {"CNI_CONTAINERID", "id-" + pod},
                {"CNI_NETNS", "/run/netns/" + pod},
                {"CNI_IFNAME", "eth0"},
                {"CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + pod}};
    }
    /// The network configuration as the agent installed it, for one plugin.
    [[nodiscard]] std::string config() const {
        const auto list = json::parse(read_file(node_.dir() / "run/cni/05-weir.conflist").value());
        auto plugin = list.at("plugins").at(0).as_object();
        plugin["name"] = list.at("name");
        plugin["cniVersion"] = list.at("cniVersion");
        return json::serialize(plugin);
    }
    [[nodiscard]] Outcome plugin(const std::string& command, const std::string& pod) const {
        return run({WEIR_CNI}, {.environment = variables(command, pod), .input = config_});
    }
    /// The threads that serve runtimes: all but the first, which is the loop.
    [[nodiscard]] std::vector<std::string> workers() {
        std::vector<std::string> ids;
        const std::string process = std::to_string(node_.agent().pid());
        for (const auto& entry : fs::directory_iterator("/proc/" + process + "/task")) {
            if (entry.path().filename() != process) ids.push_back(entry.path().filename());
        }
        return ids;
    }
    /// Kills the agent when one of its workers comes to its `step`-th call from now on.
    [[nodiscard]] Process trap(unsigned step) {
        std::vector<std::string> argv = {
            "strace", "-o/dev/null", std::string("-etrace=") + kCalls,
            fmt::format("-einject={}:signal=KILL:when={}", kCalls, step)};
        for (const auto& id : workers())
            argv.insert(argv.end(), {"-p", id});
        Process tracer(argv);
        EXPECT_TRUE(eventually([&] {
            for (const auto& id : workers()) {
                const auto status = read_file("/proc/" + id + "/status").value_or("");
                if (status.find("TracerPid:\t0\n") != std::string::npos) return false;
            }
            return true;
        })) << tracer.err();
        return tracer;
    }
    /// Links, records and endpoints tell the same, every address belongs to one, and those work.
    void expect_sound(const Names& pods) {
        Names addresses;
        Names names;
        const auto listed = node_.weir_json({"ipam", "list"});
        for (const auto& each : listed.at("addresses").as_array()) {
            EXPECT_TRUE(addresses.insert(each.at("address").as_string().c_str()).second)
                << "given twice: " << each;
            names.insert(each.at("pod").as_string().c_str());
        }
        EXPECT_EQ(names, pods) << "addresses";
        EXPECT_EQ(known_pods(), pods) << "endpoints";
        EXPECT_EQ(sh("ip -o link show type veth | grep -vc -e weir0 -e ext0 || true"),
                  std::to_string(pods.size()) + "\n");
        EXPECT_EQ(sh("ls " + (node_.dir() / "run/cni-queue").string() + " | grep -c json || true"),
                  "0\n");
        for (const auto& address : addresses) {
            EXPECT_TRUE(run({"ping", "-c1", "-W2", address}, {.place = node_.host()}).ok())
                << address;
        }
    }
    /// `command` for the pod "new", the agent being killed at the step; what the plugin answered,
    /// or nothing if the step was not reached.
    std::optional<Outcome> interrupted(const std::string& command, unsigned step) {
        const Process tracer = trap(step);
        const auto outcome = plugin(command, "new");
        if (node_.agent().wait_for(std::chrono::milliseconds(300))) return outcome;
        EXPECT_TRUE(outcome.ok()) << outcome.describe();
        return std::nullopt;
    }
    [[nodiscard]] Names known_pods() const {
        Names names;
        const auto listed = node_.weir_json({"pod", "list"});
        for (const auto& each : listed.as_array())
            names.insert(each.at("name").as_string().c_str());
        return names;
    }
    /// Calls `body` with growing steps until it says that the step was not reached.
    static void each_step(const std::function<bool(unsigned)>& body) {
        const unsigned stride = std::getenv("WEIR_TEST_EVERY_STEP") != nullptr ? 1 : kStride;
        unsigned step = 1;
        for (; !HasFailure(); step += stride) {
            SCOPED_TRACE(testing::Message() << "step " << step);
            if (!body(step)) break;
        }
        std::printf("%u steps\n", step - 1);
        EXPECT_GT(step, 8U) << "the steps were not counted";
    }

    Node node_;
    std::string config_;
};

TEST_F(CniKill, AtTheStepsOfAdd) {
    each_step([&](unsigned step) {
        const auto outcome = interrupted("ADD", step);
        if (outcome) EXPECT_TRUE(node_.start_agent());
        // An ADD that failed may have been complete: the runtime says DEL in any case.
        const bool there = !outcome || outcome->ok() || known_pods().contains("new");
        expect_sound(there ? Names{"old", "new"} : Names{"old"});
        EXPECT_TRUE(plugin("DEL", "new").ok());
        expect_sound({"old"});
        return outcome.has_value();
    });
    EXPECT_TRUE(plugin("ADD", "new").ok());
    expect_sound({"old", "new"});
}

TEST_F(CniKill, AtTheStepsOfDel) {
    each_step([&](unsigned step) {
        EXPECT_TRUE(plugin("ADD", "new").ok());
        expect_sound({"old", "new"});
        const auto outcome = interrupted("DEL", step);
        if (outcome) {
            EXPECT_TRUE(outcome->ok())
                << "what the agent cannot do now is queued: " << outcome->describe();
            EXPECT_TRUE(node_.start_agent());
        }
        EXPECT_TRUE(eventually([&] { return known_pods() == Names{"old"}; }));
        expect_sound({"old"});
        return outcome.has_value();
    });
}

}  // namespace
}  // namespace weir::test
