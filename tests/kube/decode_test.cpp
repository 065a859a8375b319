// SPDX-License-Identifier: Apache-2.0
#include "kube/decode.h"

#include <gtest/gtest.h>

namespace weir::kube {
namespace {

template <typename T>
T decode_one(std::string_view text) {
    TextPool pool;
    DecodedFile file = decode(text, pool);
    for (const auto& problem : file.problems)
        ADD_FAILURE() << problem.to_string();
    if (file.objects.size() != 1 || !std::holds_alternative<T>(file.objects[0].object)) {
        ADD_FAILURE() << "not one object of the kind";
        return {};
    }
    return std::get<T>(file.objects[0].object);
}

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value();
}
IpPrefix cidr(std::string_view text) {
    return IpPrefix::parse(text).value();
}

// "Service to per-family ServicePort": defaults.
TEST(DecodeService, AppliesTheDefaults) {
    const auto service = decode_one<model::Service>(R"(
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
)");
    EXPECT_EQ(service.meta.name, (model::ObjectName{"default", "web"}));
    EXPECT_EQ(service.type, model::ServiceType::kClusterIp);
    ASSERT_EQ(service.ports.size(), 1U);
    EXPECT_EQ(service.ports[0].name, "");
    EXPECT_EQ(service.ports[0].protocol, model::Protocol::kTcp);
    EXPECT_EQ(service.ports[0].target, (model::PortRef{80, ""}));
    EXPECT_EQ(service.ports[0].node_port, 0);
    EXPECT_EQ(service.internal_policy, model::TrafficPolicy::kCluster);
    EXPECT_EQ(service.external_policy, model::TrafficPolicy::kCluster);
    EXPECT_FALSE(service.affinity_seconds.has_value());
    EXPECT_FALSE(service.selector.has_value());
    EXPECT_EQ(service.families, std::vector{Family::kIpv4});
    EXPECT_EQ(service.distribution, model::TrafficDistribution::kAny);
}

TEST(DecodeService, ReadsEveryField) {
    const auto service = decode_one<model::Service>(R"(
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  uid: 6a1b
  creationTimestamp: 2024-05-01T10:00:00Z
  deletionTimestamp: 2024-05-02T10:00:00Z
  labels: {app: web}
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{"a": 1}'
    example.com/note: text of any kind
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, "fd00::1"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: PreferDualStack
  externalIPs: [198.51.100.7]
  loadBalancerSourceRanges: [10.0.0.0/8, "2001:db8::1/32"]
  sessionAffinity: ClientIP
  internalTrafficPolicy: Local
  externalTrafficPolicy: Local
  healthCheckNodePort: 31000
  publishNotReadyAddresses: true
  trafficDistribution: PreferClose
  selector: {app: web, tier: "1"}
  ports:
    - {name: http, port: 80, targetPort: http, nodePort: 30080, appProtocol: h2c}
    - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
  fieldOfTheFuture: {a: [1]}
status:
  loadBalancer:
    ingress: [{ip: 203.0.113.1}, {ip: 203.0.113.2, ipMode: Proxy}, {hostname: lb.example.com}]
)");
    EXPECT_EQ(service.meta.uid, "6a1b");
    EXPECT_EQ(service.meta.created, "2024-05-01T10:00:00Z");
    EXPECT_TRUE(service.meta.deleting);
    EXPECT_EQ(service.meta.annotations, (model::Labels{{"example.com/note", "text of any kind"}}));
    EXPECT_EQ(service.type, model::ServiceType::kLoadBalancer);
    EXPECT_EQ(service.cluster_ips, (std::vector{ip("10.96.0.1"), ip("fd00::1")}));
    EXPECT_EQ(service.families, (std::vector{Family::kIpv4, Family::kIpv6}));
    EXPECT_EQ(service.source_ranges, (std::vector{cidr("10.0.0.0/8"), cidr("2001:db8::/32")}));
    EXPECT_EQ(service.affinity_seconds, 10800U);
    EXPECT_EQ(service.health_check_node_port, 31000);
    EXPECT_TRUE(service.publish_not_ready);
    EXPECT_EQ(service.distribution, model::TrafficDistribution::kSameZone);
    EXPECT_EQ(service.selector, (model::Labels{{"tier", "1"}, {"app", "web"}}));
    ASSERT_EQ(service.ports.size(), 2U);
    EXPECT_EQ(service.ports[0].target, (model::PortRef{0, "http"}));
    EXPECT_EQ(service.ports[0].node_port, 30080);
    EXPECT_EQ(service.ports[1].target, (model::PortRef{5353, ""}));
    ASSERT_EQ(service.ingress.size(), 2U);
    EXPECT_FALSE(service.ingress[0].proxy_mode);
    EXPECT_TRUE(service.ingress[1].proxy_mode);
}

// "Service to per-family ServicePort": leading zeros are decimal.
TEST(DecodeService, ReadsLegacyAddressesAsDecimal) {
    const auto service = decode_one<model::Service>(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, "
        "spec: {clusterIP: 011.0.0.010, ports: [{port: 1}]}}");
    EXPECT_EQ(service.cluster_ips, std::vector{ip("11.0.0.10")});
}

TEST(DecodeService, HeadlessAndExternalNameNeedNoPorts) {
    const auto headless = decode_one<model::Service>(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: None}}");
    EXPECT_TRUE(headless.headless);
    EXPECT_TRUE(headless.cluster_ips.empty());
    EXPECT_TRUE(headless.families.empty());
    const auto named = decode_one<model::Service>(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, "
        "spec: {type: ExternalName, externalName: example.com}}");
    EXPECT_EQ(named.type, model::ServiceType::kExternalName);
}

