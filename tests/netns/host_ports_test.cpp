// SPDX-License-Identifier: Apache-2.0
// Ports of the host that lead to a pod, by CNI's "portMappings". Cites: Kubernetes Pod API,
// hostPort and hostIP of a container's port.
#include <csignal>

#include "netns/services_fixture.h"

namespace weir::test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::StartsWith;

INSTANTIATE_TEST_SUITE_P(SocketHooks, Services, testing::Values("all", "host", "off"),
                         [](const auto& mode) { return std::string(mode.param); });

TEST_P(Services, HostPortLeadsToItsPodUntilThatEnds) {
    auto& server = node_.run_server("web-1", "web", {},
                                    {"--host-port=8081:8080", "--host-port=8081:8080/UDP"});
    auto& client = node_.run_client("client");
    for (const int family : {4, 6}) {
        SCOPED_TRACE(family);
        for (const auto& place : {node_.outside(), client.place, node_.host()}) {
            ASSERT_TRUE(answers(place, node_ip(family), 8081));
            EXPECT_THAT(http(place, node_ip(family), 8081), StartsWith("web-1 "));
            EXPECT_EQ(in_child(place, [&] { return udp_ask(node_ip(family), 8081); }),
                      joined(node_ip(family), 8081) + " web-1");
        }
        EXPECT_THAT(http(node_.outside(), node_ip(family), 8081),
                    HasSubstr(" to " + outside_ip(family)));
    }
    EXPECT_THAT(node_.weir_ok({"service", "list", "-n", "shop"}),
                ContainsRegex("shop +pod/web-1 +HostPort .*8081:8081/TCP"));

    node_.stop_agent(SIGKILL);
    EXPECT_THAT(http(node_.outside(), node_ip(4), 8081), StartsWith("web-1 "));
    ASSERT_TRUE(node_.start_agent());
    EXPECT_THAT(http(node_.outside(), node_ip(4), 8081), StartsWith("web-1 "));

    node_.stop_pod(server);
    EXPECT_TRUE(
        eventually([&] { return http(node_.outside(), node_ip(4), 8081).starts_with("error"); }));
}

TEST_P(Services, HostPortsOfTwoPodsDifferByAddressOrProtocol) {
    node_.run_server("web-1", "web", {}, {"--host-port=" + joined(node_ip(4), 8081) + ":8080"});
    node_.run_server("web-2", "web", {}, {"--host-port=" + joined(node_ip(6), 8081) + ":8080"});
    node_.run_server("web-3", "web", {}, {"--host-port=8081:8080/UDP"});
    ASSERT_TRUE(answers(node_.outside(), node_ip(4), 8081));
    ASSERT_TRUE(answers(node_.outside(), node_ip(6), 8081));
    EXPECT_THAT(http(node_.outside(), node_ip(4), 8081), StartsWith("web-1 "));
    EXPECT_THAT(http(node_.outside(), node_ip(6), 8081), StartsWith("web-2 "));
    for (const int family : {4, 6}) {
        EXPECT_EQ(in_child(node_.outside(), [&] { return udp_ask(node_ip(family), 8081); }),
                  joined(node_ip(family), 8081) + " web-3");
    }
}

// The address says which clients there can be: processes of the host. A pod's 127.0.0.1 is its own.
TEST_P(Services, HostPortOnTheLoopbackAddressIsForTheHost) {
    node_.run_server("web-1", "web", {}, {"--host-port=127.0.0.1:8081:8080"});
    auto& client = node_.run_client("client");
    if (std::string(GetParam()) != "off") {  // packets to it never leave lo
        ASSERT_TRUE(answers(node_.host(), "127.0.0.1", 8081));
        EXPECT_THAT(http(node_.host(), "127.0.0.1", 8081), StartsWith("web-1 "));
    }
    EXPECT_THAT(http(client.place, "127.0.0.1", 8081), StartsWith("error"));
    EXPECT_THAT(http(node_.outside(), node_ip(4), 8081), StartsWith("error"));
}

}  // namespace
}  // namespace weir::test
