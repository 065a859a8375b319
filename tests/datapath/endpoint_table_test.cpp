// SPDX-License-Identifier: Apache-2.0
// Local pods in the kernel's tables, and the small tables about the host.
#include "datapath/endpoint_table.h"

#include <algorithm>
#include <bit>
#include <set>

#include "datapath/fixture.h"
#include "datapath/host_tables.h"

namespace weir::datapath::test {
namespace {

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

EndpointSpec pod(uint32_t n) {
    return {.ipv4 = IpAddress::v4(0x0a010000 + n),
            .ipv6 = ip(fmt::format("fd00::{:x}", n).c_str()),
            .ifindex = 100 + n,
            .mac = {2, 0, 0, 0, 0, static_cast<uint8_t>(n)},
            .mtu = 1400,
            .netns_cookie = 9000 + n};
}

class EndpointTableTest : public DatapathTest {
  protected:
    void SetUp() override {
        DatapathTest::SetUp();
        auto datapath = Datapath::open(options(1));
        WEIR_ASSERT_OK(datapath);
        datapath_ = std::move(*datapath);
    }
    EndpointTable& table() { return datapath_->endpoints(); }
    const Tables& tables() { return datapath_->tables(); }
    uint32_t add(uint32_t n) {
        const uint32_t id = table().reserve().value();
        const auto added = table().add(id, pod(n));
        EXPECT_TRUE(added) << added.error().message();
        return id;
    }
    std::unique_ptr<Datapath> datapath_;
};

TEST_F(EndpointTableTest, AddWritesAllTablesAndRemoveEmptiesThem) {
    const uint32_t id = add(1);
    const auto element = tables().endpoints.get(id).value();
    EXPECT_EQ(element.flags, uint32_t{WEIR_EP_IN_USE | WEIR_EP_POLICED});
    EXPECT_EQ(element.ifindex, 101U);
    EXPECT_EQ(tables().pods.find(ip("10.1.0.1").abi())->value().endpoint, id);
    EXPECT_EQ(tables().pods.find(ip("fd00::1").abi())->value().endpoint, id);
    EXPECT_EQ(tables().devices.find(101)->value().endpoint, id);
    EXPECT_EQ(tables().devices.find(101)->value().kind, uint32_t{WEIR_DEV_POD});
    EXPECT_EQ(tables().netns.find(9001)->value().endpoint, id);
    EXPECT_EQ(table().find(ip("fd00::1"))->id, id);

    EXPECT_TRUE(table().remove(id).value());
    EXPECT_FALSE(table().remove(id).value());
    EXPECT_EQ(tables().endpoints.get(id)->flags & WEIR_EP_IN_USE, 0U);
    EXPECT_EQ(tables().pods.raw().count().value(), 0U);
    EXPECT_EQ(tables().devices.raw().count().value(), 0U);
    EXPECT_EQ(tables().netns.raw().count().value(), 0U);
    EXPECT_EQ(table().find(ip("fd00::1")), nullptr);
}

TEST_F(EndpointTableTest, IdsAreNotReusedSoonAndGenerationsGrow) {
    const uint32_t first = add(1);
    const uint32_t generation = table().find(first)->generation;
    EXPECT_TRUE(table().remove(first).value());
    std::set<uint32_t> ids;
    for (uint32_t n = 2; n <= 15; ++n)
        ids.insert(add(n));
    EXPECT_EQ(ids.size(), 14U);
    EXPECT_FALSE(ids.contains(first)) << "reused while others were free";
    const uint32_t again = add(16);
    EXPECT_EQ(again, first);
    EXPECT_EQ(table().find(again)->generation, generation + 1);
    const auto full = table().reserve();
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code(), Errc::kExhausted);
}

TEST_F(EndpointTableTest, AnAddressHasOneOwner) {
    const uint32_t id = add(1);
    auto other = pod(2);
    other.ipv4 = ip("10.1.0.1");
    const auto refused = table().add(table().reserve().value(), other);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Errc::kExists);
    EXPECT_EQ(tables().pods.find(ip("10.1.0.1").abi())->value().endpoint, id);
}

