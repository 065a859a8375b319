// SPDX-License-Identifier: Apache-2.0
#include "lb/tables.h"

#include <arpa/inet.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lb/build.h"
#include "lb/emulated.h"

namespace weir::lb {
namespace {

using model::Protocol;
using test::ip;

/// A Service port on 10.96.0.`vip`:80 with endpoints 10.1.x.y; more VIPs may be added.
ServicePortPlan plan(const std::string& name, uint8_t vip, const std::vector<uint8_t>& endpoints,
                     const model::Text& created = "2024-01-01T00:00:00Z") {
    ServicePortPlan out;
    const PortName port{.service = {.ns = "shop", .name = name}};
    out.id = port.id();
    out.name = port;
    out.created = created;
    out.port = 80;
    const IpAddress address = IpAddress::v4(0x0a600000U + vip);
    out.vips = {marker_vip(address),
                {.key = service_key(address, 80, Protocol::kTcp), .flags = WEIR_VIP_CLUSTER_IP}};
    out.flags = WEIR_SVC_IN_USE | (endpoints.empty() ? 0U : WEIR_SVC_ANY_ENDPOINT);
    for (const uint8_t endpoint : endpoints) {
        out.backends[WEIR_SCOPE_CLUSTER].push_back(
            {.address = IpAddress::v4(0x0a010000U + endpoint), .port = 8080});
    }
    return out;
}

struct TablesTest : testing::Test {
    void start(Capacities capacities) {
        tables = std::make_unique<Tables>(capacities);
        kernel = std::make_unique<test::Emulated>(capacities);
    }
    void SetUp() override {
        start({.vips = 16, .services = 8, .slots = 64, .backends = 32, .ranges = 8});
    }

    size_t write(const model::LbTransaction& transaction) {
        for (const auto& one : transaction.writes)
            kernel->write(one);
        if (transaction.grace != 0) token = transaction.grace;
        return transaction.writes.size();
    }
    size_t upsert(std::vector<ServicePortPlan> plans) {
        return write(tables->apply({.upserts = std::move(plans)}));
    }
    void remove(const std::string& name) {
        write(tables->apply({.removed = {plan(name, 1, {}).id}}));
    }
    void grace() {
        kernel->grace(kernel->now());
        write(tables->grace_elapsed(token));
    }
    std::string ask(uint8_t vip, uint16_t port = 80) const {
        return kernel->lookup(service_key(IpAddress::v4(0x0a600000U + vip), port, Protocol::kTcp),
                              true);
    }
    std::vector<std::string> problems() const {
        std::vector<std::string> out;
        for (const auto& problem : tables->problems()) {
            out.push_back(problem.name.to_string() + " " + problem.text);
        }
        return out;
    }

