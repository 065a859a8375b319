// SPDX-License-Identifier: Apache-2.0
// Cites: Kubernetes Pod API, hostPort and hostIP.
#include "lb/host_ports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lb/build.h"

namespace weir::lb {
namespace {

using model::Protocol;
using test::ip;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

HostPortPod pod(std::vector<model::HostPort> ports) {
    return {.name = {model::Text("shop"), model::Text("web-0")},
            .addresses = {ip("10.244.0.5"), ip("fd00:10:244::5")},
            .ports = std::move(ports)};
}

model::HostPort port(uint16_t host, uint16_t container, std::optional<IpAddress> address = {}) {
    return {.protocol = Protocol::kTcp,
            .host_port = host,
            .container_port = container,
            .host_ip = address};
}

std::vector<std::string> claims(const std::vector<ServicePortPlan>& plans) {
    std::vector<std::string> out;
    for (const auto& plan : plans) {
        EXPECT_THAT(plan.vips, SizeIs(1));
        EXPECT_THAT(plan.backends[WEIR_SCOPE_CLUSTER], SizeIs(1));
        const auto& backend = plan.backends[WEIR_SCOPE_CLUSTER][0];
        out.push_back(describe(plan.vips[0].key) + " -> " +
                      backend.address.with_port(backend.port));
    }
    return out;
}

TEST(HostPorts, OneOfEveryAddressIsOfBothFamilies) {
    EXPECT_THAT(claims(compile_host_ports(pod({port(8081, 80)}))),
                ElementsAre("NodePort 8081/TCP/IPv4 -> 10.244.0.5:80",
                            "NodePort 8081/TCP/IPv6 -> [fd00:10:244::5]:80"));
}

TEST(HostPorts, AnAddressBindsItToItsFamily) {
    EXPECT_THAT(
        claims(compile_host_ports(pod({port(8081, 80, ip("192.0.2.1")),
                                       port(8082, 80, ip("0.0.0.0")), port(8083, 80, ip("::"))}))),
        ElementsAre("192.0.2.1:8081/TCP -> 10.244.0.5:80",
                    "NodePort 8082/TCP/IPv4 -> 10.244.0.5:80",
                    "NodePort 8083/TCP/IPv6 -> [fd00:10:244::5]:80"));
}

TEST(HostPorts, SamePortOnTwoAddressesOrProtocolsIsTwo) {
    auto udp = port(8081, 80);
    udp.protocol = Protocol::kUdp;
    HostPortPlanner planner;
    const auto changes = planner.update(
        {pod({port(8081, 80, ip("192.0.2.1")), port(8081, 80, ip("127.0.0.1")), udp})});
    EXPECT_THAT(changes.upserts, SizeIs(4));
}

TEST(HostPorts, WhatIsNotWantedAnyMoreIsRemoved) {
    HostPortPlanner planner;
    const auto both = planner.update({pod({port(8081, 80), port(8082, 80)})});
    ASSERT_THAT(both.upserts, SizeIs(4));
    const auto one = planner.update({pod({port(8082, 80)})});
    EXPECT_THAT(one.upserts, SizeIs(2));
    EXPECT_THAT(one.removed, SizeIs(2));
    const auto none = planner.update({});
    EXPECT_THAT(none.upserts, IsEmpty());
    EXPECT_THAT(none.removed, SizeIs(2));
    EXPECT_THAT(planner.update({}).removed, IsEmpty());
}

// A StatefulSet's pod has the same name again, while the sandbox before it may still be there.
TEST(HostPorts, OfTwoSandboxesOfOnePodTheNewCounts) {
    auto later = pod({port(8081, 80)});
    later.addresses = {ip("10.244.0.9")};
    HostPortPlanner planner;
    const auto changes = planner.update({pod({port(8081, 80, ip("0.0.0.0"))}), later});
    EXPECT_THAT(claims(changes.upserts), ElementsAre("NodePort 8081/TCP/IPv4 -> 10.244.0.9:80"));
}

}  // namespace
}  // namespace weir::lb
