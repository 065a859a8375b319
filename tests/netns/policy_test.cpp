// SPDX-License-Identifier: Apache-2.0
// Policies between real processes, as documents say. Cites: "NetworkPolicy — selection &
// isolation", "Always-allowed and out-of-scope traffic", "Connection-state rules" and "Lifecycle /
// ordering" of the Kubernetes semantics; "A change in policy, labels or namespaces cuts or admits
// flows that are already open"; "After an agent crash the last policy stays in force".
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <sys/socket.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/node.h"
#include "netns/web.h"
#include "support/child.h"
#include "support/exercises.h"
#include "support/peers.h"

namespace weir::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr uint16_t kServerPort = 8080;

/// A NetworkPolicy of namespace shop; `spec` is indented by two.
std::string policy(const std::string& name, const std::string& spec) {
    return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: " + name +
           ", namespace: shop}\nspec:\n" + spec;
}

/// Pods with app=web take `from` on `ports`, both in flow style.
std::string admit(const std::string& from, const std::string& ports = "[]") {
    return policy("web",
                  "  podSelector: {matchLabels: {app: web}}\n  policyTypes: [Ingress]\n"
                  "  ingress: [{from: " +
                      from + ", ports: " + ports + "}]\n");
}

std::string from_app(const std::string& app) {
    return "[{podSelector: {matchLabels: {app: " + app + "}}}]";
}

const char* const kDenyAll =
    "  podSelector: {}\n  policyTypes: [Ingress, Egress]\n  ingress: []\n  egress: []\n";

class PolicyNode : public testing::TestWithParam<const char*> {
  protected:
    PolicyNode() : node_({.socket_hooks = GetParam()}) {}
    void SetUp() override { ASSERT_TRUE(node_.start_agent()); }

    /// An answer within the time that a client has, or none because packets are dropped.
    bool reaches(const Place& place, const std::string& address, uint16_t port = kServerPort) {
        return http(place, address, port).starts_with("web");
    }
    bool comes_to(bool reached, const Place& place, const std::string& address,
                  uint16_t port = kServerPort) {
        return eventually([&] { return reaches(place, address, port) == reached; });
    }
    Node node_;
};

INSTANTIATE_TEST_SUITE_P(SocketHooks, PolicyNode, testing::Values("all", "off"),
                         [](const auto& mode) { return std::string(mode.param); });

TEST_P(PolicyNode, DefaultDenyAndWhatIsAdmitted) {
    node_.apply("svc.yaml", Node::service_yaml("web", kVip4, kVip6));
    auto& server = node_.run_server("web-1", "web");
    auto& friendly = node_.run_client("friendly");
    auto& other = node_.run_client("other");
    for (const int family : {4, 6}) {
        ASSERT_TRUE(comes_to(true, friendly.place, server.ip(family)));
        ASSERT_TRUE(comes_to(true, other.place, vip(family), 80));
    }
    node_.apply("web.yaml", admit(from_app("friendly"), "[{port: 8080}]"));
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        EXPECT_TRUE(comes_to(false, other.place, server.ip(family)));
        EXPECT_FALSE(reaches(other.place, vip(family), 80)) << "nor through its Service";
        EXPECT_TRUE(reaches(friendly.place, server.ip(family)));
        EXPECT_TRUE(reaches(friendly.place, vip(family), 80));
        EXPECT_TRUE(reaches(node_.host(), server.ip(family))) << "the node is not kept away";
        EXPECT_TRUE(reaches(node_.host(), vip(family), 80));
    }
    EXPECT_GT(node_.drops("policy_denied_ingress"), 0U);
    node_.apply("all.yaml", policy("all", kDenyAll));
    EXPECT_TRUE(comes_to(false, friendly.place, server.ip(4))) << "it may not send any more";
    EXPECT_GT(node_.drops("policy_denied_egress"), 0U);
    node_.remove("all.yaml");
    node_.remove("web.yaml");
    for (const int family : {4, 6}) {
        EXPECT_TRUE(comes_to(true, other.place, server.ip(family)));
        EXPECT_TRUE(reaches(other.place, vip(family), 80));
    }
}

/// A pod of another node, where somebody outside is.
std::string remote_pod(const std::string& app) {
    return "apiVersion: v1\nkind: Pod\nmetadata: {name: remote, namespace: shop, labels: {app: " +
           app + "}}\nspec: {nodeName: elsewhere}\nstatus: {phase: Running, podIPs: [{ip: " +
           outside_ip(4) + "}]}\n";
}