TEST(DecodeService, AnEmptySelectorIsNone) {
    const auto service = decode_one<model::Service>(
        "{apiVersion: v1, kind: Service, metadata: {name: a}, "
        "spec: {selector: {}, ports: [{port: 1, targetPort: 0, nodePort: 0}]}}");
    EXPECT_FALSE(service.selector.has_value());
    EXPECT_EQ(service.ports[0].target.number, 1);
}

// "EndpointSlice ingestion": nil conditions, protocol, names, addresses[0], ports without a number.
TEST(DecodeSlice, AppliesTheDefaults) {
    const auto slice = decode_one<model::EndpointSlice>(R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 80}, {name: all}]
endpoints:
  - {addresses: [10.0.0.1, 10.0.0.2]}
  - addresses: [10.0.0.3]
    conditions: {ready: false, serving: null, terminating: true}
    nodeName: node-1
    zone: a
    hints: {forZones: [{name: a}, {name: b}], forNodes: [{name: node-1}]}
    targetRef: {kind: Pod, name: web-1}
  - {addresses: [10.0.0.4], targetRef: {kind: Node, name: n}}
)");
    EXPECT_EQ(slice.service, (model::ObjectName{"shop", "web"}));
    EXPECT_EQ(slice.family, Family::kIpv4);
    ASSERT_EQ(slice.ports.size(), 1U);
    EXPECT_EQ(slice.ports[0], (model::EndpointPort{"", model::Protocol::kTcp, 80}));
    ASSERT_EQ(slice.endpoints.size(), 3U);
    model::Endpoint plain;
    plain.address = ip("10.0.0.1");
    EXPECT_EQ(slice.endpoints[0], plain);
    EXPECT_TRUE(plain.ready && plain.serving && !plain.terminating);
    const auto& full = slice.endpoints[1];
    EXPECT_TRUE(!full.ready && full.serving && full.terminating);
    EXPECT_EQ(full.zone_hints, (std::vector<model::Text>{"a", "b"}));
    EXPECT_EQ(full.node_hints, (std::vector<model::Text>{"node-1"}));
    EXPECT_EQ(full.target, (model::ObjectName{"shop", "web-1"}));
    EXPECT_EQ(slice.endpoints[2].target, model::ObjectName());
}

TEST(DecodeSlice, OfNamesIsLeftOut) {
    TextPool pool;
    const auto file = decode(
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, "
        "addressType: FQDN, endpoints: [{addresses: [example.com]}]}",
        pool);
    EXPECT_TRUE(file.objects.empty());
    EXPECT_TRUE(file.problems.empty());
}

