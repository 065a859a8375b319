// SPDX-License-Identifier: Apache-2.0
// An agent whose objects come from a real API server.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <map>
#include <string>
#include <thread>

#include <boost/json.hpp>
#include <gmock/gmock.h>

#include "kube_api/control_plane.h"
#include "netns/node.h"
#include "netns/web.h"

namespace weir::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr std::string_view kObjects = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Node
metadata: {name: node-1}
spec:
  taints: [{key: node.weir.io/agent-not-ready, effect: NoSchedule}, {key: other, effect: NoSchedule}]
  podCIDR: 10.244.7.0/24
  podCIDRs: [10.244.7.0/24, "fd00:10:244:7::/64"]
)";

/// A Service with the server outside of the node as its endpoint.
std::string service_outside(const std::string& name, const std::string& address) {
    return fmt::format(R"(
apiVersion: v1
kind: Service
metadata: {{name: {0}, namespace: shop}}
spec: {{clusterIP: {1}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {0}-1, namespace: shop, labels: {{kubernetes.io/service-name: {0}}}}}
addressType: IPv4
endpoints: [{{addresses: [192.0.2.2]}}]
ports: [{{name: http, port: 8080, protocol: TCP}}]
)",
                       name, address);
}

class ClusterTest : public testing::Test {
  protected:
    void SetUp() override {
        if (const std::string missing = ControlPlane::missing(); !missing.empty()) {
            GTEST_SKIP() << missing;
        }
        node_.emplace();
        plane_.emplace(ControlPlane::Net::kCallers);
        plane_->apply(kObjects);
        plane_->apply(service_outside("web", "10.96.0.80"));
        plane_->make_agent("agent");
        flags_ = {"--source=kubernetes", "--kubeconfig=" + plane_->kubeconfig("agent").string()};
    }
    void TearDown() override {
        plane_.reset();
        node_.reset();
    }
    std::string web() const { return http(node_->host(), "10.96.0.80"); }
    bool web_answers() const {
        return eventually([this] { return web().starts_with("outside to "); }, 20s);
    }

    std::optional<Node> node_;
    std::optional<ControlPlane> plane_;
    std::vector<std::string> flags_;
};

TEST_F(ClusterTest, ServicesOfTheClusterAreServed) {
    ASSERT_TRUE(node_->start_agent(flags_));
    EXPECT_TRUE(web_answers()) << web();
    EXPECT_THAT(node_->weir_ok({"service", "list"}), testing::ContainsRegex("shop +web "));
    EXPECT_THAT(node_->weir_ok({"status"}), HasSubstr("watching since"));
    EXPECT_THAT(node_->weir_ok({"ipam", "list"}), HasSubstr("10.244.7.0/24"))
        << "pod ranges are those of the Node";

    // The node may take pods now, and what others say about it stays.
    const auto taints = [this] {
        return plane_->kubectl({"get", "node", "node-1", "-o", "jsonpath={.spec.taints[*].key}"});
    };
    EXPECT_TRUE(eventually([&] { return taints().find("agent-not-ready") == std::string::npos; }));
    EXPECT_THAT(taints(), HasSubstr("other"));
    EXPECT_EQ(
        plane_->kubectl({"get", "node", "node-1", "-o",
                         "jsonpath={.status.conditions[?(@.type=='NetworkUnavailable')].status}"}),
        "False");

    plane_->apply(service_outside("more", "10.96.0.81"));

    const auto more_answers = [this] {
        return http(node_->host(), "10.96.0.81").starts_with("outside to ");
    };
    EXPECT_TRUE(eventually(more_answers));
    plane_->kubectl({"-n", "shop", "delete", "service", "more"});
    EXPECT_TRUE(eventually([&] { return !more_answers(); }));
}

TEST_F(ClusterTest, PoliciesOfTheClusterAreInForce) {
    plane_->apply(R"(
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: quiet, namespace: shop}
spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}
)");
    ASSERT_TRUE(node_->start_agent(flags_));
    auto& client = node_->run_client("client");
    const auto answered = [&] {
        return http(client.place, outside_ip(4), 8080).starts_with("outside to ");
    };
    EXPECT_FALSE(answered());
    EXPECT_THAT(node_->weir_ok({"policy", "effective", "client"}), HasSubstr("isolated (egress)"));
    EXPECT_GT(node_->drops("policy_denied_egress"), 0U);
    plane_->kubectl({"-n", "shop", "delete", "networkpolicy", "quiet"});
    EXPECT_TRUE(eventually(answered));
}