TEST_P(PolicyNode, OtherNodesPodsAreKnownToTheFirstPolicy) {
    node_.apply("svc.yaml", Node::node_port_yaml("web", kVip4, kVip6));
    node_.apply("remote.yaml", remote_pod("friendly"));
    node_.run_server("web-1", "web");
    ASSERT_TRUE(comes_to(true, node_.outside(), node_ip(4), 30080));
    node_.apply("web.yaml", admit(from_app("friendly")));
    EXPECT_TRUE(comes_to(false, node_.outside(), node_ip(6), 30080)) << "it is in force";
    EXPECT_TRUE(reaches(node_.outside(), node_ip(4), 30080));
    node_.apply("remote.yaml", remote_pod("other"));
    EXPECT_TRUE(comes_to(false, node_.outside(), node_ip(4), 30080));
    node_.apply("remote.yaml", remote_pod("friendly"));
    EXPECT_TRUE(comes_to(true, node_.outside(), node_ip(4), 30080));
}

TEST_P(PolicyNode, OutsidersByRange) {
    node_.apply("svc.yaml", Node::node_port_yaml("web", kVip4, kVip6));
    node_.run_server("web-1", "web");
    for (const int family : {4, 6})
        ASSERT_TRUE(comes_to(true, node_.outside(), node_ip(family), 30080));
    node_.apply("web.yaml", admit("[{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.2/32]}}]"));
    EXPECT_TRUE(comes_to(false, node_.outside(), node_ip(4), 30080));
    EXPECT_FALSE(reaches(node_.outside(), node_ip(6), 30080));
    node_.apply("web.yaml", admit("[{ipBlock: {cidr: 192.0.2.2/32}}]"));
    EXPECT_TRUE(comes_to(true, node_.outside(), node_ip(4), 30080));
    EXPECT_FALSE(reaches(node_.outside(), node_ip(6), 30080));
}

