// SPDX-License-Identifier: Apache-2.0
// Blocks of pod addresses for Nodes that have none, against a real API server.
#include "kube/api/node_blocks.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <gmock/gmock.h>

#include "kube/api/api_source.h"
#include "kube/api/kubeconfig.h"
#include "kube_api/plane_test.h"
#include "kube_api/pools.h"

namespace weir::kube::api {
namespace {

using namespace std::chrono_literals;
using test::ControlPlane;
using test::eventually;
using testing::HasSubstr;

/// An agent that believes itself elected for as long as it is told to.
class Keeper {
  public:
    Keeper(const ControlPlane& plane, std::shared_ptr<BlockSource> pools, uint16_t port)
        : access_(access_of(plane, port)),
          blocks_(io_, session_, "kube-system",
                  {.source = std::move(pools), .rest = 3s, .look = 1s},
                  {.leading = [this] { return leading.load(); },
                   .note =
                       [this](EventNote note) {
                           const std::lock_guard lock(mutex_);
                           notes_.push_back(std::move(note));
                       }}) {
        boost::asio::co_spawn(io_, blocks_.run(), [](const std::exception_ptr& failure) {
            if (failure) std::rethrow_exception(failure);
        });
        thread_ = std::thread([this] { io_.run(); });
    }
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;
    ~Keeper() {
        io_.stop();
        thread_.join();
    }
    void set_nodes(std::vector<NodeRanges> nodes) {
        boost::asio::post(io_, [this, nodes = std::move(nodes)] { blocks_.set_nodes(nodes); });
    }
    void set_pods(std::vector<IpAddress> pods) {
        boost::asio::post(io_, [this, pods = std::move(pods)] { blocks_.set_pods(pods); });
    }
    [[nodiscard]] const NodeBlocks& blocks() const { return blocks_; }
    [[nodiscard]] std::vector<EventNote> notes() const {
        const std::lock_guard lock(mutex_);
        return notes_;
    }
    std::atomic<bool> leading{true};

  private:
    static Access access_of(const ControlPlane& plane, uint16_t port) {
        auto access = kubeconfig_access(plane.kubeconfig("agent")).value();
        EXPECT_TRUE(use_servers(access, {ControlPlane::url(port)}));
        return access;
    }

    Access access_;
    Session session_{access_};
    boost::asio::io_context io_{1};
    NodeBlocks blocks_;
    mutable std::mutex mutex_;
    std::vector<EventNote> notes_;
    std::thread thread_;
};

class NodeBlocksTest : public test::PlaneTest {
  protected:
    void SetUp() override {
        PlaneTest::SetUp();
        if (!plane_) return;
        plane_->make_agent("agent");
        auto source =
            ApiSource::open(store_, kubeconfig_access(plane_->kubeconfig("agent")).value());
        ASSERT_TRUE(source);
        source_ = *std::move(source);
    }
    void TearDown() override {
        keepers_.clear();
        source_.reset();
        PlaneTest::TearDown();
    }

    Keeper& start(const char* v4 = "10.244.0.0/16", unsigned length4 = 24,
                  const char* v6 = "fd00:10:244::/56", unsigned length6 = 64,
                  uint16_t port = ControlPlane::kPort) {
        keepers_.push_back(std::make_unique<Keeper>(
            *plane_, std::make_shared<test::Pools>(v4, length4, v6, length6), port));
        return *keepers_.back();
    }
    void make_nodes(int from, int to) const {
        std::string yaml;
        for (int i = from; i < to; ++i)
            yaml += fmt::format("---\napiVersion: v1\nkind: Node\nmetadata: {{name: n{}}}\n", i);
        plane_->apply(yaml);
    }
    /// Tells the keepers of the Nodes as the agent does, until the condition holds.
    bool until(const std::function<bool()>& condition, std::chrono::milliseconds limit = 20s) {
        const auto told = [&] {
            if (source_->synced(Kind::kNode)) tell();
            return condition();
        };
        return test::drive(*source_, store_, told, limit);
    }
    void tell() {
        std::vector<NodeRanges> nodes;
        store_.for_each<model::Node>([&](const model::Node& node) {
            nodes.push_back({node.meta.name.name.str(), node.meta.uid.str(), node.pod_cidrs});
        });
        if (told_ == nodes.size() && std::ranges::equal(nodes, last_)) return;
        told_ = nodes.size();
        last_ = nodes;
        for (const auto& keeper : keepers_)
            keeper->set_nodes(nodes);
    }
    std::vector<IpPrefix> ranges(const std::string& node) const {
        const auto* found = store_.find<model::Node>({{}, model::Text(node)});
        return found == nullptr ? std::vector<IpPrefix>() : found->pod_cidrs;
    }
    bool all_served() const {
        bool all = true;
        store_.for_each<model::Node>(
            [&](const model::Node& node) { all = all && node.pod_cidrs.size() == 2; });
        return all && store_.count<model::Node>() > 0;
    }
    /// "NODE BLOCK" of every claim.
    std::set<std::string> claims() const {
        const auto text = plane_->kubectl(
            {"-n", "kube-system", "get", "leases", "-l", "weir.io/block", "-o",
             R"(jsonpath={range .items[*]}{.spec.holderIdentity} {.metadata.annotations.weir\.io/block}{"\n"}{end})"});
        std::set<std::string> lines;
        std::string_view rest = text;
        while (!rest.empty()) {
            const size_t end = rest.find('\n');
            lines.emplace(rest.substr(0, end));
            rest.remove_prefix(end + 1);
        }
        return lines;
    }

