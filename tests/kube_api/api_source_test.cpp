// SPDX-License-Identifier: Apache-2.0
// The source against a real API server and etcd, and between them a proxy for bad days.
#include "kube/api/api_source.h"

#include <cstdio>
#include <fstream>

#include <gmock/gmock.h>

#include "kube/api/fetch.h"
#include "kube/decode.h"
#include "kube_api/source_test.h"

namespace weir::kube::api {
namespace {

using namespace std::chrono_literals;
using test::ControlPlane;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

/// What the server says, read by the decoder of files out of its JSON: the second opinion.
std::vector<Object> by_json(const ControlPlane& plane, const std::string& resource) {
    TextPool pool;
    const auto file = decode(plane.kubectl({"get", resource, "-A", "-o", "json"}), pool);
    EXPECT_TRUE(file.problems.empty()) << file.problems.front().to_string();
    std::vector<Object> objects;
    for (const auto& decoded : file.objects)
        objects.push_back(decoded.object);
    return objects;
}

TEST_F(ApiSourceTest, ReadsEveryKindAsItsJsonSaysAndFollowsChanges) {
    plane_->apply(kObjects);
    open(plane_->kubeconfig("admin"));
    ASSERT_TRUE(until([&] { return all_synced(); })) << troubles();

    const auto same = [&]<typename T>(std::type_identity<T>, const std::string& resource) {
        size_t seen = 0;
        for (auto& object : by_json(*plane_, resource)) {
            T wanted = std::get<T>(object);
            if (wanted.meta.labels.contains("service.kubernetes.io/headless")) continue;
            if constexpr (std::is_same_v<T, model::Pod> || std::is_same_v<T, model::Node>) {
                wanted.meta.annotations = {};
            }
            const T* got = store_.find<T>(wanted.meta.name);
            ASSERT_NE(got, nullptr) << wanted.meta.name.to_string();
            EXPECT_EQ(*got, wanted) << wanted.meta.name.to_string();
            ++seen;
        }
        EXPECT_GT(seen, 0U) << resource;
        EXPECT_EQ(store_.count<T>(), seen) << resource;
    };
    same(std::type_identity<model::Node>(), "nodes");
    same(std::type_identity<model::Namespace>(), "namespaces");
    same(std::type_identity<model::Pod>(), "pods");
    same(std::type_identity<model::Service>(), "services");
    same(std::type_identity<model::EndpointSlice>(), "endpointslices");
    same(std::type_identity<model::NetworkPolicy>(), "networkpolicies");
    same(std::type_identity<model::ServiceCidr>(), "servicecidrs");

    // Labels that the selector names bring and take an object.
    plane_->kubectl({"-n", "shop", "label", "service", "web",
                     "service.kubernetes.io/service-proxy-name=other"});
    EXPECT_TRUE(until([&] { return find<model::Service>("shop", "web") == nullptr; }));
    plane_->kubectl(
        {"-n", "shop", "label", "service", "web", "service.kubernetes.io/service-proxy-name-"});
    EXPECT_TRUE(until([&] { return find<model::Service>("shop", "web") != nullptr; }));
    plane_->kubectl({"-n", "shop", "delete", "networkpolicy", "only-web"});
    EXPECT_TRUE(until([&] { return store_.count<model::NetworkPolicy>() == 0; }));
    EXPECT_EQ(state(Kind::kService).lists, 1U) << "one list, then a watch";
    EXPECT_EQ(state(Kind::kService).streamed, 1U);
    EXPECT_EQ(state(Kind::kService).failures, 0U);
}

TEST_F(ApiSourceTest, AnOutageChangesNothingAndItsDeletionsAreSeenAfter) {
    plane_->apply(kObjects);
    open_through_proxy();
    ASSERT_TRUE(until([&] { return all_synced(); })) << troubles();
    const size_t services = store_.count<model::Service>();

    proxy_->set({R"({"kind": "refuse"})"});
    ASSERT_TRUE(until([&] { return !state(Kind::kService).connected; }));
    plane_->kubectl({"-n", "shop", "delete", "service", "web"});
    plane_->kubectl({"-n", "shop", "delete", "endpointslice", "web-1"});
    EXPECT_FALSE(until([&] { return store_.count<model::Service>() != services; }, 3s));
    EXPECT_THAT(state(Kind::kService).error, testing::Not(testing::IsEmpty()));
    EXPECT_TRUE(source_->synced(Kind::kService)) << "what was read stays";

    proxy_->set({});
    const auto back = Clock::now();
    EXPECT_TRUE(until([&] {
        return find<model::Service>("shop", "web") == nullptr &&
               find<model::EndpointSlice>("shop", "web-1") == nullptr;
    }));
    const std::chrono::duration<double> took = Clock::now() - back;
    RecordProperty("seconds_to_recover", std::to_string(took.count()));
    std::printf("recovered %.2f s after the server was back\n", took.count());
    EXPECT_EQ(state(Kind::kService).lists, 1U) << "resumed, not listed anew";

    // A server that starts anew has no history to resume from.
    plane_->kill_server();
    plane_->start_server();
    plane_->kubectl({"create", "namespace", "after"});
    EXPECT_TRUE(until([&] { return find<model::Namespace>("", "after") != nullptr; }))
        << troubles();
    EXPECT_EQ(store_.count<model::Node>(), 1U);
}

TEST_F(ApiSourceTest, AKindThatIsForbiddenBlocksOnlyItself) {
    plane_->apply(R"(
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: most}
rules:
- {apiGroups: [""], resources: [nodes, namespaces, pods, services], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
- {apiGroups: [networking.k8s.io], resources: [servicecidrs], verbs: [list, watch]}
- {apiGroups: [policy.networking.k8s.io], resources: [clusternetworkpolicies], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: most}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: most}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: limited}]
)");
    open(plane_->kubeconfig("limited"));
    ASSERT_TRUE(until([&] {
        return source_->synced(Kind::kService) && source_->synced(Kind::kEndpointSlice) &&
               source_->synced(Kind::kServiceCidr) && !state(Kind::kNetworkPolicy).error.empty();
    })) << troubles();
    EXPECT_FALSE(source_->synced(Kind::kNetworkPolicy));
    EXPECT_THAT(state(Kind::kNetworkPolicy).error,
                HasSubstr("403 Forbidden: networkpolicies.networking.k8s.io is forbidden"));
    plane_->kubectl({"create", "clusterrole", "rest", "--verb=list,watch",
                     "--resource=networkpolicies.networking.k8s.io"});
    plane_->kubectl(
        {"create", "clusterrolebinding", "rest", "--clusterrole=rest", "--user=limited"});
    EXPECT_TRUE(until([&] { return all_synced(); })) << troubles();
}

