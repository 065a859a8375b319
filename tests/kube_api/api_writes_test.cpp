// SPDX-License-Identifier: Apache-2.0
// What agents write, against a real API server that keeps an audit log: who is elected, and Events.
#include <cstdio>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>

#include "common/fd.h"
#include "kube/api/kubeconfig.h"
#include "kube_api/plane_test.h"
#include "kube_api/pools.h"

namespace weir::kube::api {
namespace {

using namespace std::chrono_literals;
using test::ControlPlane;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr std::string_view kAudit = R"(
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: [agent]
  verbs: [create, delete, get, list, patch, update, watch]
)";

/// One agent's share in the writing, with connections and a thread of its own.
struct Agent {
    std::string node;
    Store store;
    std::unique_ptr<ApiSource> source;

    bool until(const std::function<bool()>& condition, std::chrono::milliseconds limit = 20s) {
        return test::drive(*source, store, condition, limit);
    }
};

class ApiWritesTest : public test::PlaneTest {
  protected:
    void SetUp() override {
        PlaneTest::SetUp();
        if (!plane_) return;
        std::ofstream(plane_->dir() / "audit.yaml") << kAudit;
        serve_anew();
        plane_->make_agent("agent");
    }
    void serve_anew(bool streams = true) {
        plane_->kill_server();
        plane_->start_server(std::vector<std::string>{
            "--audit-policy-file=" + (plane_->dir() / "audit.yaml").string(),
            "--audit-log-path=" + (plane_->dir() / "audit.log").string(),
            fmt::format("--feature-gates=WatchList={}", streams)});
    }
    void TearDown() override {
        agents_.clear();
        proxies_.clear();
        PlaneTest::TearDown();
    }

    Agent& start(const std::string& node, const ElectionTiming& timing = {}, uint16_t port = 0,
                 const BlockOptions& blocks = {}) {
        auto access = kubeconfig_access(plane_->kubeconfig("agent"));
        EXPECT_TRUE(access);
        if (port != 0) EXPECT_TRUE(use_servers(*access, {ControlPlane::url(port)}));
        auto agent = std::make_unique<Agent>();
        agent->node = node;
        auto source = ApiSource::open(agent->store, *std::move(access));
        EXPECT_TRUE(source);
        agent->source = *std::move(source);
        agent->source->begin_writes(
            {.node = node, .ns = "kube-system", .timing = timing, .blocks = blocks});
        agents_.push_back(std::move(agent));
        return *agents_.back();
    }
    void start_three() {
        for (const char* node : {"n1", "n2", "n3"})
            start(node);
    }
    std::vector<Agent*> leaders() const {
        std::vector<Agent*> leaders;
        for (const auto& agent : agents_) {
            if (agent->source->leading()) leaders.push_back(agent.get());
        }
        return leaders;
    }
    /// Looks all the time: never are two elected. The elected one, once it is another than
    /// `not_this`.
    Agent* elected(const Agent* not_this = nullptr, std::chrono::milliseconds limit = 40s) {
        for (const auto deadline = Clock::now() + limit; Clock::now() < deadline;) {
            const auto now = leaders();
            EXPECT_LE(now.size(), 1U);
            if (now.size() == 1 && now[0] != not_this) return now[0];
            std::this_thread::sleep_for(2ms);
        }
        return nullptr;
    }
    std::string views() const {
        std::string text;
        for (const auto& agent : agents_) {
            const auto seen = agent->source->leadership();
            text += fmt::format("{} sees {} ({})\n", agent->node, seen.holder, seen.error);
        }
        return text + plane_->kubectl({"-n", "kube-system", "get", "lease", "-o", "yaml"});
    }
    void end(const Agent* agent) {
        std::erase_if(agents_, [&](const auto& each) { return each.get() == agent; });
    }
    std::string lease(const std::string& path) const {
        return plane_->kubectl(
            {"-n", "kube-system", "get", "lease", "weir-leader", "-o", "jsonpath={" + path + "}"});
    }