TEST_F(EndpointTableTest, AFailedAddIsTakenBack) {
    for (uint32_t n = 0; n < 32; ++n) {
        WEIR_ASSERT_OK(tables().devices.put(5000 + n, {.kind = WEIR_DEV_EXTERNAL}));
    }
    const uint32_t id = table().reserve().value();
    const auto refused = table().add(id, pod(1));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Errc::kExhausted);
    EXPECT_EQ(tables().endpoints.get(id)->flags & WEIR_EP_IN_USE, 0U);
    EXPECT_EQ(tables().pods.raw().count().value(), 0U);
}

TEST_F(EndpointTableTest, RestartReadsThemBack) {
    const uint32_t one = add(1);
    const uint32_t two = add(2);
    auto element = tables().endpoints.get(two).value();
    element.policy[0] = WEIR_POLICY_WORD(5, 0, 6);
    element.policy[1] = WEIR_POLICY_WORD(7, 0, 8);
    WEIR_ASSERT_OK(tables().endpoints.put(two, element));

    EndpointTable next(tables());
    WEIR_ASSERT_OK(next.adopt());
    ASSERT_EQ(next.all().size(), 2U);
    EXPECT_EQ(next.find(ip("10.1.0.1"))->id, one);
    EXPECT_EQ(next.find(two)->spec.mtu, 1400U);
    EXPECT_EQ(next.find(two)->spec.netns_cookie, 9002U);
    EXPECT_EQ(next.find(two)->generation, 1U);
    EXPECT_EQ(tables().endpoints.get(two)->policy[0], element.policy[0])
        << "policy is somebody else's";
    EXPECT_EQ(tables().endpoints.get(two)->policy[1], element.policy[1]);
}

/// An element as builds without policies have it.
struct WithoutPolicies {
    weir_addr addr[2];
    uint32_t ifindex;
    uint32_t flags;
    uint8_t mac[6];
    uint16_t policy_set;
    uint32_t policy_epoch;
    uint32_t generation;
    uint32_t spare[2];
};

WithoutPolicies by_older_build(const weir_endpoint& element) {
    WithoutPolicies out{};
    std::ranges::copy(element.addr, out.addr);
    out.ifindex = element.ifindex;
    out.flags = element.flags & ~uint32_t{WEIR_EP_POLICED};
    std::ranges::copy(element.mac, out.mac);
    out.generation = element.generation;
    return out;
}

TEST_F(EndpointTableTest, ElementsOfABuildWithoutPoliciesAreTakenOverClosed) {
    const uint32_t kept = add(1);
    const uint32_t gone = add(2);
    EXPECT_TRUE(table().remove(gone).value());
    for (const uint32_t id : {kept, gone}) {
        auto older = by_older_build(tables().endpoints.get(id).value());
        older.generation = 0x10000 + 40 + id;  // it grew for longer than 16 bits hold
        WEIR_ASSERT_OK(tables().endpoints.put(id, std::bit_cast<weir_endpoint>(older)));
    }
    EndpointTable next(tables());
    WEIR_ASSERT_OK(next.adopt());
    ASSERT_NE(next.find(kept), nullptr);
    EXPECT_EQ(next.find(kept)->spec.ipv4, pod(1).ipv4);
    EXPECT_EQ(next.find(kept)->generation, 40 + kept);
    const auto element = tables().endpoints.get(kept).value();
    EXPECT_EQ(element.flags, uint32_t{WEIR_EP_IN_USE | WEIR_EP_POLICED});
    EXPECT_EQ(element.generation, 40 + kept);
    for (const uint64_t word : element.policy)
        EXPECT_EQ(WEIR_POLICY_WORD_SET(word), WEIR_POLICY_SET_CLOSED)
            << "its generation is no word";
    EXPECT_TRUE(next.set_policy(kept, static_cast<uint16_t>(40 + kept), 0, 77).value());

    while (next.reserve().value() != gone) {
    }
    WEIR_ASSERT_OK(next.add(gone, pod(2)));
    EXPECT_EQ(next.find(gone)->generation, 41 + gone);
    EXPECT_EQ(next.next_epoch().value(), 1U) << "no word had an epoch";
}