/// Namespaces to which the plugin is called as a runtime does, for Pods that `weir run` knows
/// nothing of.
class Attached {
  public:
    explicit Attached(const Node& node) : config_(plugin_config(node)) {}
    ~Attached() {
        for (const auto& [name, arguments] : pods_) {
            EXPECT_TRUE(call("DEL", name, arguments).ok());
            sh("ip netns delete " + name);
        }
    }
    Attached(const Attached&) = delete;
    Attached& operator=(const Attached&) = delete;

    /// How long ADD takes; `arguments` are CNI_ARGS.
    std::chrono::milliseconds add(const std::string& name, const std::string& arguments) {
        sh("ip netns add " + name);
        pods_.emplace(name, arguments);
        const auto begin = std::chrono::steady_clock::now();
        const auto added = call("ADD", name, arguments);
        EXPECT_TRUE(added.ok()) << added.describe();
        return std::chrono::duration_cast<std::chrono::milliseconds>(
            std::chrono::steady_clock::now() - begin);
    }
    [[nodiscard]] static bool answers(const std::string& name) {
        return run({"ping", "-c1", "-W1", outside_ip(4)}, {.place = {"/run/netns/" + name, ""}})
            .ok();
    }

  private:
    static std::string plugin_config(const Node& node) {
        const auto list =
            boost::json::parse(read_file(node.dir() / "run/cni/05-weir.conflist").value());
        auto plugin = list.at("plugins").at(0).as_object();
        plugin["name"] = list.at("name");
        plugin["cniVersion"] = list.at("cniVersion");
        return boost::json::serialize(plugin);
    }
    [[nodiscard]] Outcome call(const std::string& command, const std::string& name,
                               const std::string& arguments) const {
        return run({WEIR_CNI},
                   {.environment = Variables{{"CNI_COMMAND", command},
                                             {"CNI_CONTAINERID", "id-" + name},
                                             {"CNI_NETNS", "/run/netns/" + name},
                                             {"CNI_IFNAME", "eth0"},
                                             {"CNI_ARGS", "IgnoreUnknown=1" + arguments}},
                    .input = config_});
    }

    std::string config_;
    std::map<std::string, std::string> pods_;
};

// "Past the bound the pod starts default-denied and `weir status` and an Event say so."
TEST_F(ClusterTest, APodThatTheServerDoesNotShowStartsClosedAndThatIsSaid) {
    ASSERT_TRUE(node_->start_agent(flags_));
    Attached attached(*node_);
    EXPECT_LT(attached.add("nameless", ""), 4s) << "no Pod is to be waited for";
    EXPECT_TRUE(attached.answers("nameless"));
    const auto begin = std::chrono::steady_clock::now();
    node_->run_client("client");
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 4s) << "its Pod is told by `weir run`";
    EXPECT_EQ(node_->metric("weir_pods_late_total"), 0);

    EXPECT_GT(attached.add("ghost", ";K8S_POD_NAMESPACE=shop;K8S_POD_NAME=ghost;K8S_POD_UID=u-1"),
              4s);
    EXPECT_FALSE(attached.answers("ghost"));
    EXPECT_GT(node_->drops("policy_closed"), 0U);
    EXPECT_THAT(node_->weir_ok({"status"}), HasSubstr("1 PODS CLOSED"));
    EXPECT_THAT(node_->problems(),
                testing::ContainsRegex(
                    "Pod shop/ghost: .*nothing passes in or out: its Pod is not known yet"));
    EXPECT_EQ(node_->metric("weir_pods_late_total"), 1);
    const auto events = [this] {
        return plane_->kubectl({"-n", "shop", "get", "events", "--no-headers", "-o",
                                "custom-columns=K:.involvedObject.kind,N:.involvedObject.name,"
                                "U:.involvedObject.uid,R:.reason,M:.message"});
    };
    EXPECT_TRUE(
        eventually([&] { return events().find("PolicyClosed") != std::string::npos; }, 20s));
    EXPECT_THAT(events(),
                testing::ContainsRegex("Pod +ghost +u-1 +PolicyClosed +nothing passes in or out"));

    attached.add("late", ";K8S_POD_NAMESPACE=shop;K8S_POD_NAME=late");
    EXPECT_FALSE(attached.answers("late"));
    plane_->apply(R"(
apiVersion: v1
kind: Pod
metadata: {name: late, namespace: shop}
spec: {nodeName: node-1, containers: [{name: c, image: x}]}
)");
    EXPECT_TRUE(eventually([&] { return attached.answers("late"); }));
    EXPECT_THAT(node_->weir_ok({"status"}), HasSubstr("2 pods started before theirs"));
}