TEST(DecodePod, ReadsWhatEndpointsNeed) {
    const auto pod = decode_one<model::Pod>(R"(
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec:
  nodeName: node-1
  initContainers:
    - {name: init, ports: [{name: no, containerPort: 1}]}
    - {name: sidecar, restartPolicy: Always, ports: [{name: side, containerPort: 2}]}
  containers:
    - name: web
      ports: [{name: http, containerPort: 8080}, {containerPort: 53, protocol: UDP, hostPort: 53, hostIP: 192.0.2.1}]
status:
  phase: Running
  conditions: [{type: Initialized, status: "True"}, {type: Ready, status: "True"}]
  podIP: 10.1.0.5
  podIPs: [{ip: 10.1.0.5}, {ip: "fd00::5"}]
)");
    EXPECT_EQ(pod.node_name, "node-1");
    EXPECT_TRUE(pod.ready);
    EXPECT_FALSE(pod.host_network);
    EXPECT_EQ(pod.phase, model::PodPhase::kRunning);
    EXPECT_EQ(pod.ips, (std::vector{ip("10.1.0.5"), ip("fd00::5")}));
    ASSERT_EQ(pod.ports.size(), 3U);
    EXPECT_EQ(pod.ports[0].name, "http");
    EXPECT_EQ(pod.ports[1].host_ip, ip("192.0.2.1"));
    EXPECT_EQ(pod.ports[2].name, "side");
}

TEST(DecodePod, OfTheHostsNetworkHasTheNodesAddresses) {
    const auto pod = decode_one<model::Pod>(
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {hostNetwork: true}, "
        "status: {hostIP: 192.0.2.1, hostIPs: [{ip: 192.0.2.1}, {ip: '2001:db8::1'}]}}");
    EXPECT_EQ(pod.ips, (std::vector{ip("192.0.2.1"), ip("2001:db8::1")}));
    EXPECT_FALSE(pod.ready);
}

TEST(DecodeNode, ReadsRangesAndAddresses) {
    const auto node = decode_one<model::Node>(R"(
apiVersion: v1
kind: Node
metadata: {name: node-1.example.com, labels: {topology.kubernetes.io/zone: a}}
spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24, "fd00:1::/64"]}
status:
  addresses:
    - {type: InternalIP, address: 192.0.2.1}
    - {type: InternalIP, address: "2001:db8::1"}
    - {type: ExternalIP, address: 198.51.100.1}
    - {type: Hostname, address: node-1}
)");
    EXPECT_EQ(node.meta.name, (model::ObjectName{"", "node-1.example.com"}));
    EXPECT_EQ(node.pod_cidrs, (std::vector{cidr("10.1.0.0/24"), cidr("fd00:1::/64")}));
    EXPECT_EQ(node.internal_ips, (std::vector{ip("192.0.2.1"), ip("2001:db8::1")}));
    EXPECT_EQ(node.external_ips, std::vector{ip("198.51.100.1")});
}

TEST(DecodeNamespace, GetsItsNameLabel) {
    const auto ns = decode_one<model::Namespace>(
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {a: b}}}");
    EXPECT_EQ(ns.meta.labels, (model::Labels{{"a", "b"}, {"kubernetes.io/metadata.name", "shop"}}));
}

// "NetworkPolicy, selection and isolation": defaulting of policyTypes.
TEST(DecodePolicy, DefaultsItsTypes) {
    const struct {
        const char* spec;
        bool ingress;
        bool egress;
    } cases[] = {
        {"{podSelector: {}}", true, false},
        {"{}", true, false},
        {"{egress: []}", true, false},
        {"{egress: [{}]}", true, true},
        {"{policyTypes: [Egress], egress: [{}]}", false, true},
        {"{policyTypes: [Egress], ingress: [{}]}", false, true},
        {"{policyTypes: [Ingress, Egress]}", true, true},
    };
    for (const auto& c : cases) {
        const auto policy = decode_one<model::NetworkPolicy>(
            fmt::format("{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, "
                        "metadata: {{name: a}}, spec: {}}}",
                        c.spec));
        EXPECT_EQ(policy.ingress, c.ingress) << c.spec;
        EXPECT_EQ(policy.egress, c.egress) << c.spec;
    }
}

