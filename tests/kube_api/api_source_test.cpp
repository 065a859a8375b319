// SPDX-License-Identifier: Apache-2.0
// The source against a real API server and etcd, and between them a proxy for bad days.
#include "kube/api/api_source.h"

#include <cstdio>
#include <fstream>

#include <poll.h>

#include <gmock/gmock.h>

#include "kube/api/fetch.h"
#include "kube/api/kubeconfig.h"
#include "kube/decode.h"
#include "kube_api/control_plane.h"

namespace weir::kube::api {
namespace {

using namespace std::chrono_literals;
using test::ControlPlane;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr uint16_t kProxyPort = 7443;

constexpr std::string_view kObjects = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1}}
spec: {podCIDR: 10.244.1.0/24, podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {note: x}}
spec:
  selector: {app: web}
  type: LoadBalancer
  ipFamilyPolicy: PreferDualStack
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 77}}
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [10.0.0.0/8]
  trafficDistribution: PreferClose
  ports:
  - {name: http, port: 80, targetPort: web}
  - {name: dns, port: 53, protocol: UDP, targetPort: 5353, nodePort: 30053}
---
apiVersion: v1
kind: Service
metadata: {name: silent, namespace: shop, labels: {service.kubernetes.io/headless: ""}}
spec: {clusterIP: None, selector: {app: web}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
- addresses: [10.244.1.7]
  conditions: {ready: false, serving: true, terminating: true}
  nodeName: n1
  zone: z1
  hints: {forZones: [{name: z1}]}
  targetRef: {kind: Pod, name: web-0, namespace: shop}
- addresses: [10.244.1.8]
ports: [{name: http, port: 8080, protocol: TCP}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec:
  nodeName: n1
  containers:
  - {name: c, image: x, ports: [{name: web, containerPort: 8080, hostPort: 8081, hostIP: 10.0.0.1}]}
  initContainers:
  - {name: side, image: x, restartPolicy: Always, ports: [{name: side, containerPort: 9090, protocol: UDP}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-web, namespace: shop}
spec:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [web, api]}]}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - {namespaceSelector: {matchLabels: {team: a}}, podSelector: {}}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    ports: [{port: 80, endPort: 90}, {port: web, protocol: UDP}]
)";

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

class ApiSourceTest : public testing::Test {
  protected:
    void SetUp() override {
        if (const std::string missing = ControlPlane::missing(); !missing.empty()) {
            GTEST_SKIP() << missing;
        }
        plane_.emplace();
    }
    void TearDown() override {
        source_.reset();
        proxy_.reset();
        plane_.reset();
    }

    void open(const std::filesystem::path& kubeconfig, const std::vector<std::string>& urls = {}) {
        auto access = kubeconfig_access(kubeconfig);
        ASSERT_TRUE(access) << access.error().message();
        ASSERT_TRUE(use_servers(*access, urls));
        auto source = ApiSource::open(store_, *std::move(access));
        ASSERT_TRUE(source) << source.error().message();
        source_ = *std::move(source);
    }

    void start_proxy() {
        proxy_.emplace(
            std::vector<std::string>{WEIR_FAULT_PROXY, plane_->dir(), std::to_string(kProxyPort),
                                     std::to_string(ControlPlane::kPort)},
            test::Process::Options{{}, plane_->dir() / "proxy.log"});
    }
    void open_through_proxy() {
        faults({});
        start_proxy();
        open(plane_->kubeconfig("admin", "", ControlPlane::url(kProxyPort)));
    }

    void faults(const std::vector<std::string>& lines) const {
        const auto file = plane_->dir() / "faults.json";
        std::ofstream out(file.string() + ".new");
        for (const auto& line : lines)
            out << line << '\n';
        out.close();
        std::filesystem::rename(file.string() + ".new", file);
    }

    /// Drives the store as the agent's loop does, until the condition holds.
    bool until(const std::function<bool()>& condition, std::chrono::milliseconds limit = 60s) {
        const auto deadline = Clock::now() + limit;
        while (!condition()) {
            if (Clock::now() > deadline) return false;
            pollfd poll{.fd = source_->fd(), .events = POLLIN, .revents = 0};
            ::poll(&poll, 1, 20);
            source_->on_readable();
            store_.publish();
        }
        return true;
    }
    bool all_synced() const {
        for (size_t i = 0; i < kKindCount; ++i) {
            if (!source_->synced(static_cast<Kind>(i))) return false;
        }
        return true;
    }
    KindState state(Kind kind) const { return source_->states()[static_cast<size_t>(kind)]; }
    template <typename T>
    const T* find(const char* ns, const char* name) const {
        return store_.find<T>({ns, name});
    }
    std::string troubles() const {
        std::string text;
        for (const auto& state : source_->states())
            text += fmt::format("{}: synced {} connected {} {}\n", to_string(state.kind),
                                state.synced, state.connected, state.error);
        return text;
    }

    std::optional<ControlPlane> plane_;
    std::optional<test::Process> proxy_;
    Store store_;
    std::unique_ptr<ApiSource> source_;
};

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
    EXPECT_EQ(state(Kind::kService).failures, 0U);
}