TEST_F(ClusterTest, OneAgentIsElectedAndSaysAtObjectsWhatItRefuses) {
    constexpr std::string_view kService = R"(
apiVersion: v1
kind: Service
metadata: {{name: {}, namespace: shop}}
spec: {{externalIPs: [192.0.2.200], ports: [{{port: 80}}]}}
)";
    ASSERT_TRUE(node_->start_agent(flags_));
    const auto leads = [this] {
        return node_->weir({"status"}).out.find("node-1 (this agent) since") != std::string::npos;
    };
    EXPECT_TRUE(eventually(leads)) << node_->agent_log();
    plane_->apply(fmt::format(kService, "older"));
    std::this_thread::sleep_for(1100ms);  // the API tells ages in seconds
    plane_->apply(fmt::format(kService, "younger"));
    const auto described = [this] {
        return plane_->kubectl({"-n", "shop", "describe", "service", "younger"});
    };
    EXPECT_TRUE(
        eventually([&] { return described().find("AddressTaken") != std::string::npos; }, 20s))
        << node_->agent_log();
    EXPECT_THAT(described(), HasSubstr("does not answer on 192.0.2.200:80/TCP: shop/older:/TCP"));
    EXPECT_THAT(described(), HasSubstr("give one of the two another address or port"));
    EXPECT_THAT(plane_->kubectl({"-n", "shop", "describe", "service", "older"}),
                testing::Not(HasSubstr("AddressTaken")));

    // An endpoint that nobody can be: the API lets it pass.
    plane_->apply(R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: older-1, namespace: shop, labels: {kubernetes.io/service-name: older}}
addressType: IPv4
endpoints: [{addresses: [239.1.1.1]}]
ports: [{port: 80}]
)");
    const auto slice = [this] {
        return plane_->kubectl({"-n", "shop", "describe", "endpointslice", "older-1"});
    };
    EXPECT_TRUE(eventually([&] { return slice().find("Refused") != std::string::npos; }, 20s));
    EXPECT_THAT(slice(), HasSubstr("endpoints[0].addresses[0]: 239.1.1.1 is a multicast address: "
                                   "correct it; until then"));

    const auto holder = [this] {
        return plane_->kubectl({"-n", "kube-system", "get", "lease", "weir-leader", "-o",
                                "jsonpath={.spec.holderIdentity}"});
    };
    EXPECT_THAT(holder(), testing::StartsWith("node-1_"));
    node_->stop_agent(SIGTERM);
    EXPECT_EQ(holder(), "") << "given up, so that others need not wait";
}

TEST_F(ClusterTest, NodesThatAreNotRoutedSaySo) {
    plane_->apply(R"(
apiVersion: v1
kind: Node
metadata: {name: twin}
spec: {podCIDR: 10.244.7.128/25, podCIDRs: [10.244.7.128/25]}
---
apiVersion: v1
kind: Node
metadata: {name: wide}
spec: {podCIDR: 192.0.2.0/25, podCIDRs: [192.0.2.0/25]}
)");
    ASSERT_TRUE(node_->start_agent(flags_));
    const auto events = [this] {
        return plane_->kubectl({"get", "events", "-A", "--no-headers", "-o",
                                "custom-columns=K:.involvedObject.kind,N:.involvedObject.name,"
                                "R:.reason,M:.message"});
    };
    const auto all_said = [&] {
        const std::string text = events();
        return text.find("PeerRouteRefused") != std::string::npos &&
               std::ranges::count(text, '\n') >= 2;
    };
    EXPECT_TRUE(eventually(all_said, 20s)) << node_->agent_log();
    const std::string text = events();
    EXPECT_THAT(text, testing::ContainsRegex("Node +twin +PeerRouteRefused +spec.podCIDRs: pod "
                                             "range 10.244.7.128/25 overlaps 10.244.7.0/24 of "
                                             "Node node-1: no other node routes it"));
    // What only this node finds is told at its own Node.
    EXPECT_THAT(text, testing::ContainsRegex("Node +node-1 +PeerRouteRefused +Node wide: pod range "
                                             "192.0.2.0/25 holds an address of this host"));
    EXPECT_EQ(std::ranges::count(text, '\n'), 2) << text;
    EXPECT_THAT(plane_->kubectl({"describe", "node", "twin"}), HasSubstr("PeerRouteRefused"));
    EXPECT_THAT(plane_->kubectl({"describe", "node", "wide"}),
                testing::Not(HasSubstr("PeerRouteRefused")));
}

