// SPDX-License-Identifier: Apache-2.0
// Cases by name: what a reader of the tables must never meet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policy/explain.h"
#include "policy/rig.h"

namespace weir::policy::test {
namespace {

using model::Protocol;

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

model::LabelSelector labelled(const char* key, const char* value) {
    return {.requirements = {{.key = key, .values = {value}}}};
}

model::PolicyPeer pods(const char* key, const char* value) {
    model::PolicyPeer peer;
    peer.pods = labelled(key, value);
    return peer;
}

class CompilerTest : public testing::Test {
  protected:
    CompilerTest() {
        add_namespace("shop");
        add_pod("web", "10.1.0.1", {{"app", "web"}});
        add_pod("api", "10.1.0.2", {{"app", "api"}});
        place(1, "web");
    }

    void add_namespace(const char* name) {
        model::Namespace ns;
        ns.meta.name = {.ns = "", .name = name};
        ns.meta.labels.emplace("kubernetes.io/metadata.name", name);
        world.namespaces.insert_or_assign(ns.meta.name, ns);
    }
    model::Pod& add_pod(const char* name, const char* address, model::Labels labels) {
        model::Pod pod;
        pod.meta.name = {.ns = "shop", .name = name};
        pod.meta.labels = std::move(labels);
        pod.phase = model::PodPhase::kRunning;
        pod.ips = {ip(address)};
        return world.pods.insert_or_assign(pod.meta.name, pod).first->second;
    }
    model::Pod& pod(const char* name) { return world.pods.at({.ns = "shop", .name = name}); }
    void place(uint32_t id, const char* name) {
        world.local[id] = {.pod = {.ns = "shop", .name = name},
                           .addresses = {pod(name).ips.begin(), pod(name).ips.end()}};
    }
    /// Ingress to every pod of the namespace.
    model::NetworkPolicy& add_policy(const char* name, std::vector<model::PolicyRule> rules) {
        model::NetworkPolicy policy;
        policy.meta.name = {.ns = "shop", .name = name};
        policy.ingress = true;
        policy.ingress_rules = std::move(rules);
        return world.network_policies.insert_or_assign(policy.meta.name, policy).first->second;
    }

    void flush() {
        rig.tell(told, world);
        told = world;
        rig.flush();
    }
    Answer ingress(uint32_t endpoint, const char* peer, uint16_t port, uint8_t protocol = 6) {
        return rig.ask(endpoint, {.pod = {}, .peer = ip(peer), .protocol = protocol, .port = port});
    }
    uint32_t epoch(uint32_t endpoint) {
        return WEIR_POLICY_WORD_EPOCH(rig.kernel.word_of(endpoint));
    }
    uint16_t set(uint32_t endpoint) { return WEIR_POLICY_WORD_SET(rig.kernel.word_of(endpoint)); }

