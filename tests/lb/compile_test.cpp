// SPDX-License-Identifier: Apache-2.0
// Kubernetes, "Service to per-family ServicePort" and "What is watched, and filtering".
#include "lb/compile.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lb/build.h"

namespace weir::lb {
namespace {

using model::Protocol;
using model::ServiceType;
using model::TrafficPolicy;
using test::ip;
using test::service;
using test::slice;

const NodeContext kNode = {.name = "node", .zone = "a"};

CompiledService compile_with(const model::Service& s,
                             const std::vector<test::EndpointSpec>& endpoints = {}) {
    const auto one = slice(s, endpoints);
    const model::EndpointSlice* slices[] = {&one};
    return compile(s, slices, kNode);
}

ServicePortPlan only_plan(const model::Service& s,
                          const std::vector<test::EndpointSpec>& endpoints = {}) {
    auto out = compile_with(s, endpoints);
    EXPECT_EQ(out.plans.size(), 1U);
    return out.plans.empty() ? ServicePortPlan() : out.plans.front();
}

TEST(Compile, AClusterIpAndItsMarker) {
    const auto plan = only_plan(service("web", "10.96.0.1"), {{.address = "10.1.0.1"}});
    EXPECT_EQ(test::show(plan.vips), "ClusterIP 10.96.0.1=2, 10.96.0.1:80/TCP=2");
    EXPECT_EQ(test::show(plan.backends[WEIR_SCOPE_CLUSTER]), "10.1.0.1:8080");
    EXPECT_TRUE(plan.backends[WEIR_SCOPE_LOCAL].empty());
    EXPECT_EQ(plan.flags, WEIR_SVC_IN_USE | WEIR_SVC_ANY_ENDPOINT);
    EXPECT_EQ(plan.name.to_string(), "shop/web:/TCP/IPv4");
    EXPECT_EQ(plan.port, 80);
    EXPECT_EQ(plan.algorithm, WEIR_LB_RANDOM);
}

TEST(Compile, AllKindsOfAddresses) {
    model::Service s = service("web", "10.96.0.1", {{.port = 80, .node_port = 30080}});
    s.type = ServiceType::kLoadBalancer;
    s.external_ips = {ip("192.0.2.1"), ip("fd00::1")};
    s.ingress = {{.ip = ip("192.0.2.2")}, {.ip = ip("192.0.2.3"), .proxy_mode = true}};
    s.source_ranges = {IpPrefix::parse("10.0.0.0/8").value()};
    EXPECT_EQ(test::show(only_plan(s).vips),
              "NodePort 30080/TCP/IPv4=1, ClusterIP 10.96.0.1=2, 10.96.0.1:80/TCP=2, "
              "192.0.2.1:80/TCP=1, 192.0.2.2:80/TCP=5");
}

std::string show_ranges(const model::Service& service, const NodeContext& node) {
    const auto compiled = compile(service, {}, node);
    std::string out;
    for (const PlanRange& range : compiled.plans.front().ranges) {
        out += fmt::format("{}{} ", range.admit ? "" : "!", range.prefix.to_string());
    }
    return out;
}

// LB source ranges: same family only, and a node within them may use the address as itself and by
// way of the load balancer's address that it has.
TEST(Compile, SourceRangesAdmitTheNodeIfTheyHoldOneOfItsAddresses) {
    model::Service s = service("web", "10.96.0.1");
    s.type = ServiceType::kLoadBalancer;
    s.ingress = {{.ip = ip("192.0.2.2")}};
    s.source_ranges = {IpPrefix::parse("10.0.0.0/8").value(), IpPrefix::parse("fd00::/8").value(),
                       IpPrefix::parse("10.0.0.0/8").value()};
    const NodeContext inside{.name = "n", .zone = {}, .addresses = {ip("10.9.9.9")}};
    const NodeContext outside{.name = "n", .zone = {}, .addresses = {ip("172.16.0.1")}};
    EXPECT_EQ(show_ranges(s, inside), "0.0.0.0/32 10.0.0.0/8 192.0.2.2/32 ");
    EXPECT_EQ(show_ranges(s, outside), "10.0.0.0/8 ");
    s.source_ranges = {IpPrefix::parse("0.0.0.0/1").value()};
    EXPECT_EQ(show_ranges(s, outside), "0.0.0.0/1 !0.0.0.0/32 ");
    s.ingress.clear();
    EXPECT_EQ(show_ranges(s, inside), "") << "no address is restricted";
}

TEST(Compile, SourceRangesOfTheOtherFamilyRestrictNothing) {
    model::Service s = service("web", "10.96.0.1");
    s.type = ServiceType::kLoadBalancer;
    s.ingress = {{.ip = ip("192.0.2.2")}};
    s.source_ranges = {IpPrefix::parse("fd00::/8").value()};
    EXPECT_EQ(test::show(only_plan(s).vips),
              "ClusterIP 10.96.0.1=2, 10.96.0.1:80/TCP=2, 192.0.2.2:80/TCP=1");
}

TEST(Compile, AnAddressGivenTwiceIsOneVip) {
    model::Service s = service("web", "10.96.0.1");
    s.type = ServiceType::kLoadBalancer;
    s.external_ips = {ip("192.0.2.2"), ip("192.0.2.2"), ip("10.96.0.1")};
    s.ingress = {{.ip = ip("192.0.2.2")}};
    s.source_ranges = {IpPrefix::parse("10.0.0.0/8").value()};
    EXPECT_EQ(test::show(only_plan(s).vips),
              "ClusterIP 10.96.0.1=2, 10.96.0.1:80/TCP=2, 192.0.2.2:80/TCP=5");
}

TEST(Compile, NodePortsOnlyForTypesThatHaveThem) {
    model::Service s = service("web", "10.96.0.1", {{.port = 80, .node_port = 30080}});
    EXPECT_EQ(only_plan(s).vips.size(), 2U);
    s.type = ServiceType::kNodePort;
    EXPECT_EQ(only_plan(s).vips.size(), 3U);
}

TEST(Compile, OnePlanAFamilyAndNoneForAFamilyWithoutClusterIp) {
    model::Service s = service("web", "10.96.0.1", {{.port = 80, .node_port = 30080}});
    s.type = ServiceType::kNodePort;
    s.cluster_ips.push_back(ip("fd96::1"));
    const auto both = compile_with(s).plans;
    ASSERT_EQ(both.size(), 2U);
    EXPECT_EQ(test::show(both[1].vips),
              "NodePort 30080/TCP/IPv6=1, ClusterIP fd96::1=2, [fd96::1]:80/TCP=2");
    EXPECT_NE(both[0].id, both[1].id);
    s.cluster_ips.erase(s.cluster_ips.begin());
    const auto six = compile_with(s).plans;
    ASSERT_EQ(six.size(), 1U);
    EXPECT_EQ(six[0].id, both[1].id);
}

TEST(Compile, SamePortNumberOnSeveralProtocols) {
    const auto s = service("dns", "10.96.0.10",
                           {{.name = "dns", .protocol = Protocol::kUdp, .port = 53},
                            {.name = "dns-tcp", .protocol = Protocol::kTcp, .port = 53},
                            {.name = "dns-sctp", .protocol = Protocol::kSctp, .port = 53}});
    const auto one = slice(s, {{.address = "10.1.0.1"}},
                           {{.name = "dns", .protocol = Protocol::kUdp, .port = 5301},
                            {.name = "dns-tcp", .protocol = Protocol::kTcp, .port = 5302},
                            {.name = "dns-sctp", .protocol = Protocol::kSctp, .port = 5303}});
    const model::EndpointSlice* slices[] = {&one};
    const auto plans = compile(s, slices, kNode).plans;
    ASSERT_EQ(plans.size(), 3U);
    EXPECT_EQ(test::show(plans[0].backends[0]), "10.1.0.1:5301");
    EXPECT_EQ(test::show(plans[1].backends[0]), "10.1.0.1:5302");
    EXPECT_EQ(test::show(plans[2].backends[0]), "10.1.0.1:5303");
    EXPECT_EQ((std::set{plans[0].id, plans[1].id, plans[2].id}).size(), 3U);
}

TEST(Compile, NothingForServicesWithoutAClusterIp) {
    EXPECT_TRUE(compile_with(service("web", "")).plans.empty());
    model::Service headless = service("web", "");
    headless.headless = true;
    headless.external_ips = {ip("192.0.2.1")};
    EXPECT_TRUE(compile_with(headless).plans.empty());
    model::Service external = service("web", "10.96.0.1");
    external.type = ServiceType::kExternalName;
    EXPECT_TRUE(compile_with(external).plans.empty());
}

TEST(Compile, LabelsGiveServicesAndSlicesAway) {
    for (const char* label :
         {"service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"}) {
        model::Service s = service("web", "10.96.0.1");
        auto labelled = slice(s, {{.address = "10.1.0.1"}});
        labelled.meta.labels[label] = "";
        const auto plain = slice(s, {{.address = "10.1.0.2"}});
        const model::EndpointSlice* slices[] = {&labelled, &plain};
        const auto plans = compile(s, slices, kNode).plans;
        ASSERT_EQ(plans.size(), 1U);
        EXPECT_EQ(test::show(plans[0].backends[0]), "10.1.0.2:8080");
        s.meta.labels[label] = "";
        EXPECT_TRUE(compile(s, slices, kNode).plans.empty());
    }
}

TEST(Compile, PoliciesAndTheListsTheyUse) {
    const std::vector<test::EndpointSpec> two = {{.address = "10.1.0.1", .node = "node"},
                                                 {.address = "10.1.0.2", .node = "other"}};
    model::Service s = service("web", "10.96.0.1", {{.port = 80, .node_port = 30080}});
    s.internal_policy = TrafficPolicy::kLocal;
    auto plan = only_plan(s, two);
    EXPECT_EQ(plan.flags, WEIR_SVC_IN_USE | WEIR_SVC_ANY_ENDPOINT | WEIR_SVC_INTERNAL_LOCAL);
    EXPECT_EQ(test::show(plan.backends[WEIR_SCOPE_CLUSTER]), "");
    EXPECT_EQ(test::show(plan.backends[WEIR_SCOPE_LOCAL]), "10.1.0.1:8080");

    // Externally reachable too: pods and this host use the cluster's list.
    s.type = ServiceType::kNodePort;
    plan = only_plan(s, two);
    EXPECT_EQ(test::show(plan.backends[WEIR_SCOPE_CLUSTER]), "10.1.0.1:8080 10.1.0.2:8080");

    s.internal_policy = TrafficPolicy::kCluster;
    s.external_policy = TrafficPolicy::kLocal;
    plan = only_plan(s, two);
    EXPECT_EQ(plan.flags, WEIR_SVC_IN_USE | WEIR_SVC_ANY_ENDPOINT | WEIR_SVC_EXTERNAL_LOCAL);
    EXPECT_EQ(test::show(plan.backends[WEIR_SCOPE_LOCAL]), "10.1.0.1:8080");

    // externalTrafficPolicy means nothing where nothing external exists.
    s.type = ServiceType::kClusterIp;
    plan = only_plan(s, two);
    EXPECT_EQ(plan.flags, WEIR_SVC_IN_USE | WEIR_SVC_ANY_ENDPOINT);
    EXPECT_EQ(test::show(plan.backends[WEIR_SCOPE_LOCAL]), "");
    s.external_ips = {ip("192.0.2.1")};
    EXPECT_NE(only_plan(s, two).flags & WEIR_SVC_EXTERNAL_LOCAL, 0U);
}

TEST(Compile, AffinityIsAFlagAndSeconds) {
    model::Service s = service("web", "10.96.0.1");
    s.affinity_seconds = 10800;
    const auto plan = only_plan(s);
    EXPECT_EQ(plan.flags, WEIR_SVC_IN_USE | WEIR_SVC_AFFINITY);
    EXPECT_EQ(plan.affinity_seconds, 10800U);
}

TEST(Compile, ASecondPortOfTheSameNameIsReported) {
    const auto out = compile_with(service("web", "10.96.0.1", {{.port = 80}, {.port = 81}}));
    EXPECT_EQ(out.plans.size(), 1U);
    EXPECT_THAT(out.warnings,
                testing::ElementsAre(
                    "Service shop/web: port \"\" is given twice for TCP; the first counts"));
}

TEST(Compile, IdsAreTheSameInEveryBuild) {
    // They live in pinned maps: a change here is a change of WEIR_ABI_VERSION.
    const PortName name{.service = {.ns = "shop", .name = "web"}, .port = "http"};
    EXPECT_EQ(name.to_string(), "shop/web:http/TCP/IPv4");
    EXPECT_EQ(name.id(), 15981606402986002640ULL);
}

}  // namespace
}  // namespace weir::lb
