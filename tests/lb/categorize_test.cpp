// SPDX-License-Identifier: Apache-2.0
// Kubernetes, "CategorizeEndpoints" and "Topology / traffic distribution test cases".
#include "lb/categorize.h"

#include <algorithm>
#include <cctype>

#include <gtest/gtest.h>

#include "lb/build.h"

namespace weir::lb {
namespace {

using test::EndpointSpec;

struct Case {
    std::string_view name;
    std::vector<EndpointSpec> endpoints;
    std::string_view cluster;      ///< last bytes of the addresses expected, "" for none
    std::string_view local = "-";  ///< "-": the list is not used
    bool any = true;
    NodeContext node = {.name = "node", .zone = "a"};
    bool uses_cluster = true;
};

std::string last_bytes(const std::vector<PlanBackend>& backends) {
    std::string out;
    for (const PlanBackend& backend : backends) {
        out += std::to_string(backend.address.low32() & 0xff);
    }
    return out;
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
    std::string name(info.param.name);
    std::ranges::replace_if(name, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
    return name;
}

class Categorize : public testing::TestWithParam<Case> {};

TEST_P(Categorize, AsKubeProxyDoes) {
    const Case& c = GetParam();
    const model::Service service = test::service("web", "10.96.0.1");
    const model::EndpointSlice slice = test::slice(service, c.endpoints);
    const model::EndpointSlice* slices[] = {&slice};
    const auto merged = merge_endpoints(slices, {.service = service.meta.name}, c.node.name);
    const Categories out =
        categorize(merged, c.node, {.cluster = c.uses_cluster, .local = c.local != "-"});
    EXPECT_EQ(last_bytes(out.backends[WEIR_SCOPE_CLUSTER]), c.cluster);
    EXPECT_EQ(last_bytes(out.backends[WEIR_SCOPE_LOCAL]), c.local == "-" ? "" : c.local);
    EXPECT_EQ(out.any, c.any);
}

constexpr auto kReady = [](std::string_view address, std::vector<model::Text> zones = {},
                           std::string node = "", std::vector<model::Text> nodes = {}) {
    return EndpointSpec{.address = address,
                        .node = std::move(node),
                        .zones = std::move(zones),
                        .nodes = std::move(nodes)};
};
constexpr auto kUnready = [](std::string_view address, std::vector<model::Text> zones = {}) {
    return EndpointSpec{
        .address = address, .ready = false, .serving = false, .zones = std::move(zones)};
};
constexpr auto kTerminating = [](std::string_view address, std::string node = "") {
    return EndpointSpec{.address = address,
                        .ready = false,
                        .serving = true,
                        .terminating = true,
                        .node = std::move(node)};
};

INSTANTIATE_TEST_SUITE_P(
    Topology, Categorize,
    testing::Values(
        Case{"hints on all: only the own zone",
             {kReady("10.1.0.1", {"a"}), kReady("10.1.0.2", {"b"}), kReady("10.1.0.3", {"c"}),
              kReady("10.1.0.4", {"a"})},
             "14"},
        Case{"a hint missing on one ready endpoint: hints ignored",
             {kReady("10.1.0.1", {"a"}), kReady("10.1.0.2", {"b"}), kReady("10.1.0.3")},
             "123"},
        Case{"no hint for this zone: hints ignored",
             {kReady("10.1.0.1", {"b"}), kReady("10.1.0.2", {"c"})},
             "12"},
        Case{"several zones in one hint",
             {kReady("10.1.0.1", {"a", "b"}), kReady("10.1.0.2", {"b", "c"}),
              kReady("10.1.0.3", {"c", "a"})},
             "13"},
        Case{"unready endpoints without hints do not matter",
             {kReady("10.1.0.1", {"a"}), kReady("10.1.0.2", {"b"}), kUnready("10.1.0.3")},
             "1"},
        Case{"only unready endpoints in this zone: no filter",
             {kUnready("10.1.0.1", {"a"}), kReady("10.1.0.2", {"b"}), kReady("10.1.0.3", {"c"})},
             "23"},
        Case{"the node has no zone: no filter",
             {kReady("10.1.0.1", {"a"}), kReady("10.1.0.2", {"b"})},
             "12",
             "-",
             true,
             {.name = "node", .zone = ""}},
        Case{"a hint for the empty zone is none for a node without zone",
             {kReady("10.1.0.1", {""}), kReady("10.1.0.2", {"b"})},
             "12",
             "-",
             true,
             {.name = "node", .zone = ""}},
        Case{"node hints match",
             {kReady("10.1.0.1", {"a"}, "", {"node"}), kReady("10.1.0.2", {"a"}, "", {"other"})},
             "1"},
        Case{"a node hint missing on one: zone hints count",
             {kReady("10.1.0.1", {"a"}, "", {"node"}), kReady("10.1.0.2", {"a"}),
              kReady("10.1.0.3", {"b"}, "", {"other"})},
             "12"},
        Case{"no node hint for this node: zone hints count",
             {kReady("10.1.0.1", {"a"}, "", {"other"}), kReady("10.1.0.2", {"b"}, "", {"third"})},
             "1"},
        Case{"neither node nor zone hint for us: all",
             {kReady("10.1.0.1", {"b"}, "", {"other"}), kReady("10.1.0.2", {"c"}, "", {"third"})},
             "12"},
        Case{"the local list ignores hints",
             {kReady("10.1.0.1", {"b"}, "node"), kReady("10.1.0.2", {"a"}, "other"),
              kReady("10.1.0.3", {"a"}, "node")},
             "23",
             "13"}),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Conditions, Categorize,
    testing::Values(
        Case{"no endpoints", {}, "", "", false},
        Case{"unready ones are nothing", {kUnready("10.1.0.1")}, "", "", false},
        Case{"serving but neither ready nor terminating never gets traffic",
             {EndpointSpec{.address = "10.1.0.1", .ready = false, .serving = true}},
             "",
             "-",
             false},
        Case{"all terminating: those that serve",
             {kTerminating("10.1.0.1"), kTerminating("10.1.0.2"),
              EndpointSpec{
                  .address = "10.1.0.3", .ready = false, .serving = false, .terminating = true}},
             "12"},
        Case{"one ready anywhere excludes all terminating",
             {kTerminating("10.1.0.1"), kReady("10.1.0.2")},
             "2"},
        Case{"terminating fallback ignores topology",
             {EndpointSpec{
                 .address = "10.1.0.1", .ready = false, .terminating = true, .zones = {"b"}}},
             "1"},
        Case{"local terminating, remote ready: each list on its own",
             {kTerminating("10.1.0.1", "node"), kReady("10.1.0.2", {}, "other")},
             "2",
             "1"},
        Case{"Local policy with remote endpoints only: empty, yet usable ones exist",
             {kReady("10.1.0.1", {}, "other")},
             "",
             "",
             true,
             {.name = "node", .zone = "a"},
             false},
        Case{"ready although terminating (publishNotReadyAddresses)",
             {EndpointSpec{.address = "10.1.0.1", .terminating = true}},
             "1"},
        Case{"an endpoint without node is not local, even for a nameless node",
             {kReady("10.1.0.1")},
             "1",
             "",
             true,
             {.name = "", .zone = "a"}}),
    case_name);

TEST(NodeContextTest, ZoneIsAWellKnownLabel) {
    model::Node node;
    node.meta.name.name = "n1";
    EXPECT_EQ(node_context(node).zone, "");
    node.meta.labels["topology.kubernetes.io/zone"] = "z";
    EXPECT_EQ(node_context(node).zone, "z");
    EXPECT_EQ(node_context(node).name, "n1");
}

}  // namespace
}  // namespace weir::lb