// "Rule and peer truth table": a selector that is absent differs from an empty one.
TEST(DecodePolicy, KeepsAbsentAndEmptyApart) {
    const auto policy = decode_one<model::NetworkPolicy>(R"(
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: a, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}, matchExpressions: [{key: tier, operator: NotIn, values: [x, z]}]}
  ingress:
    - {}
    - from: [{podSelector: {}}, {namespaceSelector: {}}, {ipBlock: {cidr: 10.0.0.5/8, except: [10.1.0.0/16]}}]
      ports: [{port: 5432}, {port: pg, protocol: UDP}, {protocol: SCTP}, {port: 10, endPort: 20}]
)");
    EXPECT_EQ(policy.subjects.requirements.size(), 2U);
    ASSERT_EQ(policy.ingress_rules.size(), 2U);
    EXPECT_TRUE(policy.ingress_rules[0].peers.empty() && policy.ingress_rules[0].ports.empty());
    const auto& peers = policy.ingress_rules[1].peers;
    ASSERT_EQ(peers.size(), 3U);
    EXPECT_TRUE(peers[0].pods && !peers[0].namespaces && !peers[0].block);
    EXPECT_TRUE(!peers[1].pods && peers[1].namespaces);
    EXPECT_EQ(peers[2].block, cidr("10.0.0.0/8"));
    EXPECT_EQ(peers[2].except, std::vector{cidr("10.1.0.0/16")});
    const auto& ports = policy.ingress_rules[1].ports;
    ASSERT_EQ(ports.size(), 4U);
    EXPECT_EQ(ports[0].protocol, model::Protocol::kTcp);
    EXPECT_EQ(ports[1].port, (model::PortRef{0, "pg"}));
    EXPECT_FALSE(ports[2].port.has_value());
    EXPECT_EQ(ports[3].end_port, 20);
}

constexpr std::string_view kPodListJson = R"({
  "kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
  "items": [
    {"metadata": {"name": "a"}},
    {"metadata": {"name": "b", "labels": {"note": 5}}},
    {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "c"}}
  ]
})";

TEST(Decode, ListsOfOneKindGiveItToTheirItems) {
    TextPool pool;
    const auto file = decode(kPodListJson, pool);
    ASSERT_EQ(file.objects.size(), 2U);
    EXPECT_EQ(key_of(file.objects[1].object).to_string(), "Pod default/c");
    EXPECT_EQ(file.objects[1].line, 6U);
    ASSERT_EQ(file.problems.size(), 1U);
    EXPECT_EQ(file.problems[0].to_string(),
              ":5: Pod default/b: metadata.labels.note: must be a string, and 5 without quotes is "
              "a number; write \"5\"");
    ASSERT_EQ(file.bad.size(), 1U);
    EXPECT_FALSE(file.unidentified);
}

TEST(Decode, MixedListsAndDocuments) {
    TextPool pool;
    const auto file = decode(R"(
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
  - apiVersion: v1
    kind: Service
    metadata: {name: web, namespace: shop}
    spec: {ports: [{port: 80}]}
  - {metadata: {name: lost}}
---
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "json", "namespace": "shop"}}
---
apiVersion: v1
kind: Pod
metadata: {name: broken
---
apiVersion: v1
kind: NetworkPolicyList
items: []
)",
                             pool);
    ASSERT_EQ(file.objects.size(), 3U);
    EXPECT_EQ(key_of(file.objects[2].object).to_string(), "Pod shop/json");
    EXPECT_TRUE(file.unidentified);
    ASSERT_EQ(file.problems.size(), 3U);
    EXPECT_EQ(file.problems[0].path, "apiVersion");
    EXPECT_EQ(file.problems[0].line, 10U);
}

TEST(Decode, ReportsTheFirstMistakesAndCountsTheRest) {
    std::string text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:\n";
    for (int i = 0; i < 30; ++i)
        text += fmt::format("  - {{name: p{}, port: 0}}\n", i);
    TextPool pool;
    const auto file = decode(text, pool);
    ASSERT_EQ(file.problems.size(), 10U);
    EXPECT_EQ(file.problems[9].message, "0 is not within 1 to 65535 (and 20 more mistakes)");
}

TEST(Decode, SharesEqualTexts) {
    TextPool pool;
    const auto file = decode(
        "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: shop}, spec: {nodeName: "
        "node-1}}\n---\n"
        "{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: shop}, spec: {nodeName: "
        "node-1}}\n",
        pool);
    ASSERT_EQ(file.objects.size(), 2U);
    const auto& a = std::get<model::Pod>(file.objects[0].object);
    const auto& b = std::get<model::Pod>(file.objects[1].object);
    EXPECT_EQ(a.meta.name.ns.c_str(), b.meta.name.ns.c_str());
    EXPECT_EQ(a.node_name.c_str(), b.node_name.c_str());
}

TEST(TextPool, ForgetsWhatNobodyHolds) {
    TextPool pool;
    for (int i = 0; i < 100000; ++i)
        (void)pool.intern(std::to_string(i));
    EXPECT_LE(pool.size(), 2048U);
}

}  // namespace
}  // namespace weir::kube
