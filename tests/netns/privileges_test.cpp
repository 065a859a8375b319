// SPDX-License-Identifier: Apache-2.0
// What the running agent may do, as the kernel sees it.
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include <linux/capability.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/node.h"
#include "support/exercises.h"

namespace weir::test {
namespace {

std::map<std::string, std::string> status_of(const std::filesystem::path& task) {
    std::map<std::string, std::string> out;
    std::ifstream in(task / "status");
    for (std::string line; std::getline(in, line);) {
        const size_t colon = line.find(':');
        const size_t value = line.find_first_not_of(" \t", colon + 1);
        if (value != std::string::npos) out[line.substr(0, colon)] = line.substr(value);
    }
    return out;
}

TEST(Privileges, EveryThreadHasOnlyWhatItWorksWith) {
    Node node;
    ASSERT_TRUE(node.start_agent());
    uint64_t allowed = 0;
    for (const int capability :
         {CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_PTRACE}) {
        allowed |= uint64_t{1} << capability;
    }
    size_t threads = 0;
    const std::filesystem::path tasks = "/proc/" + std::to_string(node.agent_pid()) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
        SCOPED_TRACE(task.path());
        auto status = status_of(task.path());
        ++threads;
        for (const char* set : {"CapPrm", "CapEff"}) {
            EXPECT_EQ(std::stoull(status[set], nullptr, 16) & ~allowed, 0U) << status[set];
        }
        for (const char* set : {"CapInh", "CapBnd", "CapAmb"}) {
            EXPECT_EQ(status[set], "0000000000000000") << set;
        }
        EXPECT_EQ(status["NoNewPrivs"], "1");
    }
    EXPECT_GT(threads, 4U);
}

// With what is left it wires pods, serves them, restarts and lets go.
TEST(Privileges, AreEnoughForAPodsLife) {
    Node node;
    ASSERT_TRUE(node.start_agent());
    node.apply("web.yaml", Node::service_yaml("web", "10.96.0.10", "fd00:10:96::10"));
    auto& server = node.run_server("web-1", "web");
    EXPECT_TRUE(eventually([&] {
        return in_child(node.host(), [] { return http_get("10.96.0.10", 80); })
            .starts_with("web-1");
    }));
    node.stop_agent(15);
    ASSERT_TRUE(node.start_agent());
    node.stop_pod(server);
    EXPECT_TRUE(eventually(
        [&] { return node.weir({"pod", "list", "-A"}).out.find("web-1") == std::string::npos; }));
}

}  // namespace
}  // namespace weir::test