TEST_F(ClusterTest, ANodeThatNobodyGivesPodRangesGetsABlock) {
    plane_->kubectl({"delete", "node", "node-1"});
    plane_->apply("apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\n");
    flags_.emplace_back("--pool-cidrs=10.244.32.0/20,fd00:10:244:20::/60");
    ASSERT_TRUE(node_->start_agent(flags_)) << node_->agent_log();
    EXPECT_TRUE(web_answers()) << web();
    const std::string list = node_->weir_ok({"ipam", "list"});
    EXPECT_THAT(list, HasSubstr("10.244.32.0/24"));
    EXPECT_THAT(list, HasSubstr("fd00:10:244:20::/64"));
    EXPECT_EQ(plane_->kubectl({"get", "node", "node-1", "-o", "jsonpath={.spec.podCIDRs}"}),
              R"(["10.244.32.0/24","fd00:10:244:20::/64"])");
    EXPECT_THAT(plane_->kubectl({"-n", "kube-system", "get", "lease"}),
                testing::ContainsRegex("weir-block-10.244.32.0-24 +node-1"));
}

// The elected agent has no pod range itself, and the only block belongs to a Node that is gone.
TEST_F(ClusterTest, AnAgentThatWaitsForABlockFreesIt) {
    plane_->kubectl({"delete", "node", "node-1"});
    plane_->apply(R"(
apiVersion: v1
kind: Node
metadata: {name: node-1}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  name: weir-block-10.244.32.0-24
  namespace: kube-system
  labels: {weir.io/block: ipv4}
  annotations: {weir.io/block: 10.244.32.0/24}
spec: {holderIdentity: gone}
)");
    flags_.insert(flags_.end(), {"--pool-cidrs=10.244.32.0/24", "--pool-rest=2s"});
    node_->launch_agent(flags_);
    const auto described = [this] { return plane_->kubectl({"describe", "node", "node-1"}); };
    EXPECT_TRUE(
        eventually([&] { return described().find("PodRangeExhausted") != std::string::npos; }, 20s))
        << node_->agent_log();
    EXPECT_TRUE(eventually([this] { return node_->weir({"status", "--wait"}).ok(); }, 60s))
        << node_->agent_log();
    EXPECT_THAT(node_->weir_ok({"ipam", "list"}), HasSubstr("10.244.32.0/24"));
    EXPECT_THAT(plane_->kubectl({"-n", "kube-system", "get", "lease"}),
                testing::ContainsRegex("weir-block-10.244.32.0-24 +node-1"));
}

// The agent keeps no capability to read what others own.
TEST_F(ClusterTest, AKeyOfAnotherUserIsNamed) {
    const auto key = plane_->dir() / "agent.key";
    ASSERT_TRUE(run({"chown", "nobody", key}).ok());
    node_->launch_agent(flags_);
    EXPECT_EQ(node_->agent().wait_for(20s), 1);
    EXPECT_THAT(node_->agent_log(), HasSubstr(key.string() + ": Permission denied: let the user"));
    ASSERT_TRUE(run({"chown", "root", key}).ok());
    EXPECT_TRUE(node_->start_agent(flags_));
}

TEST_F(ClusterTest, ServicesOutliveTheApiServerAndAnAgentThatStartsWithoutOne) {
    ASSERT_TRUE(node_->start_agent(flags_));
    ASSERT_TRUE(web_answers()) << web();
    plane_->kill_server();
    EXPECT_TRUE(web_answers()) << web();
    node_->stop_agent(SIGKILL);
    EXPECT_TRUE(web_answers()) << web();

    node_->launch_agent(flags_);
    ASSERT_TRUE(eventually(
        [this] { return node_->weir({"status"}).out.find("disconnected") != std::string::npos; },
        30s))
        << node_->agent_log();
    EXPECT_TRUE(web_answers()) << "tables and programs of before stay: " << web();
    plane_->start_server();
    EXPECT_TRUE(eventually([this] { return node_->weir({"status", "--wait"}).ok(); }, 60s))
        << node_->agent_log();
    EXPECT_TRUE(web_answers()) << web();
}

}  // namespace
}  // namespace weir::test