/// One connection, kept open, that asks again as soon as it was answered. What it met last is in a
/// file: "answered N" or "silence after N".
class OpenConnection {
  public:
    OpenConnection(const Node& node, const Place& place, const std::string& address)
        : file_(node.dir() / "open-connection"), child_(place, [&](const auto& ready) {
              const Fd sock = make_socket(AF_INET, SOCK_STREAM);
              connect_to(sock, {address, kServerPort});
              for (unsigned answered = 0;; ++answered) {
                  send_text(sock, "GET / HTTP/1.1\r\nHost: web\r\n\r\n");
                  while (!hears(sock))
                      say(fmt::format("silence after {}", answered));
                  say(fmt::format("answered {}", answered + 1));
                  if (answered == 0) ready();
                  ::usleep(20'000);
              }
          }) {}
    /// It is answered again, from now on.
    bool is_answered() const {
        const std::string before = last();
        return eventually([&] { return last().starts_with("answered") && last() != before; });
    }
    bool is_cut() const {
        return eventually([&] { return last().starts_with("silence"); });
    }

  private:
    static bool hears(const Fd& sock) {
        char buffer[4096];
        return ::recv(sock.get(), buffer, sizeof buffer, 0) > 0;
    }
    void say(const std::string& text) const {
        const auto next = file_.string() + "-next";
        std::ofstream(next) << text;
        std::filesystem::rename(next, file_);
    }
    std::string last() const {
        std::ifstream in(file_);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    std::filesystem::path file_;
    BackgroundChild child_;
};

TEST_P(PolicyNode, AnOpenConnectionIsCutAndGoesOnAgain) {
    auto& server = node_.run_server("web-1", "web");
    auto& friendly = node_.run_client("friendly");
    ASSERT_TRUE(comes_to(true, friendly.place, server.ip(4)));
    const OpenConnection connection(node_, friendly.place, server.ip(4));
    node_.apply("web.yaml", admit(from_app("friendly")));
    EXPECT_TRUE(connection.is_answered());
    node_.apply("web.yaml", admit(from_app("other")));
    EXPECT_TRUE(connection.is_cut()) << "a new denial is for open connections, too";
    node_.apply("web.yaml", admit(from_app("friendly")));
    EXPECT_TRUE(connection.is_answered()) << "and what is admitted again goes on";
    node_.apply("all.yaml", policy("all", kDenyAll));
    EXPECT_TRUE(connection.is_cut());
}

TEST_P(PolicyNode, LabelsOfANamespaceAdmit) {
    auto& server = node_.run_server("web-1", "web");
    auto& client = node_.run_client("client");
    const auto labelled = [](const std::string& team) {
        return "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: " + team +
               "}}\n";
    };
    node_.apply("ns.yaml", labelled("a"));
    node_.apply("web.yaml", admit("[{namespaceSelector: {matchLabels: {team: b}}}]"));
    EXPECT_TRUE(comes_to(false, client.place, server.ip(4)));
    node_.apply("ns.yaml", labelled("b"));
    EXPECT_TRUE(comes_to(true, client.place, server.ip(4)));
    node_.apply("ns.yaml", labelled("a"));
    EXPECT_TRUE(comes_to(false, client.place, server.ip(4)));
}

TEST_P(PolicyNode, APolicyIsThereBeforeThePod) {
    node_.apply("all.yaml", policy("all", kDenyAll));
    auto& client = node_.run_client("client");
    // Its first packets, with nothing waited for.
    EXPECT_THAT(http(client.place, node_ip(4), 1), StartsWith("error: ECONNREFUSED"))
        << "its own node, which no NetworkPolicy keeps it from";
    EXPECT_THAT(http(client.place, outside_ip(4), 80), StartsWith("error: "));
    EXPECT_GT(node_.drops("policy_denied_egress"), 0U);
}

TEST_P(PolicyNode, ADenialIsSeenWithItsRule) {
    auto& server = node_.run_server("web-1", "web");
    auto& other = node_.run_client("other");
    ASSERT_TRUE(comes_to(true, other.place, server.ip(4)));
    node_.apply("web.yaml", admit(from_app("friendly")));
    ASSERT_TRUE(comes_to(false, other.place, server.ip(4)));
    const auto seen = node_.weir_ok({"flows", "--verdict", "DROPPED"});
    EXPECT_THAT(seen, HasSubstr("shop/other"));
    EXPECT_THAT(seen, HasSubstr("shop/web-1"));
    EXPECT_THAT(seen, HasSubstr("policy_denied_ingress: isolated (ingress)"));
}

TEST_P(PolicyNode, AreShownWithWhatTheyDecided) {
    auto& server = node_.run_server("web-1", "web");
    auto& friendly = node_.run_client("friendly");
    node_.apply("web.yaml", admit(from_app("friendly")));
    node_.apply("idle.yaml", policy("idle", "  podSelector: {matchLabels: {app: nobody}}\n"));
    ASSERT_TRUE(
        eventually([&] { return node_.weir_json({"policy", "list"}).as_array().size() == 2; }));
    ASSERT_TRUE(comes_to(true, friendly.place, server.ip(4)));
    EXPECT_TRUE(eventually([&] {
        const auto web = node_.weir_json({"policy", "get", "shop/web"});
        return web.at("hits").to_number<uint64_t>() > 0;
    }));
    const auto web = node_.weir_json({"policy", "get", "shop/web"});
    EXPECT_EQ(web.at("pods"), (boost::json::array{"shop/web-1"}));
    EXPECT_EQ(web.at("rules").at(0).at("rule"), "NetworkPolicy shop/web ingress[0]");
    EXPECT_TRUE(node_.weir_json({"policy", "get", "idle"}).at("pods").as_array().empty());
    const auto of_pod = node_.weir_ok({"policy", "effective", "shop/web-1"});
    EXPECT_THAT(of_pod, HasSubstr("enforced"));
    EXPECT_THAT(of_pod, HasSubstr("NetworkPolicy shop/web ingress[0]"));
    EXPECT_THAT(of_pod, HasSubstr("isolated (ingress)"));
    EXPECT_THAT(node_.weir_ok({"policy", "effective", "friendly"}), HasSubstr("open"));
    EXPECT_THAT(node_.weir_ok({"policy", "hits"}), HasSubstr("NetworkPolicy shop/web ingress[0]"));
    EXPECT_EQ(node_.weir_json({"policy", "hits", "--unused"}), boost::json::array{});
    EXPECT_THAT(node_.weir_ok({"status"}), HasSubstr("2 policies, "));
    const auto explain = [&](const std::string& from, const std::vector<std::string>& more) {
        std::vector<std::string> words = {"policy", "explain",    "--from", from,
                                          "--to",   "shop/web-1", "--port", "8080"};
        words.insert(words.end(), more.begin(), more.end());
        return node_.weir(words);
    };
    for (const std::vector<std::string>& where :
         {std::vector<std::string>{},
          {"--files", node_.dir() / "objects", "--files", node_.dir() / "run/pods.d"}}) {
        const auto passes = explain("shop/friendly", where);
        EXPECT_EQ(passes.status, 0) << passes.out << passes.err;
        EXPECT_THAT(passes.out, HasSubstr("passes, NetworkPolicy shop/web ingress[0]"));
        const auto denied = explain(outside_ip(4), where);
        EXPECT_EQ(denied.status, 1) << denied.out << denied.err;
        EXPECT_THAT(denied.out, HasSubstr("DENIED, isolated by NetworkPolicy shop/web"));
        EXPECT_THAT(denied.out, HasSubstr("- pods app=friendly of namespace shop"));
    }
    EXPECT_EQ(explain("shop/nobody", {}).status, 1) << "no such pod";
    EXPECT_EQ(node_.metric("weir_policies"), 2);
    EXPECT_EQ(node_.metric("weir_pods_closed"), 0);
}

TEST_P(PolicyNode, CountOnAfterARestartOfTheAgent) {
    auto& server = node_.run_server("web-1", "web");
    auto& friendly = node_.run_client("friendly");
    node_.apply("web.yaml", admit(from_app("friendly")));
    ASSERT_TRUE(
        eventually([&] { return node_.weir_json({"policy", "list"}).as_array().size() == 1; }));
    const auto rule = [&] {
        return node_.weir_json({"policy", "get", "shop/web"}).at("rules").at(0).as_object();
    };
    const auto hits = [&] { return rule().at("hits").to_number<uint64_t>(); };
    ASSERT_TRUE(comes_to(true, friendly.place, server.ip(4)));
    ASSERT_TRUE(eventually([&] { return hits() > 0; }));
    const auto before = hits();
    const auto since = rule().at("since");
    node_.stop_agent(SIGTERM);
    ASSERT_TRUE(node_.start_agent());
    EXPECT_GE(hits(), before);
    EXPECT_EQ(rule().at("since"), since);
    EXPECT_NE(rule().at("last"), "");
    EXPECT_TRUE(node_.weir_json({"policy", "hits", "--unused", "1h"}).as_array().empty())
        << "it has not been in force for that long";
    EXPECT_EQ(node_.weir({"policy", "hits", "--unused", "soon"}).status, 2);
}

TEST_P(PolicyNode, APolicyInAuditModeSaysWhatItWouldDeny) {
    auto& server = node_.run_server("web-1", "web");
    auto& other = node_.run_client("other");
    auto audited = admit(from_app("friendly"));
    audited.replace(audited.find("metadata: {"), sizeof "metadata: {" - 1,
                    "metadata: {annotations: {policy.weir.io/audit: \"true\"}, ");
    node_.apply("web.yaml", audited);
    const auto would_deny = [&] {
        const auto pod = node_.weir_json({"policy", "effective", "shop/web-1"});
        for (const auto& rule : pod.at("would_deny").as_array()) {
            if (rule.at("rule") == "isolated (ingress)")
                return rule.at("hits").to_number<uint64_t>();
        }
        return uint64_t{0};
    };
    EXPECT_TRUE(eventually([&] {
        EXPECT_TRUE(reaches(other.place, server.ip(4)));
        return would_deny() > 0;
    }));
    EXPECT_EQ(node_.drops("policy_denied_ingress"), 0U);
    EXPECT_THAT(node_.weir_ok({"policy", "effective", "shop/web-1"}),
                HasSubstr("would deny, if policies in audit mode decided:"));
}

/// Datagrams to a server, without end; a file appears as soon as one is answered.
class Intruder {
  public:
    Intruder(const Node& node, const Place& place, const std::string& address)
        : file_(node.dir() / "intruder-was-answered"), child_(place, [&](const auto& ready) {
              const Fd sock = make_socket(AF_INET, SOCK_DGRAM);
              connect_to(sock, {address, kServerPort});
              ready();
              for (char answer[64];; ::usleep(1000)) {
                  (void)::send(sock.get(), "x", 1, 0);
                  if (::recv(sock.get(), answer, sizeof answer, MSG_DONTWAIT) > 0)
                      std::ofstream(file_) << "once";
              }
          }) {}
    [[nodiscard]] bool got_in() const { return std::filesystem::exists(file_); }

  private:
    std::filesystem::path file_;
    BackgroundChild child_;
};

TEST_P(PolicyNode, HoldWithoutAnAgentAndWhileOneTakesOver) {
    auto& server = node_.run_server("web-1", "web");
    auto& friendly = node_.run_client("friendly");
    auto& other = node_.run_client("other");
    node_.apply("web.yaml", admit(from_app("friendly")));
    ASSERT_TRUE(comes_to(false, other.place, server.ip(4)));
    const OpenConnection connection(node_, friendly.place, server.ip(4));
    const Intruder intruder(node_, other.place, server.ip(4));
    node_.stop_agent(SIGKILL);
    EXPECT_TRUE(connection.is_answered());
    EXPECT_TRUE(reaches(friendly.place, server.ip(4)));
    EXPECT_FALSE(reaches(other.place, server.ip(4)));
    for (const Build build : {Build::kThis, Build::kNext, Build::kThis}) {
        ASSERT_TRUE(node_.start_agent({}, build));
        EXPECT_TRUE(connection.is_answered());
        EXPECT_TRUE(reaches(friendly.place, server.ip(4)));
        node_.stop_agent(SIGKILL);
    }
    EXPECT_FALSE(intruder.got_in());
    EXPECT_TRUE(connection.is_answered());
    node_.remove("web.yaml");
    ASSERT_TRUE(node_.start_agent());
    EXPECT_TRUE(comes_to(true, other.place, server.ip(4))) << "what changed meanwhile is followed";
    EXPECT_TRUE(intruder.got_in()) << "it asked all the time";
}

}  // namespace
}  // namespace weir::test
