// SPDX-License-Identifier: Apache-2.0
// Weir among other BPF programs: "Weir touches only its own". Foreign programs by tcx, clsact and
// cgroup, attached before and after Weir came, stay attached and see their packets, while Weir
// works, when its agent is replaced, and after cleanup.
#include <csignal>
#include <list>
#include <string>

#include <fcntl.h>
#include <net/if.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/fd.h"
#include "netns/foreign_counter.h"
#include "netns/node.h"
#include "netns/web.h"
#include "support/child.h"
#include "support/exercises.h"

namespace weir::test {
namespace {

using testing::StartsWith;

struct Foreigner {
    std::string name;
    ForeignCounter counter;
    uint64_t seen = 0;
    template <typename... Arguments>
    explicit Foreigner(std::string what, Arguments... arguments)
        : name(std::move(what)), counter(arguments...) {}
};

class Neighbours : public testing::Test {
  protected:
    /// On both sides of a device, in both ways; of clsact in front of Weir and behind it.
    void settle_on(const std::string& device, const std::string& when) {
        const uint32_t index = ::if_nametoindex(device.c_str());
        for (const Side side : {Side::kIngress, Side::kEgress}) {
            const std::string where =
                device + (side == Side::kIngress ? " ingress, " : " egress, ") + when;
            foreigners_.emplace_back("tcx " + where, index, Way::kTcx, side, 0U);
            for (const uint32_t priority : {100U, 30000U}) {
                const uint32_t own = priority + (when == "before" ? 0U : 1U);
                foreigners_.emplace_back(fmt::format("clsact {}, {}", own, where), index,
                                         Way::kClsact, side, own);
            }
        }
    }
    void settle_on_cgroup(const std::string& when) {
        const Fd cgroup(::open(node_.host().cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        for (const auto type : {BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_UDP6_SENDMSG}) {
            foreigners_.emplace_back(fmt::format("cgroup {}, {}", static_cast<int>(type), when),
                                     cgroup.get(), type);
        }
    }
    /// Traffic that passes every hook; each foreigner must have seen some of it since last time.
    void expect_all_count(const std::string& when) {
        SCOPED_TRACE(when);
        if (pod_ != nullptr) {
            EXPECT_TRUE(run({"ping", "-c1", "-W2", "192.0.2.1"}, {.place = pod_->place}).ok());
        }
        EXPECT_TRUE(run({"ping", "-c1", "-W2", "192.0.2.2"}, {.place = node_.host()}).ok());
        EXPECT_THAT(http(node_.host(), "127.0.0.1", 1), StartsWith("error: ECONNREFUSED"));
        in_child(node_.host(), [] { return udp_ask("::1", 9); });
        for (auto& each : foreigners_) {
            EXPECT_TRUE(each.counter.attached()) << each.name;
            const uint64_t now = each.counter.runs();
            EXPECT_GT(now, each.seen) << each.name;
            each.seen = now;
        }
    }

    Node node_;
    Node::Pod* pod_ = nullptr;
    std::list<Foreigner> foreigners_;
};

TEST_F(Neighbours, StayAttachedAndCount) {
    settle_on("ext0", "before");
    settle_on("lo", "before");
    settle_on_cgroup("before");
    expect_all_count("without Weir");
    ASSERT_TRUE(node_.start_agent());
    expect_all_count("Weir has come");
    settle_on("ext0", "after");
    settle_on("lo", "after");
    settle_on_cgroup("after");
    pod_ = &node_.run_server("web-1", "web");
    const auto pods = node_.weir_json({"pod", "list"});
    const std::string veth = pods.at(0).at("device").as_string().c_str();
    settle_on(veth, "after");
    expect_all_count("newcomers");

    node_.apply("web.yaml", Node::node_port_yaml("web", kVip4, kVip6));
    EXPECT_TRUE(eventually([&] {
        return http(node_.outside(), "192.0.2.1", 30080).starts_with("web-1");
    })) << "and Weir works among them";
    node_.stop_agent(SIGKILL);
    ASSERT_TRUE(node_.start_agent({}, Build::kNext));
    expect_all_count("another build");

    foreigners_.remove_if(
        [&](const Foreigner& each) { return each.name.find(veth) != std::string::npos; });
    node_.stop_pod(*pod_);
    pod_ = nullptr;
    node_.stop_agent(SIGTERM);
    node_.weir_ok({"cleanup", "--yes"});
    expect_all_count("Weir has gone");
    EXPECT_FALSE(succeeds("bpftool net show | grep -E 'stub_|dev_in|dev_out'"));
}

}  // namespace
}  // namespace weir::test