    Store store_;
    std::unique_ptr<ApiSource> source_;
    std::vector<std::unique_ptr<Keeper>> keepers_;
    std::vector<NodeRanges> last_;
    size_t told_ = SIZE_MAX;
};

TEST_F(NodeBlocksTest, NodesGetBlocksThatNobodyHas) {
    plane_->apply(R"(
apiVersion: v1
kind: Node
metadata: {name: before}
spec: {podCIDR: 10.244.0.0/24, podCIDRs: [10.244.0.0/24, "fd00:10:244::/64"]}
)");
    make_nodes(1, 4);
    const Keeper& keeper = start();
    ASSERT_TRUE(until([&] { return all_served(); }));
    std::set<std::string> seen;
    store_.for_each<model::Node>([&](const model::Node& node) {
        for (const auto& range : node.pod_cidrs)
            EXPECT_TRUE(seen.insert(range.to_string()).second) << range.to_string();
    });
    EXPECT_EQ(seen.size(), 8U);
    EXPECT_EQ(*seen.begin(), "10.244.0.0/24");
    EXPECT_TRUE(seen.contains("10.244.3.0/24") && seen.contains("fd00:10:244:3::/64"));
    EXPECT_EQ(plane_->kubectl({"get", "node", "n1", "-o", "jsonpath={.spec.podCIDR}"}),
              ranges("n1")[0].to_string());
    // Those of the Node that had some are recorded, too.
    EXPECT_TRUE(until([&] { return claims().size() == 8; }));
    EXPECT_TRUE(claims().contains("before fd00:10:244::/64"));
    EXPECT_EQ(keeper.blocks().state().given, 3U);
    EXPECT_EQ(keeper.blocks().state().error, "");
}

// Two that each believe to be the elected one: what they write excludes each other all the same.
TEST_F(NodeBlocksTest, TwoThatGiveAtTheSameTimeGiveNoBlockTwice) {
    const Keeper& a = start();
    const Keeper& b = start();
    for (int i = 0; i < 5; ++i)
        make_nodes(i * 12, i * 12 + 12);
    ASSERT_TRUE(until([&] { return store_.count<model::Node>() == 60 && all_served(); }, 60s))
        << a.blocks().state().error << b.blocks().state().error;
    std::set<std::string> seen;
    store_.for_each<model::Node>([&](const model::Node& node) {
        for (const auto& range : node.pod_cidrs) {
            EXPECT_TRUE(seen.insert(range.to_string()).second) << range.to_string();
            EXPECT_TRUE(claims().contains(node.meta.name.name + (" " + range.to_string())));
        }
    });
    EXPECT_EQ(seen.size(), 120U);
    const uint64_t by_a = a.blocks().state().given;
    const uint64_t by_b = b.blocks().state().given;
    std::printf("%zu nodes by one, %zu by the other\n", size_t{by_a}, size_t{by_b});
    EXPECT_GE(by_a + by_b, 60U);
}

TEST_F(NodeBlocksTest, ANodeMadeAnewHasItsBlockAgainAndAFreedOneGoesToAnother) {
    make_nodes(0, 2);
    Keeper& keeper = start("10.244.0.0/23", 24, "fd00:10:244::/63", 64);
    ASSERT_TRUE(until([&] { return all_served(); }));
    const auto first = ranges("n0");
    const auto freed = ranges("n1");
    for (int i = 0; i < 2; ++i) {
        plane_->kubectl({"delete", "node", "n0"});
        ASSERT_TRUE(until([&] { return ranges("n0").empty(); }));
        make_nodes(0, 1);
        ASSERT_TRUE(until([&] { return ranges("n0").size() == 2; }));
        EXPECT_EQ(ranges("n0"), first) << "pods of before may still live there";
    }

    // Nobody else gets a block before it has rested, or while a pod has an address of it.
    plane_->kubectl({"delete", "node", "n1"});
    make_nodes(2, 3);
    ASSERT_TRUE(until([&] { return !keeper.notes().empty(); }));
    EXPECT_EQ(keeper.notes()[0].reason, "PodRangeExhausted");
    EXPECT_EQ(keeper.notes()[0].regarding.name, "n2");
    EXPECT_THAT(keeper.notes()[0].text,
                HasSubstr("spec.podCIDRs: no block is free: 2 blocks of /24 in 10.244.0.0/23"));
    EXPECT_THAT(keeper.blocks().state().error, HasSubstr("Node n2"));
    ASSERT_TRUE(until([&] { return keeper.blocks().wants_pods(); }));
    keeper.set_pods({IpAddress::parse("10.244.0.9").value(), IpAddress::parse("10.244.1.9").value(),
                     IpAddress::parse("fd00:10:244::9").value(),
                     IpAddress::parse("fd00:10:244:1::9").value()});
    EXPECT_FALSE(until([&] { return !ranges("n2").empty(); }, 3s));
    ASSERT_TRUE(until([&] { return keeper.blocks().wants_pods(); }));
    keeper.set_pods({IpAddress::parse("10.244.0.9").value()});
    ASSERT_TRUE(until([&] { return ranges("n2").size() == 2; }));
    EXPECT_EQ(ranges("n2"), freed);
    EXPECT_EQ(keeper.blocks().state().freed, 2U);
    EXPECT_TRUE(until([&] { return keeper.blocks().state().error.empty(); }));
}

TEST_F(NodeBlocksTest, WhatOneBeganAnotherCompletes) {
    // One died after it had claimed the block, before it told the Node.
    plane_->apply(R"(
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  name: weir-block-10.244.7.0-24
  namespace: kube-system
  labels: {weir.io/block: ipv4}
  annotations: {weir.io/block: 10.244.7.0/24}
spec: {holderIdentity: n1}
)");
    make_nodes(1, 3);
    Keeper& keeper = start();
    keeper.leading = false;
    EXPECT_FALSE(until([&] { return all_served(); }, 3s)) << "not elected: it writes nothing";
    EXPECT_EQ(claims().size(), 1U);
    keeper.leading = true;
    ASSERT_TRUE(until([&] { return all_served(); }));
    EXPECT_EQ(ranges("n1")[0].to_string(), "10.244.7.0/24");
    EXPECT_EQ(ranges("n2")[0].to_string(), "10.244.0.0/24");
    EXPECT_EQ(claims().size(), 4U);
}

// An answer that does not come says nothing about what was done.
TEST_F(NodeBlocksTest, WritesOfUnknownOutcomeAreCompletedAndNothingIsLost) {
    const test::FaultProxy proxy(*plane_);
    start("10.244.0.0/16", 24, "fd00:10:244::/56", 64, test::FaultProxy::kPort);
    const std::vector<std::string> bad_days = {
        R"({"kind": "cut", "match": "/leases", "after": 0, "count": 5})",
        R"({"kind": "cut", "match": "/api/v1/nodes/", "after": 0, "count": 2})",
        R"({"kind": "corrupt", "match": "/leases", "after": 0, "count": 5})",
        R"({"kind": "status", "match": "/leases", "code": 500, "body": "<html>", "count": 3})",
        R"({"kind": "status", "match": "/api/v1/nodes/", "code": 429, "body": "{}", "count": 3})",
        R"({"kind": "refuse"})",
    };
    int nodes = 0;
    for (const auto& fault : bad_days) {
        SCOPED_TRACE(fault);
        proxy.set({fault});
        make_nodes(nodes, nodes + 2);
        nodes += 2;
        std::this_thread::sleep_for(1s);
        if (fault == bad_days.back()) proxy.set({});
        ASSERT_TRUE(until(
            [&] {
                return store_.count<model::Node>() == static_cast<size_t>(nodes) && all_served();
            },
            60s));
    }
    std::set<std::string> expected;
    store_.for_each<model::Node>([&](const model::Node& node) {
        for (const auto& range : node.pod_cidrs)
            expected.insert(fmt::format("{} {}", node.meta.name.name, range.to_string()));
    });
    EXPECT_EQ(expected.size(), static_cast<size_t>(2 * nodes));
    EXPECT_EQ(claims(), expected) << "as many Leases as blocks that Nodes have";
}

TEST_F(NodeBlocksTest, NamesOfLeasesAreOneForEachBlock) {
    EXPECT_EQ(block_lease(IpPrefix::parse("10.244.3.0/24").value()), "weir-block-10.244.3.0-24");
    EXPECT_EQ(block_lease(IpPrefix::parse("fd00:10:244:3::/64").value()),
              "weir-block-fd00-10-244-3---64");
}

}  // namespace
}  // namespace weir::kube::api