// What the server keeps of one by the chart's schema is all that there is to read.
TEST_F(ApiSourceTest, ClusterPoliciesOfTheChartsKindAreReadWhole) {
    plane_->make_kinds();
    plane_->apply(R"(
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: all}
spec:
  tier: Baseline
  priority: 7
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}
  ingress:
  - name: first
    action: Pass
    from:
    - namespaces: {matchExpressions: [{key: team, operator: NotIn, values: [a, b]}]}
    protocols:
    - tcp: {destinationPort: {number: 80}}
    - sctp: {destinationPort: {range: {start: 1000, end: 2000}}}
    - udp: {}
    - destinationNamedPort: metrics
  egress:
  - action: Deny
    to: [{networks: [10.0.0.0/8, "fd00::/8"]}, {nodes: {}}, {domainNames: [example.com]}]
)");
    open(plane_->kubeconfig("admin"));
    ASSERT_TRUE(until([&] { return store_.count<model::ClusterNetworkPolicy>() == 1; }))
        << troubles();
    const auto& policy = *find<model::ClusterNetworkPolicy>("", "all");
    EXPECT_EQ(policy.tier, model::PolicyTier::kBaseline);
    EXPECT_EQ(policy.priority, 7);
    EXPECT_EQ(policy.subject.pods.requirements.size(), 1U);
    ASSERT_EQ(policy.ingress_rules.size(), 1U);
    const auto& rule = policy.ingress_rules[0];
    EXPECT_EQ(rule.name.view(), "first");
    EXPECT_EQ(rule.action, model::PolicyAction::kPass);
    EXPECT_EQ(rule.peers.at(0).namespaces.requirements.at(0).values.size(), 2U);
    ASSERT_EQ(rule.ports.size(), 4U);
    EXPECT_EQ(rule.ports[1].last, 2000);
    EXPECT_EQ(rule.ports[2].protocol, model::Protocol::kUdp);
    EXPECT_EQ(rule.ports[3].name.view(), "metrics");
    ASSERT_EQ(policy.egress_rules.size(), 1U);
    using Peer = model::ClusterPolicyPeer;
    const auto& peers = policy.egress_rules[0].peers;
    ASSERT_EQ(peers.size(), 3U);
    EXPECT_EQ(peers[0].networks.size(), 2U);
    EXPECT_EQ(peers[1].kind, Peer::Kind::kNodes);
    EXPECT_EQ(peers[2].kind, Peer::Kind::kUnsupported) << "and what it stands for is not lost";
}

