// SPDX-License-Identifier: Apache-2.0
// The command against a real API server: what people and scripts see.
#include "agent/api_types.h"
#include "agent/flow_stream.h"
#include "agent/server_fixture.h"
#include "flow/fixture.h"
#include "support/process.h"

namespace weir::test {
namespace {

namespace json = boost::json;
using api::fixture::RunningServer;

std::vector<api::Pod> pods() {
    api::Pod web;
    web.ns = "shop";
    web.name = "web-1";
    web.ips = {"10.1.0.5", "fd00::5"};
    web.device = "weir3f2a";
    web.ready = true;
    web.endpoint = 1;
    web.labels = {{"app", "web"}};
    api::Pod dns = web;
    dns.ns = "kube-system";
    dns.name = "dns-0";
    dns.ready = false;
    dns.ips = {"10.1.0.9"};
    return {web, dns};
}

std::vector<api::Service> services() {
    api::ServicePort port;
    port.name = "http";
    port.protocol = "TCP";
    port.family = "IPv4";
    port.port = 80;
    port.node_port = 30080;
    port.addresses = {"10.96.0.10:80"};
    port.backends = {{"10.1.0.5", 8080, "ready", "shop/web-1", "n1", true}};
    api::Service service;
    service.ns = "shop";
    service.name = "web";
    service.type = "NodePort";
    service.cluster_ips = {"10.96.0.10"};
    service.internal_policy = service.external_policy = "Cluster";
    service.ports = {port};
    return {service};
}

class ConntrackLines : public api::LineSource {
  public:
    State pull(std::string& out, size_t) override {
        api::Conntrack entry;
        entry.protocol = "TCP";
        entry.state = "established";
        entry.kind = "service";
        entry.source = "10.1.0.5";
        entry.source_port = 41234;
        entry.source_pod = "shop/web-1";
        entry.destination = "10.96.0.10";
        entry.destination_port = 80;
        entry.service = "shop/web:http";
        out += json::serialize(api::to_json(entry)) + "\n";
        return State::kEnd;
    }
    void on_ready(std::function<void()>) override {}
};

struct WeirTest : testing::Test {
    WeirTest() : server(make_router()) {
        recorder_publish();
        server.start_unix();
    }

    api::Router make_router() {
        api::Router router;
        router.get_text("/healthz", api::Reach::kPublic,
                        [](const auto&) { return api::Response::text(200, "ok\n"); });
        router.get("/v1/status", [this](const auto&) -> Result<json::value> {
            api::Status status;
            status.node = "n1";
            status.version = "0.1.0";
            status.ready = healthy;
            if (!healthy) status.reasons = {"no Node n1 in file:/x"};
            return api::to_json(status);
        });
        router.get("/v1/pods",
                   [](const auto&) -> Result<json::value> { return api::to_json(pods()); });
        router.get("/v1/services",
                   [](const auto&) -> Result<json::value> { return api::to_json(services()); });
        router.get("/v1/drops", [](const auto&) -> Result<json::value> {
            return fail(Errc::kSystem, "read the drop counters: bad luck");
        });
        router.get_stream("/v1/conntrack",
                          [](const auto&) -> Result<std::unique_ptr<api::LineSource>> {
                              return std::make_unique<ConntrackLines>();
                          });
        router.get_stream("/v1/flows", [this](const api::Request& request) {
            return api::flow_stream(hub, "n1", request);
        });
        return router;
    }
    void recorder_publish() {
        hub.publish(recorder.make(flow::fixture::service_flow()));
        hub.publish(recorder.make(flow::fixture::dropped_packet()));
    }

    struct Ran {
        int code;
        std::string out;
        std::string err;
    };
    Ran weir(std::vector<std::string> words) const {
        words.insert(words.begin(), WEIR_BINARY);
        if (words.at(1) != "--help")
            words.insert(words.end(), {"--socket", server.path().string()});
        Process process(words);
        const int code = process.wait();
        return {code, process.out(), process.err()};
    }