    /// Requests of agents in the audit log: verb, resource, status.
    size_t requests(const std::string& verb, const std::string& resource, int code) const {
        const auto log = read_file(plane_->dir() / "audit.log").value();
        size_t count = 0;
        for (std::string_view rest = log; !rest.empty();) {
            const size_t end = std::min(rest.find('\n'), rest.size() - 1);
            const auto line = rest.substr(0, end);
            const auto has = [&](const std::string& text) {
                return line.find(text) != std::string_view::npos;
            };
            count += has("\"verb\":\"" + verb + "\"") && has("\"resource\":\"" + resource + "\"") &&
                     has("\"code\":" + std::to_string(code) + "}");
            rest.remove_prefix(end + 1);
        }
        return count;
    }

    /// "coordination.k8s.io/leases patch": what agents have asked for.
    std::set<std::string> asked() const {
        const auto log = read_file(plane_->dir() / "audit.log").value();
        static const std::regex kRequest(
            R"re("verb":"(\w+)".*"objectRef":\{"resource":"(\w+)"(.*?)\})re");
        static const std::regex kGroup(R"re("apiGroup":"([^"]+)")re");
        static const std::regex kPart(R"re("subresource":"(\w+)")re");
        std::set<std::string> all;
        std::istringstream lines(log);
        for (std::string line; std::getline(lines, line);) {
            std::smatch match;
            if (!std::regex_search(line, match, kRequest)) continue;
            const std::string rest = match[3];
            std::smatch group;
            std::smatch part;
            const bool grouped = std::regex_search(rest, group, kGroup);
            const bool parted = std::regex_search(rest, part, kPart);
            all.insert(fmt::format("{}/{}{} {}", grouped ? group[1].str() : "", match[2].str(),
                                   parted ? "/" + part[1].str() : "", match[1].str()));
        }
        return all;
    }
    /// The same of what a role permits.
    std::set<std::string> permitted(const std::vector<std::string>& role) const {
        auto command = role;
        command.insert(
            command.end(),
            {"-o", R"(jsonpath={range .rules[*]}{.apiGroups}|{.resources}|{.verbs}{"\n"}{end})"});
        const auto words = [](const std::string& list) {
            static const std::regex kWord(R"re("([^"]*)")re");
            std::vector<std::string> out;
            for (std::sregex_iterator it(list.begin(), list.end(), kWord), end; it != end; ++it)
                out.push_back((*it)[1]);
            return out;
        };
        std::set<std::string> all;
        std::istringstream lines(plane_->kubectl(command));
        for (std::string groups, resources, verbs; std::getline(lines, groups, '|') &&
                                                   std::getline(lines, resources, '|') &&
                                                   std::getline(lines, verbs);) {
            for (const auto& group : words(groups)) {
                for (const auto& resource : words(resources)) {
                    for (const auto& verb : words(verbs))
                        all.insert(fmt::format("{}/{} {}", group, resource, verb));
                }
            }
        }
        return all;
    }

    EventNote about(const Agent& agent, const std::string& service, const std::string& text) const {
        const auto* found = agent.store.find<model::Service>({"shop", model::Text(service)});
        EXPECT_NE(found, nullptr);
        return {.regarding = {"v1", "Service", "shop", service,
                              found == nullptr ? "" : found->meta.uid.str()},
                .reason = "AddressTaken",
                .action = "Compiling",
                .text = text,
                .of_cluster = true};
    }
    void make_service(const std::string& name) {
        plane_->kubectl({"-n", "shop", "create", "service", "clusterip", name, "--tcp=80"});
        for (const auto& agent : agents_) {
            EXPECT_TRUE(agent->until([&] {
                return agent->store.find<model::Service>({"shop", model::Text(name)}) != nullptr;
            }));
        }
    }
    std::string describe(const std::string& service) const {
        return plane_->kubectl({"-n", "shop", "describe", "service", service});
    }

    std::vector<test::FaultProxy> proxies_;  ///< ways to the server that can be cut
    std::vector<std::unique_ptr<Agent>> agents_;
};

TEST_F(ApiWritesTest, OfThreeAgentsOneWritesAChangeOnce) {
    plane_->kubectl({"create", "namespace", "shop"});
    start_three();
    Agent* leader = elected();
    ASSERT_NE(leader, nullptr);
    EXPECT_THAT(lease(".spec.holderIdentity"), testing::StartsWith(leader->node + "_"));
    EXPECT_EQ(lease(".spec.leaseDurationSeconds"), "15");
    EXPECT_EQ(requests("create", "leases", 201), 1U);

    // A change that all three see, and something that all three find wrong with it.
    make_service("web");
    const auto tell_all = [&] {
        for (const auto& agent : agents_)
            agent->source->tell(about(*agent, "web", "spec.externalIPs[0]: another has 10.9.9.9"));
    };
    tell_all();
    EXPECT_TRUE(test::eventually([&] { return requests("create", "events", 201) == 1; }));
    EXPECT_THAT(describe("web"), HasSubstr("Warning  AddressTaken"));
    EXPECT_THAT(describe("web"), HasSubstr("weir.io/agent"));
    EXPECT_THAT(describe("web"), HasSubstr("spec.externalIPs[0]: another has 10.9.9.9"));
    for (int i = 0; i < 5; ++i)
        tell_all();
    std::this_thread::sleep_for(1s);
    EXPECT_EQ(requests("create", "events", 201), 1U);
    EXPECT_EQ(requests("patch", "events", 200), 0U) << "repeated ones wait";
    for (const auto& agent : agents_)
        EXPECT_EQ(agent->source->leadership().holder, leader->node);

    // One that ends in order is followed at once, and its Event is counted on.
    const auto begin = Clock::now();
    leader->source->end_writes(5s);
    EXPECT_FALSE(leader->source->leading());
    Agent* const next = elected(leader);
    const std::chrono::duration<double> took = Clock::now() - begin;
    std::printf("followed %.1f s after it gave up\n", took.count());
    ASSERT_NE(next, nullptr);
    EXPECT_LE(took, 5s);
    EXPECT_EQ(lease(".spec.leaseTransitions"), "1");
    end(leader);
    tell_all();
    EXPECT_TRUE(test::eventually([&] { return requests("patch", "events", 200) == 1; }));
    EXPECT_EQ(requests("create", "events", 201), 1U);
    EXPECT_EQ(requests("create", "events", 409), 1U);
    EXPECT_THAT(describe("web"), HasSubstr("(x2 over "));
    make_service("other");
    for (const auto& agent : agents_)
        agent->source->tell(about(*agent, "other", "spec.ports[0]: there is no room"));
    EXPECT_TRUE(test::eventually([&] { return requests("create", "events", 201) == 2; }));
}

TEST_F(ApiWritesTest, OneThatIsKilledIsFollowedWhenItsLeaseIsOver) {
    start_three();
    Agent* const leader = elected();
    ASSERT_NE(leader, nullptr);
    std::this_thread::sleep_for(5s);
    const auto begin = Clock::now();
    end(leader);
    Agent* const next = elected();
    const std::chrono::duration<double> took = Clock::now() - begin;
    std::printf("followed %.1f s after it was killed\n", took.count());
    ASSERT_NE(next, nullptr);
    // The lease, and what another needs to see that it is not renewed.
    EXPECT_LE(took, 15s + 2500ms);
    EXPECT_EQ(lease(".spec.leaseTransitions"), "1");
}

// A partition: its connections are closed, or nothing comes through them.
TEST_F(ApiWritesTest, OneThatIsCutOffStopsBeforeAnotherIsElected) {
    const ElectionTiming quick{.lease = 5s, .renew_deadline = 3s, .retry = 1s};
    for (const int i : {0, 1, 2}) {
        const auto port = static_cast<uint16_t>(test::FaultProxy::kPort + i);
        proxies_.emplace_back(*plane_, port);
        start(fmt::format("n{}", i), quick, port);
    }
    Agent* leader = elected();
    ASSERT_NE(leader, nullptr);
    for (const std::string fault :
         {R"({"kind": "refuse"})", R"({"kind": "delay", "match": "/leases", "seconds": 8})"}) {
        SCOPED_TRACE(fault);
        const auto& way = proxies_.at(static_cast<size_t>(leader->node[1] - '0'));
        way.set({fault});
        Agent* const next = elected(leader);
        ASSERT_NE(next, nullptr) << views();
        EXPECT_FALSE(leader->source->leading());
        std::this_thread::sleep_for(5s);
        way.set({});
        // What was held back arrives now, and changes nothing.
        EXPECT_TRUE(test::eventually(
            [&] { return leader->source->leadership().holder == next->node; }, 30s));
        EXPECT_EQ(elected(nullptr, 5s), next);
        leader = next;
    }
}

TEST_F(ApiWritesTest, WhatConcernsOneNodeIsWrittenByItsAgent) {
    plane_->apply("apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n");
    start_three();
    ASSERT_NE(elected(), nullptr);
    for (const auto& agent : agents_) {
        ASSERT_TRUE(agent->until([&] { return agent->store.count<model::Node>() == 1; }));
        if (agent->source->leading()) continue;
        const auto* node = agent->store.find<model::Node>({"", "n2"});
        agent->source->tell({.regarding = {"v1", "Node", "", "n2", node->meta.uid.str()},
                             .reason = "PodRangeRefused",
                             .action = "Configuring",
                             .text = "spec.podCIDRs[0]: of " + agent->node});
    }
    EXPECT_TRUE(test::eventually([&] { return requests("create", "events", 201) == 2; }));
    const auto text = plane_->kubectl({"describe", "node", "n2"});
    EXPECT_THAT(text, HasSubstr("PodRangeRefused"));
    EXPECT_THAT(plane_->kubectl({"-n", "default", "get", "events"}), HasSubstr("node/n2"));
}

// Everything that an agent does, and all that it may: neither is more than the other.
TEST_F(ApiWritesTest, EveryPermissionIsNeeded) {
    plane_->make_kinds();
    plane_->kubectl({"create", "namespace", "shop"});
    plane_->apply(
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n"
        "spec: {taints: [{key: node.weir.io/agent-not-ready, effect: NoSchedule}]}\n");
    const BlockOptions blocks{
        .source = std::make_shared<test::Pools>("10.244.0.0/16", 24, "fd00:10:244::/56", 64),
        .rest = 1s,
        .look = 1s};
    const auto tell_nodes = [](Agent& agent) {
        std::vector<NodeRanges> nodes;
        agent.store.for_each<model::Node>([&](const model::Node& node) {
            nodes.push_back({node.meta.name.name.str(), node.meta.uid.str(), node.pod_cidrs});
        });
        agent.source->set_nodes(nodes);
    };
    // The second goes on counting in the first one's Event. Lists are streams once, pages once.
    for (int round = 0; round < 2; ++round) {
        serve_anew(round == 0);
        Agent& agent = start("n1", {}, 0, blocks);
        ASSERT_EQ(elected(), &agent);
        if (round == 0) make_service("web");
        ASSERT_TRUE(agent.until([&] {
            return agent.store.count<model::Node>() == 1 &&
                   agent.store.count<model::Service>() == 2;
        }));
        agent.source->report_node_ready("n1");
        agent.source->tell(about(agent, "web", "spec.ports[0]: of one"));
        tell_nodes(agent);
        EXPECT_TRUE(agent.until(
            [&] { return agent.store.find<model::Node>({"", "n1"})->pod_cidrs.size() == 2; }));
        EXPECT_TRUE(test::eventually([&] {
            const auto counts = agent.source->event_counts();
            return counts.created + counts.repeated == 1;
        }));
        if (round == 1) {
            plane_->kubectl({"delete", "node", "n1"});
            ASSERT_TRUE(agent.until([&] { return agent.store.count<model::Node>() == 0; }));
            tell_nodes(agent);
            EXPECT_TRUE(test::eventually([&] { return agent.source->wants_pods(); }));
            agent.source->set_pods({});
            EXPECT_TRUE(test::eventually([&] { return agent.source->block_state().freed == 2; }));
        }
        agent.source->end_writes(5s);
        end(&agent);
    }
    auto expected = permitted({"get", "clusterrole", "agent"});
    expected.merge(permitted({"-n", "kube-system", "get", "role", "agent"}));
    EXPECT_THAT(expected, testing::Contains("coordination.k8s.io/leases delete"));
    EXPECT_THAT(expected, testing::Contains("/nodes/status patch"));
    EXPECT_EQ(asked(), expected);
}

TEST_F(ApiWritesTest, WhatIsNotAllowedIsSaidAndTriedAgain) {
    plane_->kubectl({"-n", "kube-system", "delete", "rolebinding", "agent"});
    Agent& agent = start("n1");
    EXPECT_TRUE(test::eventually([&] { return !agent.source->leadership().error.empty(); }));
    EXPECT_THAT(agent.source->leadership().error, HasSubstr("403 Forbidden: leases"));
    EXPECT_FALSE(agent.source->leading());
    plane_->make_agent("agent");
    EXPECT_EQ(elected(), &agent);
    EXPECT_EQ(agent.source->leadership().error, "");
}

}  // namespace
}  // namespace weir::kube::api