    World world;
    World told;
    Rig rig;
};

TEST_F(CompilerTest, NamedPortsThatDifferBetweenPodsMakeSetsOfTheirOwn) {
    pod("web").ports = {{.name = "http", .protocol = Protocol::kTcp, .port = 8080}};
    pod("api").ports = {{.name = "http", .protocol = Protocol::kTcp, .port = 8000}};
    place(2, "api");
    model::PolicyRule rule;
    rule.ports = {
        {.protocol = Protocol::kTcp, .port = model::PortRef{.number = 0, .name = "http"}}};
    add_policy("http", {rule});
    flush();
    EXPECT_NE(set(1), set(2));
    EXPECT_TRUE(ingress(1, "192.0.2.1", 8080).allowed);
    EXPECT_FALSE(ingress(1, "192.0.2.1", 8000).allowed);
    EXPECT_TRUE(ingress(2, "192.0.2.1", 8000).allowed);
    EXPECT_FALSE(ingress(2, "192.0.2.1", 8080).allowed);

    pod("api").ports = pod("web").ports;
    flush();
    EXPECT_EQ(set(1), set(2)) << "the same policies and the same numbers: one set";
}

TEST_F(CompilerTest, AnAddressOfTwoOwnersHasOnlyWhatBothMayDo) {
    model::PolicyRule rule;
    rule.peers = {pods("app", "api")};
    add_policy("api-only", {rule});
    flush();
    EXPECT_TRUE(ingress(1, "10.1.0.2", 80).allowed);

    add_pod("stranger", "10.1.0.2", {{"app", "stranger"}});  // reused; the old pod's end is late
    flush();
    EXPECT_FALSE(ingress(1, "10.1.0.2", 80).allowed);

    world.pods.erase({.ns = "shop", .name = "api"});
    flush();
    EXPECT_FALSE(ingress(1, "10.1.0.2", 80).allowed);
    pod("stranger").meta.labels.insert_or_assign("app", "api");
    flush();
    EXPECT_TRUE(ingress(1, "10.1.0.2", 80).allowed);
}

TEST_F(CompilerTest, ALabelChangeOfAPeerMakesOpenFlowsStale) {
    model::PolicyRule rule;
    rule.peers = {pods("app", "api")};
    add_policy("api-only", {rule});
    flush();
    const uint32_t before = epoch(1);
    pod("api").meta.labels.insert_or_assign("app", "other");
    flush();
    EXPECT_FALSE(ingress(1, "10.1.0.2", 80).allowed);
    EXPECT_NE(epoch(1), before);
}

TEST_F(CompilerTest, ALabelThatNoPolicyAsksForWritesNothing) {
    model::PolicyRule rule;
    rule.peers = {pods("app", "api")};
    add_policy("api-only", {rule});
    flush();
    model::Pod changed = pod("api");
    changed.meta.labels.emplace("version", "2");
    rig.compiler.put(changed);
    const auto transaction = rig.compiler.flush();
    EXPECT_TRUE(transaction.writes.empty());
    EXPECT_EQ(transaction.grace, 0U);
}

TEST_F(CompilerTest, AnEndpointWhosePodIsNotKnownIsClosed) {
    world.local[7] = {.pod = {.ns = "shop", .name = "new"}, .addresses = {ip("10.1.0.7")}};
    flush();
    EXPECT_EQ(ingress(7, "10.1.0.2", 80).by, "closed");
    ASSERT_EQ(rig.compiler.problems().size(), 1U);
    EXPECT_EQ(rig.compiler.problems()[0].object, "Pod shop/new");
    add_pod("new", "10.1.0.7", {});
    flush();
    EXPECT_TRUE(ingress(7, "10.1.0.2", 80).allowed);
    EXPECT_TRUE(rig.compiler.problems().empty());
}

TEST_F(CompilerTest, APolicyOverItsQuotaClosesItsOwnPodsOnly) {
    place(2, "api");
    model::PolicyRule rule;
    for (uint32_t i = 0; i <= kRoomy.cidrs_per_policy; ++i) {
        model::PolicyPeer peer;
        peer.block = IpPrefix::make(IpAddress::v4(0xc0000000U + (i << 8)), 24).value();
        rule.peers.push_back(std::move(peer));
    }
    add_policy("huge", {rule}).subjects = labelled("app", "web");
    flush();
    EXPECT_EQ(ingress(1, "192.0.0.1", 80).by, "closed");
    EXPECT_TRUE(ingress(2, "192.0.0.1", 80).allowed);
    ASSERT_EQ(rig.compiler.problems().size(), 1U);
    EXPECT_THAT(rig.compiler.problems()[0].text, testing::HasSubstr("NetworkPolicy shop/huge"));
}

TEST_F(CompilerTest, AnInvalidPolicyIsolatesWhatItSelects) {
    model::PolicyRule open;
    model::PolicyRule broken;
    broken.peers = {model::PolicyPeer{}};
    add_policy("broken", {open, broken});
    flush();
    EXPECT_EQ(ingress(1, "10.1.0.2", 80).by, "isolated");
    ASSERT_EQ(rig.compiler.problems().size(), 1U);
    EXPECT_EQ(rig.compiler.problems()[0].object, "NetworkPolicy shop/broken");
}

TEST_F(CompilerTest, APolicyInAuditModeMarksWhatItWouldDeny) {
    const Question q{.pod = {}, .peer = ip("10.1.0.2"), .port = 80};
    add_policy("quiet", {}).meta.annotations.emplace(kAuditAnnotation, "true");
    flush();
    EXPECT_TRUE(rig.ask(1, q).allowed);
    EXPECT_TRUE(rig.audited(1, q));
    add_policy("strict", {});
    flush();
    EXPECT_FALSE(rig.ask(1, q).allowed) << "one that is enforced isolates in earnest";
    EXPECT_FALSE(rig.audited(1, q));
}

TEST_F(CompilerTest, APolicyInAuditModeOpensNothing) {
    const Question q{.pod = {}, .peer = ip("10.1.0.2"), .port = 80};
    add_policy("all", {model::PolicyRule{}}).meta.annotations.emplace(kAuditAnnotation, "true");
    add_policy("strict", {});
    flush();
    EXPECT_FALSE(rig.ask(1, q).allowed) << "an accept of the audited one is not one";
    world.network_policies.erase({.ns = "shop", .name = "strict"});
    auto& baseline = world.cluster_policies[{.ns = "", .name = "closed"}];
    baseline.meta.name = {.ns = "", .name = "closed"};
    baseline.tier = model::PolicyTier::kBaseline;
    baseline.subject.kind = model::ClusterPolicyPeer::Kind::kNamespaces;
    baseline.ingress_rules = {{.action = model::PolicyAction::kDeny, .peers = {baseline.subject}}};
    flush();
    EXPECT_EQ(rig.ask(1, q).by, "baseline/closed") << "nor does it keep the Baseline tier away";
}

TEST_F(CompilerTest, WantOfRoomForAnAuditClosesNobody) {
    Capacities small = kRoomy;
    small.sets = 3;  // the closed one and one more
    Rig tight(small);
    add_policy("quiet", {}).meta.annotations.emplace(kAuditAnnotation, "true");
    auto& strict = add_policy("strict", {});
    strict.subjects = labelled("app", "web");
    tight.tell({}, world);
    tight.flush();
    const Question q{.pod = {}, .peer = ip("10.1.0.2"), .port = 80};
    ASSERT_EQ(tight.compiler.problems().size(), 1U);
    EXPECT_THAT(tight.compiler.problems()[0].text, testing::HasSubstr("audit mode"));
    EXPECT_EQ(tight.ask(1, q).by, "isolated");
}

TEST_F(CompilerTest, AFullTableOfRangesDoesNotLetIpv4InByIpv6) {
    Capacities small = kRoomy;
    small.cidrs = 1;
    Rig tight(small);
    model::PolicyRule rule;
    rule.peers.emplace_back().block = IpPrefix::parse("::/0").value();
    add_policy("six", {rule});
    tight.tell({}, world);
    tight.flush();
    EXPECT_FALSE(tight.ask(1, {.pod = {}, .peer = ip("192.0.2.1"), .port = 80}).allowed);
}

TEST_F(CompilerTest, EverythingGoesAgain) {
    model::PolicyRule rule;
    rule.peers = {pods("app", "api")};
    flush();
    rig.all_graces();
    const auto empty = rig.compiler.usage();
    add_policy("api-only", {rule});
    flush();
    world.network_policies.clear();
    flush();
    rig.all_graces();
    for (size_t i = 0; i < empty.size(); ++i)
        EXPECT_EQ(rig.compiler.usage()[i].used, empty[i].used) << empty[i].table;
    EXPECT_EQ(rig.kernel.rows(), 0U);
}

TEST_F(CompilerTest, ExplainNamesTheRuleAndEveryTerm) {
    model::PolicyRule rule;
    rule.peers = {pods("app", "api"), pods("app", "db")};
    add_policy("some", {rule});
    flush();
    const auto policies = rig.compiler.policies_of(1);
    const PeerView peer{
        .address = ip("10.1.0.2"),
        .pod = &pod("api"),
        .namespace_labels = &world.namespaces.at({.ns = "", .name = "shop"}).meta.labels};
    const auto said = explain(policies, pod("web"), peer,
                              {.direction = Direction::kIngress, .protocol = 6, .port = 80});
    EXPECT_TRUE(said.allowed);
    EXPECT_EQ(said.by, "NetworkPolicy shop/some ingress[0]");
    ASSERT_EQ(said.rules.size(), 1U);
    ASSERT_EQ(said.rules[0].terms.size(), 2U);
    EXPECT_EQ(said.rules[0].terms[0].text, "pods app=api of namespace shop");
    EXPECT_TRUE(said.rules[0].terms[0].satisfied);
    EXPECT_FALSE(said.rules[0].terms[1].satisfied);
    EXPECT_TRUE(said.rules[0].decides);
}

TEST_F(CompilerTest, ShadowedRulesAreNamedWithWhatShadowsThem) {
    model::PolicyRule wide;
    wide.peers = {pods("app", "api"), pods("app", "db")};
    model::PolicyRule narrow;
    narrow.peers = {pods("app", "db")};
    narrow.ports = {{.protocol = Protocol::kTcp, .port = model::PortRef{.number = 80}}};
    model::PolicyRule other;
    other.peers = {pods("app", "web")};
    add_policy("rules", {wide, narrow, other});
    flush();
    const auto found = shadowed(rig.compiler.policies_of(1));
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].index, 1U);
    EXPECT_EQ(found[0].by_index, 0U);
}

}  // namespace
}  // namespace weir::policy::test