    std::atomic<bool> healthy = true;
    flow::fixture::World world;
    flow::Recorder recorder{world};
    flow::Hub hub{100};
    RunningServer server;
};

TEST_F(WeirTest, PodsInEveryForm) {
    const Ran table = weir({"pod", "list"});
    EXPECT_EQ(table.code, 0);
    EXPECT_EQ(table.err, "");
    EXPECT_EQ(table.out,
              "NAMESPACE     NAME    READY   IP                 DEVICE     AGE\n"
              "kube-system   dns-0   no      10.1.0.9           weir3f2a   -\n"
              "shop          web-1   yes     10.1.0.5,fd00::5   weir3f2a   -\n");
    EXPECT_EQ(weir({"pod", "list", "-n", "shop", "-o", "name"}).out, "pod/shop/web-1\n");
    EXPECT_EQ(weir({"pod", "list", "-A", "--no-headers"}).out.substr(0, 11), "kube-system");
    const json::value list = json::parse(weir({"pod", "list", "-o", "json"}).out);
    EXPECT_EQ(list.at(1).at("labels").at("app"), "web");
    EXPECT_TRUE(weir({"pod", "list", "-o", "yaml"})
                    .out.starts_with("- namespace: kube-system\n  name: dns-0\n"));
}

TEST_F(WeirTest, GetFindsByNameAndSaysWhenThereIsNone) {
    EXPECT_NE(weir({"pod", "get", "shop/web-1"}).out.find("Addresses    10.1.0.5, fd00::5\n"),
              std::string::npos);
    EXPECT_EQ(weir({"pod", "get", "web-1", "-o", "name"}).out, "pod/shop/web-1\n");
    const Ran none = weir({"pod", "get", "web-9"});
    EXPECT_EQ(none.code, 1);
    EXPECT_EQ(none.err,
              "weir: no pod \"web-9\" on this node; `weir pod list` shows those that are\n");
    const std::string service = weir({"service", "get", "web"}).out;
    EXPECT_NE(service.find("Port http 80:30080/TCP IPv4 (10.96.0.10:80)\n"), std::string::npos)
        << service;
    EXPECT_NE(service.find("  10.1.0.5:8080   ready   shop/web-1   n1\n"), std::string::npos)
        << service;
}

TEST_F(WeirTest, StatusExitsByHealth) {
    EXPECT_EQ(weir({"status"}).code, 0);
    healthy = false;
    const Ran degraded = weir({"status"});
    EXPECT_EQ(degraded.code, 1);
    EXPECT_NE(degraded.out.find("because  no Node n1 in file:/x\n"), std::string::npos);
    EXPECT_EQ(weir({"status", "--wait", "--wait-duration", "300ms"}).code, 1);
    std::thread later([this] {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        healthy = true;
    });
    EXPECT_EQ(weir({"status", "--wait"}).code, 0);
    later.join();
}

TEST_F(WeirTest, FlowsAreLinesForPeopleAndJsonForPrograms) {
    const Ran all = weir({"flows"});
    EXPECT_EQ(all.code, 0);
    EXPECT_NE(all.out.find(
                  "  FORWARDED TCP shop/web-1:41234 -> shop/api-0:8080 via shop/api:http (new)\n"),
              std::string::npos)
        << all.out;
    const Ran dropped = weir({"flows", "--verdict", "DROPPED", "-o", "json"});
    EXPECT_EQ(json::parse(dropped.out).at("flow").at("drop_reason_desc"), "NO_ENDPOINTS");
    EXPECT_EQ(weir({"flows", "--not", "--protocol", "TCP", "--not", "--protocol", "UDP"}).out, "");
    const Ran wrong = weir({"flows", "--port", "x"});
    EXPECT_EQ(wrong.code, 2);
    EXPECT_EQ(wrong.err, "weir: --port \"x\": expected 0 to 65535\n");
}

TEST_F(WeirTest, ConntrackHasNames) {
    const Ran list = weir({"conntrack", "list"});
    EXPECT_NE(list.out.find("TCP        established   shop/web-1:41234   10.96.0.10:80   "
                            "shop/web:http   service"),
              std::string::npos)
        << list.out;
    EXPECT_EQ(json::parse(weir({"conntrack", "list", "-o", "json"}).out).at("source_port"), 41234);
}

TEST_F(WeirTest, ExitCodesTellWhatHappened) {
    const Ran failed = weir({"drops"});
    EXPECT_EQ(failed.code, 1);
    EXPECT_EQ(failed.err, "weir: read the drop counters: bad luck\n");
    EXPECT_EQ(weir({"pod", "list", "-o", "xml"}).code, 2);
    EXPECT_EQ(weir({"--help"}).code, 0);
    Process nobody({WEIR_BINARY, "status", "--socket", "/nonexistent/agent.sock"});
    EXPECT_EQ(nobody.wait(), 3);
    EXPECT_EQ(
        nobody.err(),
        "weir: cannot reach the agent at /nonexistent/agent.sock: No such file or directory. Is "
        "it running? Start it with `weir-agent --source=file:DIR` (or `systemctl start "
        "weir-agent`), or name its socket with --socket\n");
    if (::getuid() == 0) {
        Process other({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", WEIR_BINARY,
                       "status", "--socket", server.path().string()});
        EXPECT_EQ(other.wait(), 4) << other.err();
        EXPECT_NE(other.err().find("Use sudo"), std::string::npos);
    }
}

TEST_F(WeirTest, ListsWithoutAgentNorTablesSayThatTheAgentIsMissing) {
    Process nobody({WEIR_BINARY, "pod", "list", "--socket", "/nonexistent/agent.sock", "--bpffs",
                    "/nonexistent"});
    EXPECT_EQ(nobody.wait(), 3);
    EXPECT_TRUE(nobody.err().starts_with("weir: cannot reach the agent")) << nobody.err();
}

TEST_F(WeirTest, FollowEndsWithInterrupt) {
    Process follow({WEIR_BINARY, "flows", "-f", "--socket", server.path().string()});
    ASSERT_TRUE(eventually([&] { return follow.out().find("FORWARDED") != std::string::npos; }));
    follow.send(SIGINT);
    EXPECT_EQ(follow.wait(), 130);
}

}  // namespace
}  // namespace weir::test
