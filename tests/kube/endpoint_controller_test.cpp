// SPDX-License-Identifier: Apache-2.0
#include "kube/endpoint_controller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kube/decode.h"

namespace weir::kube {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

/// "web-1@10.0.0.1 rst node-1": ready, serving, terminating by letter or dash.
std::string show(const model::Endpoint& endpoint) {
    return fmt::format("{}@{} {}{}{}", endpoint.target.name, endpoint.address.to_string(),
                       endpoint.ready ? 'r' : '-', endpoint.serving ? 's' : '-',
                       endpoint.terminating ? 't' : '-');
}

/// "4 http:TCP/8080 [...]"
std::string show(const model::EndpointSlice& slice) {
    std::string out = slice.family == Family::kIpv4 ? "4" : "6";
    for (const auto& port : slice.ports) {
        out += fmt::format(" {}:{}/{}", port.name, to_string(port.protocol), port.port);
    }
    for (const auto& endpoint : slice.endpoints)
        out += " [" + show(endpoint) + "]";
    return out;
}

class ControllerTest : public testing::Test {
  protected:
    void put(std::string_view text, SourceId source) {
        DecodedFile decoded = decode(text, pool_);
        for (const auto& problem : decoded.problems)
            ADD_FAILURE() << problem.to_string();
        for (auto& object : decoded.objects)
            store_.put(source, std::move(object.object));
        run();
    }
    void put(std::string_view text) { put(text, source_); }
    void withdraw(Kind kind, std::string_view name) {
        store_.withdraw(source_, {kind, {"shop", name}});
        run();
    }
    void run() {
        controller_.update();
        touched_ = store_.pending().endpoints;
        store_.publish();
    }
    void pod(std::string_view name, std::string_view rest, std::string_view labels = "{app: web}") {
        put(
            fmt::format("{{apiVersion: v1, kind: Pod, metadata: {{name: {}, namespace: shop, "
                        "labels: {}}}, {}}}",
                        name, labels, rest));
    }
    void ready_pod(std::string_view name, std::string_view ip) {
        pod(name, fmt::format("status: {{phase: Running, conditions: [{{type: Ready, status: "
                              "'True'}}], podIPs: [{{ip: '{}'}}]}}",
                              ip));
    }
    void web(std::string_view spec) {
        put(fmt::format(
            "{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: shop}}, "
            "spec: {}}}",
            spec));
    }
    std::vector<std::string> slices(std::string_view service = "web") {
        std::vector<std::string> out;
        for (const auto* slice : store_.slices_of({"shop", service}))
            out.push_back(show(*slice));
        std::ranges::sort(out);
        return out;
    }

    TextPool pool_;
    Store store_;
    SourceId source_ = store_.add_source(0, "test");
    EndpointController controller_{store_};
    NameSet touched_;
};

constexpr std::string_view kPlain =
    "{clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80}]}";

// All of these: "EndpointSlice controller rules".
TEST_F(ControllerTest, PodsThatMatchBecomeEndpoints) {
    web(kPlain);
    EXPECT_THAT(slices(), ElementsAre());
    ready_pod("web-2", "10.0.0.2");
    ready_pod("web-1", "10.0.0.1");
    pod("api-1", "status: {podIP: 10.0.0.3}", "{app: api}");
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [web-1@10.0.0.1 rs-] [web-2@10.0.0.2 rs-]"));
    const auto* slice = store_.slices_of({"shop", "web"})[0];
    EXPECT_EQ(slice->meta.labels.get("kubernetes.io/service-name"), "web");
    EXPECT_EQ(slice->meta.labels.get("endpointslice.kubernetes.io/managed-by"), "weir-agent");
}

TEST_F(ControllerTest, PodsOfOtherNamespacesDoNotMatch) {
    web(kPlain);
    put("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: other, labels: {app: web}}, "
        "status: {podIP: 10.0.0.1}}");
    EXPECT_THAT(slices(), ElementsAre());
}

TEST_F(ControllerTest, ConditionsFollowReadinessAndDeletion) {
    web(kPlain);
    pod("not-ready", "status: {phase: Running, podIP: 10.0.0.1}");
    ready_pod("ready", "10.0.0.2");
    put("{apiVersion: v1, kind: Pod, metadata: {name: going, namespace: shop, labels: {app: web}, "
        "deletionTimestamp: '2024-01-01T00:00:00Z'}, status: {podIP: 10.0.0.3, "
        "conditions: [{type: Ready, status: 'True'}]}}");
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [going@10.0.0.3 -st] [not-ready@10.0.0.1 ---] "
                                      "[ready@10.0.0.2 rs-]"));
    web("{clusterIP: 10.96.0.1, publishNotReadyAddresses: true, selector: {app: web}, "
        "ports: [{port: 80}]}");
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [going@10.0.0.3 rst] [not-ready@10.0.0.1 r--] "
                                      "[ready@10.0.0.2 rs-]"));
}