TEST_F(ApiSourceTest, AnOutageChangesNothingAndItsDeletionsAreSeenAfter) {
    plane_->apply(kObjects);
    open_through_proxy();
    ASSERT_TRUE(until([&] { return all_synced(); })) << troubles();
    const size_t services = store_.count<model::Service>();

    faults({R"({"kind": "refuse"})"});
    ASSERT_TRUE(until([&] { return !state(Kind::kService).connected; }));
    plane_->kubectl({"-n", "shop", "delete", "service", "web"});
    plane_->kubectl({"-n", "shop", "delete", "endpointslice", "web-1"});
    EXPECT_FALSE(until([&] { return store_.count<model::Service>() != services; }, 3s));
    EXPECT_THAT(state(Kind::kService).error, testing::Not(testing::IsEmpty()));
    EXPECT_TRUE(source_->synced(Kind::kService)) << "what was read stays";

    faults({});
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

TEST_F(ApiSourceTest, WhatAServerAnswersOnBadDaysChangesNothing) {
    plane_->apply(kObjects);
    open_through_proxy();
    ASSERT_TRUE(until([&] { return all_synced(); })) << troubles();
    const auto before = *find<model::Service>("shop", "web");
    const std::vector<std::string> bad_days = {
        R"({"kind": "status", "match": "/services", "code": 429, "headers": {"Retry-After": "1"}, "count": 2})",
        R"({"kind": "status", "match": "/services", "code": 500, "body": "<html>", "count": 2})",
        R"({"kind": "status", "match": "/services", "code": 404, "body": "not here", "count": 2})",
        R"({"kind": "status", "match": "/services", "code": 410, "body": "{\"kind\":\"Status\",\"reason\":\"Expired\"}", "count": 1})",
        R"({"kind": "status", "match": "/services", "code": 200, "body": "{\"kind\":\"ServiceList\",\"items\":[]}", "count": 2})",
        R"({"kind": "answer", "match": "/services", "raw": "Z2FyYmFnZQ==", "count": 2})",
        R"({"kind": "corrupt", "match": "/services", "after": 0, "count": 2})",
        R"({"kind": "corrupt", "match": "/services", "after": 300, "count": 2})",
        R"({"kind": "cut", "match": "/services", "after": 3, "count": 2})",
        R"({"kind": "delay", "match": "/services", "seconds": 1, "count": 1})",
    };
    size_t number = 0;
    for (const auto& fault : bad_days) {
        SCOPED_TRACE(fault);
        // Open connections are closed, so that the fault meets the next request.
        faults({R"({"kind": "refuse"})"});
        ASSERT_TRUE(until([&] { return !state(Kind::kService).connected; }));
        faults({fault});
        const std::string name = "new-" + std::to_string(number++);
        plane_->kubectl({"-n", "shop", "create", "service", "clusterip", name, "--tcp=80"});
        ASSERT_TRUE(until([&] {
            const auto* now = find<model::Service>("shop", "web");
            EXPECT_TRUE(now != nullptr && *now == before);
            return find<model::Service>("shop", name.c_str()) != nullptr;
        })) << troubles();
    }
    EXPECT_EQ(store_.count<model::Service>(), 2 + number);  // and "kubernetes"
}

TEST_F(ApiSourceTest, ListsInPagesWhereStreamingIsNotOffered) {
    std::string many = "apiVersion: v1\nkind: List\nitems:\n";
    for (int i = 0; i < 520; ++i) {
        many += fmt::format("- {{apiVersion: v1, kind: Namespace, metadata: {{name: n-{}}}}}\n", i);
    }
    plane_->apply(many);
    faults({});
    start_proxy();
    faults({R"({"kind": "status", "match": "sendInitialEvents", "code": 422, "body": "{}"})"});
    open(plane_->kubeconfig("admin", "", ControlPlane::url(kProxyPort)));
    ASSERT_TRUE(until([&] { return all_synced(); })) << troubles();
    EXPECT_GE(store_.count<model::Namespace>(), 520U);
    plane_->kubectl({"delete", "namespace", "n-7", "--wait=false"});
    EXPECT_TRUE(until([&] {
        const auto* ns = find<model::Namespace>("", "n-7");
        return ns == nullptr || ns->meta.deleting;
    }));
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

TEST_F(ApiSourceTest, AKindThatTheClusterLacksIsNoticedWhenItComes) {
    faults({});
    start_proxy();
    faults(
        {R"({"kind": "status", "match": "servicecidrs", "code": 404, "body": "404 page not found"})",
         R"({"kind": "status", "match": "/apis/networking.k8s.io/v1", "code": 404, "body": "404 page not found"})"});
    open(plane_->kubeconfig("admin", "", ControlPlane::url(kProxyPort)));
    ASSERT_TRUE(until([&] { return source_->synced(Kind::kServiceCidr); })) << troubles();
    EXPECT_TRUE(state(Kind::kServiceCidr).absent);
    EXPECT_FALSE(source_->synced(Kind::kNetworkPolicy))
        << "a kind that must be there is never absent";
    faults({});
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