    std::unique_ptr<Tables> tables;
    std::unique_ptr<test::Emulated> kernel;
    model::GraceToken token = 0;
};

/// The same with load-balancer address 192.0.2.`vip`, restricted to these ranges if there are any.
ServicePortPlan restricted(const std::string& name, uint8_t vip,
                           const std::vector<std::string>& ranges) {
    ServicePortPlan out = plan(name, vip, {1});
    const uint32_t flags = WEIR_VIP_EXTERNAL | (ranges.empty() ? 0U : WEIR_VIP_SOURCE_RANGES);
    out.vips.push_back(
        {.key = service_key(IpAddress::v4(0xc0000200U + vip), 80, Protocol::kTcp), .flags = flags});
    std::ranges::sort(out.vips, key_less, &PlanVip::key);
    for (const auto& range : ranges) {
        const bool refuse = range.starts_with('!');
        out.ranges.push_back({.prefix = IpPrefix::parse(refuse ? range.substr(1) : range).value(),
                              .admit = !refuse});
    }
    std::ranges::sort(out.ranges);
    return out;
}

struct RangesTest : TablesTest {
    bool admits(uint8_t vip, const char* client) const {
        const auto key = service_key(IpAddress::v4(0xc0000200U + vip), 80, Protocol::kTcp);
        const std::string answer = kernel->lookup(key, false, ip(client));
        EXPECT_TRUE(answer == "RANGES" || answer.starts_with("LB ")) << answer;
        return answer != "RANGES";
    }
    uint32_t used() const { return tables->usage().back().used; }
};

TEST_F(RangesTest, OnlyThePortsOwnRangesAdmit) {
    upsert({restricted("web", 1, {"10.0.0.0/8"}), restricted("api", 2, {"198.51.100.0/24"})});
    EXPECT_TRUE(admits(1, "10.1.2.3"));
    EXPECT_FALSE(admits(1, "198.51.100.1"));
    EXPECT_TRUE(admits(2, "198.51.100.1"));
    EXPECT_EQ(upsert({restricted("web", 1, {"10.0.0.0/8"})}), 0U) << "nothing changed";
    // One range for another: two writes, whatever else the port has.
    EXPECT_EQ(upsert({restricted("web", 1, {"172.16.0.0/12"})}), 2U);
    EXPECT_FALSE(admits(1, "10.1.2.3"));
    EXPECT_TRUE(admits(1, "172.16.0.1"));
}

TEST_F(RangesTest, TheRangesOfAPortThatIsOpenedGoAfterAGracePeriod) {
    upsert({restricted("web", 1, {"10.0.0.0/8"})});
    upsert({restricted("web", 1, {})});
    EXPECT_TRUE(admits(1, "198.51.100.1"));
    EXPECT_EQ(kernel->ranges(), 1U);
    const auto first = token;
    // Closed and opened again meanwhile: the earlier grace period is not this one's.
    upsert({restricted("web", 1, {"10.0.0.0/8"})});
    EXPECT_FALSE(admits(1, "198.51.100.1"));
    upsert({restricted("web", 1, {})});
    const uint64_t moment = kernel->now();
    write(tables->grace_elapsed(first));
    EXPECT_EQ(kernel->ranges(), 1U);
    kernel->grace(moment);
    write(tables->grace_elapsed(token));
    EXPECT_EQ(kernel->ranges(), 0U);
    EXPECT_EQ(used(), 0U);
}

TEST_F(RangesTest, AFullTableAdmitsNobodyWhoShouldNotBe) {
    start({.vips = 16, .services = 8, .slots = 64, .backends = 32, .ranges = 4});
    upsert({restricted("web", 1, {"10.0.0.0/8", "172.16.0.0/12"}), restricted("open", 2, {})});
    EXPECT_TRUE(problems().empty());
    // Three fit: one element stays free. Both ports want more.
    upsert({restricted("open", 2, {"10.0.0.0/8", "198.51.100.0/24"}),
            restricted("web", 1, {"10.0.0.0/8", "192.168.0.0/16", "198.18.0.0/15"})});
    EXPECT_FALSE(admits(2, "10.1.2.3")) << "it was open, and is to be restricted";
    EXPECT_FALSE(admits(2, "203.0.113.1"));
    EXPECT_TRUE(admits(1, "10.1.2.3")) << "admitted before and after";
    EXPECT_FALSE(admits(1, "172.16.0.1")) << "no longer";
    EXPECT_FALSE(admits(1, "192.168.0.1")) << "no room";
    EXPECT_THAT(problems(),
                testing::UnorderedElementsAre(
                    testing::HasSubstr("shop/open:/TCP/IPv4 its load-balancer addresses admit"),
                    testing::HasSubstr("the table of source ranges is full")));
    // What web gave up makes room, for the one who comes first.
    grace();
    grace();
    EXPECT_EQ(problems().size(), 1U);
    remove("web");
    grace();
    EXPECT_TRUE(problems().empty());
    EXPECT_TRUE(admits(2, "198.51.100.1"));
    EXPECT_FALSE(admits(2, "203.0.113.1"));
}

TEST_F(RangesTest, AnExceptionWithoutRoomTakesItsRangeWithIt) {
    start({.vips = 16, .services = 8, .slots = 64, .backends = 32, .ranges = 2});
    upsert({restricted("web", 1, {"0.0.0.0/1"})});
    EXPECT_TRUE(admits(1, "0.0.0.0"));
    upsert({restricted("web", 1, {"0.0.0.0/1", "!0.0.0.0/32"})});
    EXPECT_FALSE(admits(1, "0.0.0.0")) << "the host does not belong to it";
    EXPECT_EQ(problems().size(), 1U);
}

TEST_F(RangesTest, WhatAnEarlierAgentLeftIsKeptOrMended) {
    upsert({restricted("web", 1, {"10.0.0.0/8", "172.16.0.0/12"}),
            restricted("api", 2, {"10.0.0.0/8"})});
    auto image = kernel->image();
    // An index of nobody, and a key that is no range's.
    kernel->write(
        model::RangePut{range_key(7, IpPrefix::parse("0.0.0.0/0").value()), WEIR_RANGE_ADMIT});
    kernel->write(model::RangePut{{.prefixlen = 8, .service = 1, .addr = {}}, WEIR_RANGE_ADMIT});
    image = kernel->image();
    tables = std::make_unique<Tables>(
        Capacities{.vips = 16, .services = 8, .slots = 64, .backends = 32, .ranges = 8});
    tables->adopt(image);
    EXPECT_EQ(upsert({restricted("web", 1, {"10.0.0.0/8", "198.51.100.0/24"})}), 4U)
        << "two repaired, one new, one gone";
    EXPECT_TRUE(admits(1, "10.1.2.3"));
    write(tables->finish_adoption());
    grace();
    EXPECT_EQ(kernel->ranges(), 2U) << "api is gone, and its ranges";
}

TEST_F(TablesTest, AnUnchangedPortWritesNothing) {
    EXPECT_GT(upsert({plan("web", 1, {1, 2})}), 0U);
    EXPECT_EQ(upsert({plan("web", 1, {1, 2})}), 0U);
    EXPECT_EQ(token, 0U);
}

TEST_F(TablesTest, OneChangedEndpointIsAFewWrites) {
    upsert({plan("web", 1, {1, 2})});
    // A backend, the slots, the extent.
    EXPECT_EQ(upsert({plan("web", 1, {1, 2, 3})}), 3U);
    EXPECT_EQ(ask(1), "LB 10.1.0.1:8080 10.1.0.2:8080 10.1.0.3:8080");
}

TEST_F(TablesTest, AnUndefinedPortOfAClusterIpIsRefusedAsLongAsAnyPortUsesIt) {
    auto other = plan("web2", 1, {1});
    other.vips[1].key.port = htons(81);
    upsert({plan("web", 1, {1}), other});
    EXPECT_EQ(ask(1, 99), "REFUSE");
    remove("web");
    EXPECT_EQ(ask(1), "REFUSE");
    EXPECT_EQ(ask(1, 99), "REFUSE");
    remove("web2");
    EXPECT_EQ(ask(1, 99), "MISS");
}

TEST_F(TablesTest, TheOldestServiceHasAVipAndTheNextTakesItOver) {
    // Kubernetes, "Misc rules": the same address, port and protocol in two Services.
    upsert({plan("young", 1, {1}, "2025-01-01T00:00:00Z")});
    upsert({plan("old", 1, {2}, "2024-01-01T00:00:00Z"), plan("unknown", 1, {3}, "")});
    EXPECT_EQ(ask(1), "LB 10.1.0.2:8080");
    EXPECT_THAT(problems(), testing::UnorderedElementsAre(
                                "shop/young:/TCP/IPv4 does not answer on 10.96.0.1:80/TCP: "
                                "shop/old:/TCP/IPv4 is older and has it",
                                "shop/unknown:/TCP/IPv4 does not answer on 10.96.0.1:80/TCP: "
                                "shop/old:/TCP/IPv4 is older and has it"));
    remove("old");
    EXPECT_EQ(ask(1), "LB 10.1.0.1:8080");
    remove("young");
    EXPECT_EQ(ask(1), "LB 10.1.0.3:8080");
    EXPECT_TRUE(problems().empty());
}

TEST_F(TablesTest, IndicesAndIdsStayWhatTheyAre) {
    upsert({plan("a", 1, {1}), plan("b", 2, {1, 2})});
    const auto b = tables->index_of(plan("b", 2, {}).id);
    const auto backend =
        kernel->backend_of(backend_key({.address = ip("10.1.0.2"), .port = 8080}, Protocol::kTcp));
    remove("a");
    grace();
    upsert({plan("c", 3, {4}), plan("b", 2, {2, 5})});
    EXPECT_EQ(tables->index_of(plan("b", 2, {}).id), b);
    EXPECT_EQ(
        kernel->backend_of(backend_key({.address = ip("10.1.0.2"), .port = 8080}, Protocol::kTcp)),
        backend);
    EXPECT_EQ(tables->name_of(b)->to_string(), "shop/b:/TCP/IPv4");
}

TEST_F(TablesTest, AnIndexIsGivenAwayAgainAfterItsGracePeriodWithAnotherGeneration) {
    upsert({plan("a", 1, {1})});
    const uint32_t index = tables->index_of(plan("a", 1, {}).id);
    remove("a");
    upsert({plan("b", 2, {1})});
    EXPECT_NE(tables->index_of(plan("b", 2, {}).id), index);
    grace();
    EXPECT_EQ(kernel->services()[index].flags, 0U);
    upsert({plan("c", 3, {1})});
    EXPECT_EQ(tables->index_of(plan("c", 3, {}).id), index);
    EXPECT_EQ(kernel->services()[index].generation, 2U);
}

TEST_F(TablesTest, AFullTableOfServicesRefusesTheOneThatIsTooMuch) {
    start({.vips = 16, .services = 3, .slots = 64, .backends = 32, .ranges = 8});
    upsert({plan("a", 1, {1}), plan("b", 2, {2}), plan("c", 3, {3})});
    EXPECT_EQ(ask(2), "LB 10.1.0.2:8080");
    EXPECT_EQ(ask(3), "MISS");
    EXPECT_THAT(problems(),
                testing::ElementsAre(
                    "shop/c:/TCP/IPv4 not programmed: the table of Service ports is "
                    "full: 2 of 2, 1 needed (see --max-services); tried again when room is made"));
    remove("a");
    EXPECT_EQ(ask(3), "MISS");
    grace();
    EXPECT_EQ(ask(3), "LB 10.1.0.3:8080");
    EXPECT_TRUE(problems().empty());
}

TEST_F(TablesTest, AFullTableOfVipsCountsWhatComesAndWhatGoes) {
    start({.vips = 4, .services = 8, .slots = 64, .backends = 32, .ranges = 8});
    upsert({plan("a", 1, {1}), plan("b", 2, {2})});
    auto bigger = plan("b", 2, {3});
    bigger.vips.push_back(
        {.key = service_key(ip("192.0.2.1"), 80, Protocol::kTcp), .flags = WEIR_VIP_EXTERNAL});
    upsert({bigger});
    // Whole or not at all: the endpoints are the old ones too.
    EXPECT_EQ(ask(2), "LB 10.1.0.2:8080");
    EXPECT_THAT(problems(),
                testing::ElementsAre("shop/b:/TCP/IPv4 not programmed, its former state stays in "
                                     "force: the table of Service addresses is full: 4 of 4, 1 "
                                     "needed (see --max-services); tried again when room is made"));
    auto moved = plan("a", 1, {1});
    moved.vips[1].key.port = htons(81);
    upsert({moved});
    EXPECT_EQ(ask(1, 81), "LB 10.1.0.1:8080");
    remove("a");
    EXPECT_EQ(ask(2), "LB 10.1.0.3:8080");
    EXPECT_TRUE(problems().empty());
}

TEST_F(TablesTest, FullSlotsAndBackendsLeaveTheOldStateAndNothingBehind) {
    start({.vips = 16, .services = 8, .slots = 8, .backends = 6, .ranges = 8});
    upsert({plan("a", 1, {1, 2})});
    upsert({plan("b", 2, {3, 4, 5, 6})});
    EXPECT_THAT(problems(), testing::ElementsAre(testing::HasSubstr(
                                "the table of backends is full: 5 of 5, 4 needed in all")));
    upsert({plan("a", 1, {1, 2, 3, 4, 5}), plan("b", 2, {})});
    EXPECT_THAT(problems(), testing::ElementsAre(testing::HasSubstr(
                                "the table of slots has no room: 2 of 7 used, a block of 8")));
    EXPECT_EQ(ask(1), "LB 10.1.0.1:8080 10.1.0.2:8080");
    EXPECT_EQ(ask(2), "REJECT");
    const auto usage = tables->usage();
    EXPECT_EQ(usage[2].used, 2U);
    EXPECT_EQ(usage[3].used, 2U);
    upsert({plan("a", 1, {1, 2, 3})});
    EXPECT_TRUE(problems().empty());
}

TEST_F(TablesTest, ARefusedPortThatIsRemovedIsForgotten) {
    start({.vips = 16, .services = 2, .slots = 64, .backends = 32, .ranges = 8});
    upsert({plan("a", 1, {1}), plan("b", 2, {2})});
    remove("b");
    EXPECT_TRUE(problems().empty());
    remove("a");
    grace();
    EXPECT_EQ(ask(2), "MISS");
}

TEST_F(TablesTest, MoreEndpointsThanAnExtentHoldsAreRefused) {
    auto huge = plan("huge", 1, {1});
    huge.backends[WEIR_SCOPE_CLUSTER].resize(size_t{kMaxExtent} + 1);
    upsert({huge});
    EXPECT_THAT(problems(), testing::ElementsAre(testing::HasSubstr(
                                "131072 endpoints; a Service port has 131071 at most")));
}

TEST_F(TablesTest, TwoNamesWithOneIdAreNotMixedUp) {
    auto twin = plan("b", 2, {2});
    twin.id = plan("a", 1, {}).id;
    upsert({plan("a", 1, {1}), twin});
    EXPECT_EQ(ask(1), "LB 10.1.0.1:8080");
    EXPECT_EQ(ask(2), "MISS");
    EXPECT_THAT(problems(), testing::ElementsAre(testing::HasSubstr("rename the port of one")));
}

TEST_F(TablesTest, ADrainingBackendIsFreedOnlyWhenNobodyOwnsItsAddress) {
    const BackendKey key = backend_key({.address = ip("10.1.0.2"), .port = 8080}, Protocol::kTcp);
    upsert({plan("a", 1, {1, 2})});
    upsert({plan("a", 1, {1})});
    const uint32_t id = kernel->backend_of(key);
    EXPECT_EQ(kernel->backends()[id].state, WEIR_BACKEND_DRAINING);
    const auto age = [&](uint64_t now, AddressUse use) {
        write(tables->age(now, 60, [use](const auto&, auto, auto) { return use; }));
    };
    // Not before its grace period: a reader may just have selected it.
    age(50, AddressUse::kNobody);
    EXPECT_EQ(kernel->backends()[id].state, WEIR_BACKEND_DRAINING);
    upsert({plan("a", 1, {1, 3})});
    upsert({plan("a", 1, {1})});
    grace();
    age(100, AddressUse::kOwned);
    EXPECT_EQ(kernel->backends()[id].state, WEIR_BACKEND_REMOVED);
    age(200, AddressUse::kNobody);
    EXPECT_EQ(kernel->backends()[id].state, WEIR_BACKEND_GONE);
    age(260, AddressUse::kNobody);
    EXPECT_EQ(kernel->backends()[id].state, WEIR_BACKEND_FREE);
}

TEST_F(TablesTest, AStaleVipOfAnotherLifeGoesLast) {
    upsert({plan("a", 1, {1}), plan("b", 2, {2})});
    auto next = std::make_unique<Tables>(
        Capacities{.vips = 16, .services = 8, .slots = 64, .backends = 32, .ranges = 8});
    next->adopt(kernel->image());
    tables = std::move(next);
    EXPECT_EQ(upsert({plan("a", 1, {1})}), 0U);
    EXPECT_EQ(ask(2), "LB 10.1.0.2:8080");
    write(tables->finish_adoption());
    EXPECT_EQ(ask(2), "MISS");
    EXPECT_EQ(ask(1), "LB 10.1.0.1:8080");
}

}  // namespace
}  // namespace weir::lb
