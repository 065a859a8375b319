// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kube/api/kubeconfig.h"
#include "kube_api/plane_test.h"

namespace weir::kube::api {

/// One source that reads from a real API server, straight or through a proxy for bad days.
class ApiSourceTest : public test::PlaneTest {
  protected:
    void TearDown() override {
        source_.reset();
        proxy_.reset();
        PlaneTest::TearDown();
    }

    void open(const std::filesystem::path& kubeconfig, const std::vector<std::string>& urls = {}) {
        auto access = kubeconfig_access(kubeconfig);
        ASSERT_TRUE(access) << access.error().message();
        ASSERT_TRUE(use_servers(*access, urls));
        auto source = ApiSource::open(store_, *std::move(access));
        ASSERT_TRUE(source) << source.error().message();
        source_ = *std::move(source);
    }
    void open_through_proxy(const std::vector<std::string>& faults = {}) {
        proxy_.emplace(*plane_);
        proxy_->set(faults);
        open(plane_->kubeconfig("admin", "", proxy_->url()));
    }

    bool until(const std::function<bool()>& condition,
               std::chrono::milliseconds limit = std::chrono::seconds(60)) {
        return test::drive(*source_, store_, condition, limit);
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

    std::optional<test::FaultProxy> proxy_;
    Store store_;
    std::unique_ptr<ApiSource> source_;
};

/// Objects of every kind that the source reads.
inline constexpr std::string_view kObjects = R"(
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

}  // namespace weir::kube::api
