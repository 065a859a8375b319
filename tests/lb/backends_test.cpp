// SPDX-License-Identifier: Apache-2.0
#include "lb/backends.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lb/build.h"

namespace weir::lb {
namespace {

using model::Protocol;
using Writes = std::vector<model::LbWrite>;

BackendKey key(std::string_view address) {
    return backend_key({.address = test::ip(address), .port = 80}, Protocol::kTcp);
}

AddressUseOf always(AddressUse use) {
    return [use](const IpAddress&, uint16_t, Protocol) { return use; };
}

/// The states written, in order.
std::vector<int> states(const Writes& writes) {
    std::vector<int> out;
    for (const auto& write : writes) {
        if (const auto* state = std::get_if<model::BackendState>(&write))
            out.push_back(state->state);
        if (const auto* put = std::get_if<model::BackendPut>(&write))
            out.push_back(put->value.state);
    }
    return out;
}

struct Life : testing::Test {
    void SetUp() override {
        id = table.create(key("10.1.0.1"), writes);
        const uint32_t ids[] = {id};
        table.ref(ids, writes);
        table.unref(ids);
        table.begin_idle(table.drain(writes));
    }
    std::vector<uint32_t> age(uint64_t now, AddressUse use) {
        return table.age(now, 60, always(use), writes);
    }
    BackendTable table{8};
    Writes writes;
    uint32_t id = 0;
};

TEST_F(Life, DrainsWhileItIsAnEndpoint) {
    EXPECT_TRUE(age(1000, AddressUse::kEndpoint).empty());
    EXPECT_TRUE(age(100000, AddressUse::kEndpoint).empty());
    EXPECT_THAT(states(writes), testing::ElementsAre(WEIR_BACKEND_READY, WEIR_BACKEND_DRAINING));
}

TEST_F(Life, IsRemovedWhileALivePodOwnsTheAddress) {
    EXPECT_TRUE(age(1000, AddressUse::kOwned).empty());
    EXPECT_TRUE(age(100000, AddressUse::kOwned).empty());
    EXPECT_EQ(states(writes).back(), WEIR_BACKEND_REMOVED);
    EXPECT_EQ(table.find(key("10.1.0.1")), id);
}

TEST_F(Life, IsGoneForALingerThenFreeThenReusedWithAnotherGeneration) {
    EXPECT_TRUE(age(1000, AddressUse::kNobody).empty());
    EXPECT_EQ(states(writes).back(), WEIR_BACKEND_GONE);
    EXPECT_TRUE(age(1059, AddressUse::kNobody).empty());
    EXPECT_THAT(age(1060, AddressUse::kNobody), testing::ElementsAre(id));
    EXPECT_EQ(states(writes).back(), WEIR_BACKEND_FREE);
    EXPECT_EQ(table.find(key("10.1.0.1")), 0U);
    // Not given away before its grace period.
    EXPECT_NE(table.create(key("10.1.0.2"), writes), id);
    table.release(id);
    writes.clear();
    EXPECT_EQ(table.create(key("10.1.0.3"), writes), id);
    EXPECT_EQ(std::get<model::BackendPut>(writes.at(0)).value.generation, 2U);
}

TEST_F(Life, GoneIsNotUndoneByANewOwnerOfTheAddress) {
    age(1000, AddressUse::kNobody);
    age(1001, AddressUse::kOwned);
    EXPECT_EQ(states(writes).back(), WEIR_BACKEND_GONE);
}

TEST_F(Life, ComesBackWithItsIdFromAnyState) {
    for (const auto use : {AddressUse::kEndpoint, AddressUse::kOwned, AddressUse::kNobody}) {
        age(1000, use);
        const uint32_t ids[] = {table.find(key("10.1.0.1"))};
        EXPECT_EQ(ids[0], id);
        table.ref(ids, writes);
        EXPECT_EQ(states(writes).back(), WEIR_BACKEND_READY);
        EXPECT_TRUE(age(5000, AddressUse::kNobody).empty());
        table.unref(ids);
        table.begin_idle(table.drain(writes));
    }
    // The clock of the last stay counts, not that of an earlier one.
    age(9000, AddressUse::kNobody);
    EXPECT_TRUE(age(9059, AddressUse::kNobody).empty());
    EXPECT_EQ(age(9060, AddressUse::kNobody).size(), 1U);
}

TEST(BackendTable, OneIdForOneAddressPortAndProtocol) {
    BackendTable table(8);
    Writes writes;
    const auto id = table.create(key("10.1.0.1"), writes);
    EXPECT_EQ(table.find(key("10.1.0.1")), id);
    auto udp = key("10.1.0.1");
    udp.proto = 17;
    EXPECT_EQ(table.find(udp), 0U);
}

TEST(BackendTable, ExhaustionIsZero) {
    BackendTable table(3);
    Writes writes;
    EXPECT_NE(table.create(key("10.1.0.1"), writes), 0U);
    const auto last = table.create(key("10.1.0.2"), writes);
    EXPECT_NE(last, 0U);
    EXPECT_EQ(table.create(key("10.1.0.3"), writes), 0U);
    EXPECT_EQ(table.used(), 2U);
    table.uncreate(last);
    EXPECT_EQ(table.find(key("10.1.0.2")), 0U);
    EXPECT_EQ(table.create(key("10.1.0.3"), writes), last);
}

}  // namespace
}  // namespace weir::lb