TEST_F(ControllerTest, FinishedPodsAndPodsWithoutAddressAreLeftOutAlways) {
    web("{clusterIP: 10.96.0.1, publishNotReadyAddresses: true, selector: {app: web}, "
        "ports: [{port: 80}]}");
    pod("done", "status: {phase: Succeeded, podIP: 10.0.0.1}");
    pod("evicted", "status: {phase: Failed, podIP: 10.0.0.2}");
    pod("early", "status: {phase: Pending}");
    EXPECT_THAT(slices(), ElementsAre());
}

TEST_F(ControllerTest, NamedPortsAreResolvedPodByPod) {
    web("{clusterIP: 10.96.0.1, selector: {app: web}, ports: ["
        "{name: a, port: 80, targetPort: http}, {name: b, port: 53, protocol: UDP, targetPort: "
        "53}]}");
    const auto with_port = [&](std::string_view name, std::string_view port, int last) {
        pod(name,
            fmt::format("spec: {{containers: [{{ports: [{}]}}]}}, status: {{podIP: 10.0.0.{}}}",
                        port, last));
    };
    with_port("p1", "{name: http, containerPort: 8080}", 1);
    with_port("p2", "{name: http, containerPort: 9090}", 2);
    with_port("p3", "{name: http, containerPort: 8080}", 3);
    with_port("p4", "{name: http, containerPort: 8080, protocol: UDP}", 4);
    EXPECT_THAT(slices(), ElementsAre("4 a:TCP/8080 b:UDP/53 [p1@10.0.0.1 ---] [p3@10.0.0.3 ---]",
                                      "4 a:TCP/9090 b:UDP/53 [p2@10.0.0.2 ---]",
                                      "4 b:UDP/53 [p4@10.0.0.4 ---]"));
    with_port("p2", "{name: http, containerPort: 8080}", 2);
    EXPECT_EQ(slices().size(), 2U);
}

TEST_F(ControllerTest, FamiliesFollowTheService) {
    const auto dual_pod = [&](std::string_view name, int last) {
        pod(name,
            fmt::format("status: {{podIPs: [{{ip: 10.0.0.{0}}}, {{ip: 'fd00::{0}'}}]}}", last));
    };
    dual_pod("p1", 1);
    web(kPlain);
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [p1@10.0.0.1 ---]"));
    web("{clusterIPs: ['fd00:96::1', 10.96.0.1], selector: {app: web}, ports: [{port: 80}]}");
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [p1@10.0.0.1 ---]", "6 :TCP/80 [p1@fd00::1 ---]"));
    web("{ipFamilies: [IPv6], selector: {app: web}, ports: [{port: 80}]}");
    EXPECT_THAT(slices(), ElementsAre("6 :TCP/80 [p1@fd00::1 ---]"));
    web("{clusterIP: None, selector: {app: web}}");
    EXPECT_THAT(slices(), ElementsAre("4 [p1@10.0.0.1 ---]", "6 [p1@fd00::1 ---]"));
    EXPECT_TRUE(store_.slices_of({"shop", "web"})[0]->meta.labels.contains(
        "service.kubernetes.io/headless"));
}

TEST_F(ControllerTest, ServicesWithoutSelectorOrByNameHaveNone) {
    ready_pod("p1", "10.0.0.1");
    web("{clusterIP: 10.96.0.1, ports: [{port: 80}]}");
    EXPECT_THAT(slices(), ElementsAre());
    web("{type: ExternalName, externalName: a.example, selector: {app: web}}");
    EXPECT_THAT(slices(), ElementsAre());
    web(kPlain);
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [p1@10.0.0.1 rs-]"));
}