TEST_F(ApiSourceTest, AKindThatTheClusterLacksIsNoticedWhenItComes) {
    open_through_proxy(
        {R"({"kind": "status", "match": "servicecidrs", "code": 404, "body": "404 page not found"})",
         R"({"kind": "status", "match": "/apis/networking.k8s.io/v1", "code": 404, "body": "404 page not found"})"});
    ASSERT_TRUE(until([&] { return source_->synced(Kind::kServiceCidr); })) << troubles();
    EXPECT_TRUE(state(Kind::kServiceCidr).absent);
    EXPECT_FALSE(source_->synced(Kind::kNetworkPolicy))
        << "a kind that must be there is never absent";
    proxy_->set({});
    EXPECT_TRUE(until([&] { return store_.count<model::ServiceCidr>() == 1; }, 90s)) << troubles();
    EXPECT_FALSE(state(Kind::kServiceCidr).absent);
}

// A kind that a CustomResourceDefinition brings is one entry of the table.
TEST_F(ApiSourceTest, AKindOfACustomResourceComesAndGoes) {
    constexpr std::string_view kDefinition = R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicecidrs.test.weir.io}
spec:
  group: test.weir.io
  scope: Cluster
  names: {kind: ServiceCIDR, plural: servicecidrs}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
)";
    const auto object = [](const char* name, const char* range) {
        return fmt::format(
            "apiVersion: test.weir.io/v1\nkind: ServiceCIDR\n"
            "metadata: {{name: {}}}\nspec: {{cidrs: [{}]}}\n",
            name, range);
    };
    const auto wait_for_definition = [this] {
        plane_->kubectl({"wait", "--for=condition=Established", "--timeout=30s",
                         "crd/servicecidrs.test.weir.io"});
    };
    auto resources = kResources;
    resources[static_cast<size_t>(Kind::kServiceCidr)] = {
        Kind::kServiceCidr, "/apis/test.weir.io/v1", "servicecidrs", "", Encoding::kJson, true};
    auto source =
        ApiSource::open(store_, kubeconfig_access(plane_->kubeconfig("admin")).value(), resources);
    ASSERT_TRUE(source);
    source_ = *std::move(source);
    ASSERT_TRUE(until([&] { return all_synced(); })) << troubles();
    EXPECT_TRUE(state(Kind::kServiceCidr).absent);
    EXPECT_EQ(state(Kind::kServiceCidr).error, "") << "an absent kind is no error";

    plane_->apply(kDefinition);
    wait_for_definition();
    plane_->apply(object("one", "10.1.0.0/16"));
    const auto begin = Clock::now();
    ASSERT_TRUE(until([&] { return find<model::ServiceCidr>("", "one") != nullptr; }, 60s))
        << troubles();
    std::printf("a kind was found %.1f s after it came\n",
                std::chrono::duration<double>(Clock::now() - begin).count());
    EXPECT_FALSE(state(Kind::kServiceCidr).absent);
    plane_->apply(object("two", "10.2.0.0/16"));
    plane_->apply(object("one", "10.3.0.0/16"));
    EXPECT_TRUE(until([&] {
        const auto* one = find<model::ServiceCidr>("", "one");
        return one->cidrs == std::vector{IpPrefix::parse("10.3.0.0/16").value()} &&
               find<model::ServiceCidr>("", "two") != nullptr;
    }));
    plane_->apply(object("two", "nonsense"));
    EXPECT_TRUE(until([&] { return source_->refused().size() == 1; }));
    const auto& refused = source_->refused().begin()->second;
    EXPECT_EQ(refused.problems.front().path, "spec.cidrs[0]");
    EXPECT_EQ(refused.uid, find<model::ServiceCidr>("", "two")->meta.uid.str());
    EXPECT_EQ(state(Kind::kServiceCidr).lists, 2U)
        << "of the absent kind, and of the one that came";

    plane_->kubectl({"delete", "crd", "servicecidrs.test.weir.io"});
    EXPECT_TRUE(until(
        [&] { return store_.count<model::ServiceCidr>() == 0 && state(Kind::kServiceCidr).absent; },
        90s))
        << troubles();
    plane_->apply(kDefinition);
    wait_for_definition();
    plane_->apply(object("again", "10.4.0.0/16"));
    EXPECT_TRUE(until([&] { return find<model::ServiceCidr>("", "again") != nullptr; }, 90s))
        << troubles();
}

