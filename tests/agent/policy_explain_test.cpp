// SPDX-License-Identifier: Apache-2.0
// What `weir policy explain` and `weir policy shadowed` say by objects alone. That they are right
// about one end and one rule is shown in tests/policy; here: how Services, pods and files are named
// and put together.
#include "agent/policy_explain.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/policy_shadows.h"
#include "kube/endpoint_controller.h"
#include "kube/file_source.h"
#include "support/temp_dir.h"

namespace weir::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kCluster = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web, track: stable}}
spec: {nodeName: a, containers: [{name: main, ports: [{name: http, containerPort: 8080}]}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop, labels: {app: web, track: canary}}
spec: {nodeName: b, containers: [{name: main, ports: [{name: http, containerPort: 9090}]}]}
status: {phase: Running, podIPs: [{ip: 10.0.0.2}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-3, namespace: shop, labels: {app: web}}
spec: {nodeName: b}
status: {phase: Running, podIPs: [{ip: 10.0.0.3}], conditions: [{type: Ready, status: "False"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {nodeName: a}
status: {phase: Running, podIPs: [{ip: 10.0.0.9}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIPs: [10.96.0.1], externalIPs: [198.51.100.7],
       ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: all, namespace: shop}
spec:
  podSelector: {matchLabels: {track: stable}}
  ingress: [{ports: [{port: 8080}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: clients, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 8080}]}]
)";

class PolicyExplainTest : public testing::Test {
  protected:
    PolicyExplainTest() {
        std::ofstream(dir_.path() / "cluster.yaml") << kCluster;
        const auto files = kube::FileSource::open(store_, {dir_.path()});
        EXPECT_TRUE(files) << files.error().message();
        EXPECT_TRUE(files->problems().empty());
        kube::EndpointController(store_).update();
        store_.publish();
    }
    [[nodiscard]] Result<api::Explanation> ask(const std::string& to, uint16_t port) const {
        return explain_flow(store_,
                            {.from = "shop/client", .to = to, .protocol = "TCP", .port = port});
    }

    test::TempDir dir_;
    kube::Store store_;
};

// NetworkPolicy API: rules are about the pods and ports behind a Service, after its translation.
TEST_F(PolicyExplainTest, AServiceIsAskedAboutByEachReadyBackendAndItsPort) {
    for (const char* name : {"shop/web", "10.96.0.1", "198.51.100.7"}) {
        const auto told = ask(name, 80);
        ASSERT_TRUE(told) << told.error().message();
        EXPECT_EQ(told->to, "Service shop/web");
        EXPECT_FALSE(told->allowed) << "one of them does not let it pass";
        ASSERT_EQ(told->backends.size(), 2U) << "web-3 is not ready";
        for (const auto& backend : told->backends) {
            const bool stable = backend.to == "Pod shop/web-1" || backend.to == "10.0.0.1";
            EXPECT_EQ(backend.port, stable ? 8080U : 9090U) << backend.to;
            EXPECT_EQ(backend.allowed, stable) << backend.to;
        }
    }
}

TEST_F(PolicyExplainTest, APodComesBeforeAServiceOfItsName) {
    const auto told = ask("shop/web-1", 8080);
    ASSERT_TRUE(told) << told.error().message();
    EXPECT_EQ(told->to, "Pod shop/web-1");
    EXPECT_TRUE(told->allowed);
    EXPECT_TRUE(told->backends.empty());
}

TEST_F(PolicyExplainTest, WhatCannotBeAskedSaysWhatCould) {
    EXPECT_THAT(ask("shop/web", 81).error().message(), HasSubstr("it has TCP 80"));
    EXPECT_THAT(ask("shop/none", 80).error().message(), HasSubstr("no Pod or Service shop/none"));
    const auto told = explain_flow(store_, {.from = "2001:db8::1", .to = "shop/web", .port = 80});
    ASSERT_FALSE(told);
    EXPECT_THAT(told.error().message(), HasSubstr("no ready endpoint of a family"));
}

TEST_F(PolicyExplainTest, ARuleIsShadowedWhereAnEarlierOneMatchesAllOfIt) {
    const auto found = shadowed_rules(store_);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].rule, "NetworkPolicy shop/clients ingress[0]");
    EXPECT_EQ(found[0].by, "NetworkPolicy shop/all ingress[0]");
    EXPECT_THAT(found[0].pods, ElementsAre("shop/web-1")) << "the others are not under both";
}

}  // namespace
}  // namespace weir::agent