TEST_F(EndpointTableTest, RestartMendsWhatWasLeftHalfDone) {
    const uint32_t id = add(1);
    // An add that died after its element, and a removal that died before its element.
    WEIR_ASSERT_OK(tables().pods.erase(ip("fd00::1").abi()));
    WEIR_ASSERT_OK(tables().devices.erase(101));
    // References to nobody, and what belongs to others.
    WEIR_ASSERT_OK(tables().pods.put(ip("10.1.0.77").abi(), {.endpoint = 9}));
    WEIR_ASSERT_OK(tables().devices.put(177, {.kind = WEIR_DEV_POD, .endpoint = 9}));
    WEIR_ASSERT_OK(tables().devices.put(2, {.kind = WEIR_DEV_EXTERNAL}));
    WEIR_ASSERT_OK(tables().netns.put(1, {.endpoint = 0}));
    WEIR_ASSERT_OK(tables().netns.put(2, {.endpoint = 9}));

    EndpointTable next(tables());
    WEIR_ASSERT_OK(next.adopt());
    EXPECT_EQ(tables().pods.find(ip("fd00::1").abi())->value().endpoint, id);
    EXPECT_TRUE(tables().devices.find(101)->has_value());
    EXPECT_FALSE(tables().pods.find(ip("10.1.0.77").abi())->has_value());
    EXPECT_FALSE(tables().devices.find(177)->has_value());
    EXPECT_TRUE(tables().devices.find(2)->has_value());
    EXPECT_TRUE(tables().netns.find(1)->has_value());
    EXPECT_FALSE(tables().netns.find(2)->has_value());
}

TEST_F(EndpointTableTest, HostTablesFollowByDifference) {
    add(1);
    const auto prefix = [](const char* text) { return IpPrefix::parse(text).value(); };
    auto first = sync_cidrs(tables(), {{prefix("10.0.0.0/8"), WEIR_CIDR_POD},
                                       {prefix("10.96.0.0/12"), WEIR_CIDR_SERVICE},
                                       {prefix("fd00::/64"), WEIR_CIDR_POD}});
    WEIR_ASSERT_OK(first);
    EXPECT_EQ(first->written, 3U);
    auto second = sync_cidrs(tables(), {{prefix("10.0.0.0/8"), WEIR_CIDR_POD | WEIR_CIDR_NO_MASQ},
                                        {prefix("fd00::/64"), WEIR_CIDR_POD}});
    WEIR_ASSERT_OK(second);
    EXPECT_EQ(second->written, 1U);
    EXPECT_EQ(second->removed, 1U);
    const weir_cidr_key service{.prefixlen = 128, .addr = ip("10.96.0.1").abi()};
    EXPECT_EQ(tables().cidrs.find(service)->value(), uint32_t{WEIR_CIDR_POD} | WEIR_CIDR_NO_MASQ)
        << "the wider range answers now";

    weir_device eth{.kind = WEIR_DEV_EXTERNAL, .mtu = 1500};
    EXPECT_EQ(sync_devices(tables(), {{2, eth}, {3, eth}})->written, 2U);
    const auto devices = sync_devices(tables(), {{3, eth}});
    EXPECT_EQ(devices->written, 0U);
    EXPECT_EQ(devices->removed, 1U);
    EXPECT_TRUE(tables().devices.find(101)->has_value()) << "a pod's device is not its business";

    EXPECT_EQ(sync_node_addresses(tables(), {{ip("192.0.2.1"), WEIR_NODE_ADDR_NODEPORT}})->written,
              1U);
    EXPECT_EQ(sync_node_addresses(tables(), {})->removed, 1U);
    WEIR_ASSERT_OK(set_host_netns(tables(), 42));
    WEIR_ASSERT_OK(set_host_netns(tables(), 43));
    EXPECT_FALSE(tables().netns.find(42)->has_value());
    EXPECT_EQ(tables().netns.find(43)->value().endpoint, 0U);
    EXPECT_TRUE(tables().netns.find(9001)->has_value());
}

}  // namespace
}  // namespace weir::datapath::test