TEST_F(ApiSourceTest, ADeadPeerIsFoundWithinHalfAMinute) {
    open(plane_->kubeconfig("admin"));
    ASSERT_TRUE(until([&] { return all_synced(); })) << troubles();
    // Packets vanish both ways, and nobody says that the connection is gone. (What a peer that
    // lives sends again and again, because our answers are lost, would be a sign of life.)
    ASSERT_TRUE(test::run({"nft", "add", "table", "inet", "hole"}).ok());
    ASSERT_TRUE(test::run({"nft", "add", "chain", "inet", "hole", "in",
                           "{ type filter hook input priority 0; }"})
                    .ok());
    for (const char* end : {"sport", "dport"}) {
        ASSERT_TRUE(
            test::run({"nft", "add", "rule", "inet", "hole", "in", "tcp", end, "6443", "drop"})
                .ok());
    }
    const auto begin = Clock::now();
    ASSERT_TRUE(until([&] { return !state(Kind::kService).connected; }, 60s));
    const std::chrono::duration<double> took = Clock::now() - begin;
    std::printf("a dead peer was found after %.1f s\n", took.count());
    EXPECT_LE(took, 30s);
    ASSERT_TRUE(test::run({"nft", "delete", "table", "inet", "hole"}).ok());
    plane_->kubectl({"create", "namespace", "after"});
    EXPECT_TRUE(until([&] { return find<model::Namespace>("", "after") != nullptr; }))
        << troubles();
}

TEST_F(ApiSourceTest, OneObjectIsFetchedByItsPathFromTheServerThatIsThere) {
    plane_->apply(kObjects);
    auto access = kubeconfig_access(plane_->kubeconfig("admin", "system:masters"));
    ASSERT_TRUE(access) << access.error().message();
    ASSERT_TRUE(use_servers(*access, {ControlPlane::url(1), ControlPlane::url()}));
    const auto found = fetch(*access, "/api/v1/namespaces/shop");
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_THAT(*found, HasSubstr(R"("team":"a")"));
    const auto missing = fetch(*access, "/api/v1/namespaces/nosuch");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code(), Errc::kNotFound);

    const auto nobody = kubeconfig_access(plane_->kubeconfig("nobody"));
    ASSERT_TRUE(nobody) << nobody.error().message();
    const auto forbidden = fetch(*nobody, "/api/v1/namespaces/shop");
    ASSERT_FALSE(forbidden);
    EXPECT_EQ(forbidden.error().code(), Errc::kPermission);
}

TEST_F(ApiSourceTest, TokensRotateAndServersAreTriedInTurn) {
    plane_->kubectl({"create", "serviceaccount", "agent"});
    plane_->kubectl({"create", "clusterrolebinding", "agent", "--clusterrole=cluster-admin",
                     "--serviceaccount=default:agent"});
    const std::string token = plane_->kubectl({"create", "token", "agent"});
    Access access;
    access.ca.file = plane_->dir() / "ca.crt";
    access.token.file = plane_->dir() / "token";
    std::ofstream(access.token.file) << "expired";
    // Nobody listens on the first one.
    ASSERT_TRUE(use_servers(access, {"https://127.0.0.1:1", ControlPlane::url()}));
    auto source = ApiSource::open(store_, access);
    ASSERT_TRUE(source);
    source_ = *std::move(source);
    ASSERT_TRUE(until([&] { return state(Kind::kNode).error.starts_with("401"); })) << troubles();
    std::ofstream(access.token.file) << token << "\n";
    EXPECT_TRUE(until([&] { return all_synced(); }, 90s)) << troubles();
}

}  // namespace
}  // namespace weir::kube::api