TEST_F(ControllerTest, ASliceFromElsewhereTurnsItOffAndItsRemovalOn) {
    web(kPlain);
    ready_pod("p1", "10.0.0.1");
    put("{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: "
        "{name: by-hand, namespace: shop, labels: {kubernetes.io/service-name: web}}, "
        "ports: [{port: 8080}], endpoints: [{addresses: [192.0.2.1]}]}");
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/8080 [@192.0.2.1 rs-]"));
    ready_pod("p2", "10.0.0.2");
    EXPECT_EQ(slices().size(), 1U);
    EXPECT_TRUE(touched_.empty());
    withdraw(Kind::kEndpointSlice, "by-hand");
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [p1@10.0.0.1 rs-] [p2@10.0.0.2 rs-]"));
}

TEST_F(ControllerTest, LabelsAndSelectorsMayChange) {
    web(kPlain);
    pod("p1", "status: {podIP: 10.0.0.1}");
    pod("p2", "status: {podIP: 10.0.0.2}", "{app: api}");
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [p1@10.0.0.1 ---]"));
    pod("p1", "status: {podIP: 10.0.0.1}", "{app: api}");
    EXPECT_THAT(slices(), ElementsAre());
    web("{clusterIP: 10.96.0.1, selector: {app: api}, ports: [{port: 80}]}");
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [p1@10.0.0.1 ---] [p2@10.0.0.2 ---]"));
    withdraw(Kind::kPod, "p1");
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [p2@10.0.0.2 ---]"));
    withdraw(Kind::kService, "web");
    EXPECT_THAT(slices(), ElementsAre());
    EXPECT_EQ(store_.count<model::EndpointSlice>(), 0U);
}

TEST_F(ControllerTest, OnlyTheServicesConcernedAreTouched) {
    web(kPlain);
    put("{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, "
        "spec: {selector: {app: api}, ports: [{port: 80}]}}");
    ready_pod("p1", "10.0.0.1");
    EXPECT_EQ(touched_, (NameSet{{"shop", "web"}}));
    ready_pod("p1", "10.0.0.1");
    EXPECT_TRUE(touched_.empty());
    pod("p1", "status: {podIP: 10.0.0.9}", "{app: api}");
    EXPECT_EQ(touched_, (NameSet{{"shop", "api"}, {"shop", "web"}}));
    pod("p1", "status: {podIP: 10.0.0.9}", "{app: api, note: new}");
    EXPECT_TRUE(touched_.empty()) << "labels that no selector names";
}

TEST_F(ControllerTest, ZonesAndHintsComeFromTheNode) {
    web("{clusterIP: 10.96.0.1, selector: {app: web}, trafficDistribution: PreferSameNode, "
        "ports: [{port: 80}]}");
    put("{apiVersion: v1, kind: Pod, metadata: {name: p1, namespace: shop, labels: {app: web}}, "
        "spec: {nodeName: node-1}, status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: "
        "'True'}]}}");
    const auto endpoint = [&] { return store_.slices_of({"shop", "web"})[0]->endpoints[0]; };
    EXPECT_EQ(endpoint().node_name, "node-1");
    EXPECT_EQ(endpoint().zone, "");
    EXPECT_THAT(endpoint().node_hints, ElementsAre(model::Text("node-1")));
    EXPECT_TRUE(endpoint().zone_hints.empty());
    put("{apiVersion: v1, kind: Node, metadata: {name: node-1, labels: "
        "{topology.kubernetes.io/zone: "
        "a}}}");
    EXPECT_EQ(endpoint().zone, "a");
    EXPECT_THAT(endpoint().zone_hints, ElementsAre(model::Text("a")));
    store_.withdraw(source_, {Kind::kNode, {"", "node-1"}});
    run();
    EXPECT_EQ(endpoint().zone, "");
}

TEST_F(ControllerTest, HostNetworkPodsServeAtTheNodesAddresses) {
    web(kPlain);
    pod("p1", "spec: {hostNetwork: true}, status: {phase: Running, hostIP: 192.0.2.1}");
    pod("p2", "spec: {hostNetwork: true}, status: {phase: Running, podIPs: [{ip: 192.0.2.1}]}");
    EXPECT_THAT(slices(), ElementsAre("4 :TCP/80 [p1@192.0.2.1 ---] [p2@192.0.2.1 ---]"));
}

}  // namespace
}  // namespace weir::kube
