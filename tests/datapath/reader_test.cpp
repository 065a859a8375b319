// SPDX-License-Identifier: Apache-2.0
// Reading the kernel's tables with no agent alive, and the writer of planned load-balancing writes.
#include "datapath/reader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>

#include "datapath/fixture.h"

namespace weir::datapath::test {
namespace {

weir_ct live(uint8_t flags) {
    weir_ct entry{};
    entry.seen = current_tick();
    entry.expires = entry.seen + 100;
    entry.flags = flags;
    return entry;
}

/// Writes into a shard of an outer map, as a program would.
template <typename Key>
void put_in_shard(const Datapath& datapath, const char* outer, const Key& key, const weir_ct& entry,
                  uint32_t shard = 0) {
    uint32_t id = 0;
    ASSERT_TRUE(datapath.maps().find(outer)->find(&shard, &id).value());
    const Fd fd(bpf_map_get_fd_by_id(id));
    ASSERT_EQ(bpf_map_update_elem(fd.get(), &key, &entry, BPF_ANY), 0);
}

TEST_F(DatapathTest, ReaderWithoutTablesSaysTheNextStep) {
    const auto reader = Reader::open(pins());
    ASSERT_FALSE(reader);
    EXPECT_EQ(reader.error().code(), Errc::kNotFound);
    EXPECT_NE(reader.error().message().find("weir-agent"), std::string::npos);
}

TEST_F(DatapathTest, TableUseCountsAllShards) {
    auto datapath = start(1);
    WEIR_ASSERT_OK(datapath);
    const auto reader = Reader::open(pins());
    WEIR_ASSERT_OK(reader);
    const auto established = [&] {
        const auto uses = reader->table_use().value();
        return *std::ranges::find(uses, "weir_ct4", &TableUse::name);
    };
    EXPECT_EQ(established().entries, 0U);
    weir_ct_key4 key{.port = {1, 2}, .proto = IPPROTO_TCP};
    put_in_shard(**datapath, "weir_ct4", key, live(0));
    key.proto = IPPROTO_UDP;
    put_in_shard(**datapath, "weir_ct4", key, live(0), WEIR_CT_SHARDS - 1);
    const TableUse use = established();
    EXPECT_EQ(use.entries, 2U);
    EXPECT_EQ(use.capacity, uint64_t{WEIR_CT_SHARDS} * small_sizes().ct_per_shard);
    EXPECT_GT(use.memory, uint64_t{WEIR_CT_SHARDS} * 1024);
}

TEST_F(DatapathTest, ReaderDecodesFlowsOfBothFamiliesAndTables) {
    auto datapath = start(1);
    WEIR_ASSERT_OK(datapath);
    const weir_ct_key4 key4{.addr = {htonl(0x0a000001), htonl(0x0a000002)},
                            .port = {htons(80), htons(4000)},
                            .proto = IPPROTO_TCP};
    weir_ct translated = live(WEIR_CT_ORIG_SECOND | WEIR_CT_REWRITE_ORIG);
    translated.nat_addr[0] = IpAddress::v4(0x0a000002).abi();
    translated.nat_addr[1] = IpAddress::v4(0x0a000009).abi();
    translated.nat_port[0] = htons(4000);
    translated.nat_port[1] = htons(8080);
    translated.service = 3;
    put_in_shard(**datapath, "weir_ct4", key4, translated);
    weir_ct dead = live(0);
    dead.expires = current_tick() - 1;
    weir_ct_key4 dead_key = key4;
    dead_key.proto = IPPROTO_UDP;
    put_in_shard(**datapath, "weir_ct4", dead_key, dead);
    weir_ct_key6 key6{.port = {htons(1), htons(2)}, .proto = IPPROTO_UDP};
    key6.addr[0] = IpAddress::parse("fd00::1")->abi();
    key6.addr[1] = IpAddress::parse("fd00::2")->abi();
    const weir_ct half = live(0);
    WEIR_ASSERT_OK((*datapath)->maps().find("weir_half6")->put(&key6, &half));
    datapath->reset();

    const auto reader = Reader::open(pins());
    WEIR_ASSERT_OK(reader);
    std::vector<TrackedFlow> flows;
    WEIR_ASSERT_OK(reader->flows([&](const TrackedFlow& flow) {
        flows.push_back(flow);
        return true;
    }));
    ASSERT_EQ(flows.size(), 2U) << "the expired one is not shown";
    EXPECT_TRUE(flows[0].established);
    EXPECT_EQ(flows[0].source.address.with_port(flows[0].source.port), "10.0.0.2:4000");
    EXPECT_EQ(flows[0].destination.address.with_port(flows[0].destination.port), "10.0.0.1:80");
    EXPECT_EQ(flows[0].nat_destination.address.with_port(flows[0].nat_destination.port),
              "10.0.0.9:8080");
    EXPECT_EQ(flows[0].service, 3U);
    EXPECT_FALSE(flows[1].established);
    EXPECT_EQ(flows[1].source.address.to_string(), "fd00::1");
    EXPECT_EQ(flows[1].destination.port, 2);
}

TEST_F(DatapathTest, ReaderCountsTablesAndMemory) {
    auto datapath = start(1);
    WEIR_ASSERT_OK(datapath);
    const Tables& tables = (*datapath)->tables();
    WEIR_ASSERT_OK(tables.services.put(5, {.flags = WEIR_SVC_IN_USE}));
    WEIR_ASSERT_OK(tables.backends.put(2, {.state = WEIR_BACKEND_READY}));
    WEIR_ASSERT_OK(tables.vips.put({.port = 1}, {.service = 5}));
    const auto reader = Reader::open(pins());
    WEIR_ASSERT_OK(reader);
    const auto uses = reader->table_use();
    WEIR_ASSERT_OK(uses);
    std::map<std::string, TableUse> by_name;
    for (const TableUse& use : *uses)
        by_name[use.name] = use;
    EXPECT_EQ(by_name["weir_services"].entries, 1U);
    EXPECT_EQ(by_name["weir_services"].capacity, 64U);
    EXPECT_EQ(by_name["weir_backends"].entries, 1U);
    EXPECT_EQ(by_name["weir_vips"].entries, 1U);
    EXPECT_EQ(by_name["weir_ct6"].capacity, 64U * WEIR_CT_SHARDS);
    EXPECT_EQ(by_name["weir_ct6"].entries, 0U);
    EXPECT_GT(by_name["weir_slots"].memory, 256U * sizeof(weir_slot));
    EXPECT_GT(by_name["weir_ct6"].memory, by_name["weir_vips"].memory) << "64 shards";
    EXPECT_EQ(reader->services()->front().index, 5U);
    EXPECT_EQ(reader->backends()->front().id, 2U);
    EXPECT_TRUE(reader->drops()->empty());
    EXPECT_FALSE(reader->tables().vips.put({}, {})) << "a reader cannot write";
}

TEST_F(DatapathTest, PlannedWritesArriveInOrderAndAreReadBack) {
    using namespace model;
    auto datapath = start(1);
    WEIR_ASSERT_OK(datapath);
    const LbWriter& lb = (*datapath)->lb();
    const weir_vip_key key{.addr = {{0, 0, 0, 9}}, .port = 80, .proto = 6};
    const weir_backend backend{
        .port = 8080, .proto = 6, .state = WEIR_BACKEND_READY, .generation = 4};
    const weir_slot slot{
        .addr = backend.addr, .port = 8080, .pad = 0, .spare = 0, .backend = 3, .tag = 77};
    LbTransaction transaction;
    transaction.writes = {BackendPut{.id = 3, .value = backend},
                          SlotsPut{.first = 10, .slots = {slot, slot, slot}},
                          ServicePut{.index = 2, .value = {.flags = WEIR_SVC_IN_USE}},
                          ServiceStore{.index = 2, .word = 1, .value = WEIR_EXTENT(10, 3, 77)},
                          VipPut{.key = key, .value = {.service = 2}},
                          BackendState{.id = 3, .state = WEIR_BACKEND_DRAINING}};
    transaction.grace = 55;
    std::atomic<GraceToken> elapsed = 0;
    WEIR_ASSERT_OK(lb.commit(transaction, [&](GraceToken token, const Result<void>& waited) {
        EXPECT_TRUE(waited);
        elapsed = token;
    }));
    for (int i = 0; i < 1000 && elapsed == 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(elapsed, 55U);

    const auto image = lb.read();
    WEIR_ASSERT_OK(image);
    ASSERT_EQ(image->vips.size(), 1U);
    EXPECT_EQ(image->vips[0].second.service, 2U);
    EXPECT_EQ(image->services[2].extent[WEIR_SCOPE_LOCAL], WEIR_EXTENT(10, 3, 77));
    EXPECT_EQ(image->slots[12].backend, 3U);
    EXPECT_EQ(image->slots[12].tag, 77U);
    EXPECT_EQ(image->backends[3].port, 8080);
    EXPECT_EQ(image->backends[3].generation, 4U);
    EXPECT_EQ(image->backends[3].state, WEIR_BACKEND_DRAINING);
    const auto reader = Reader::open(pins());
    WEIR_ASSERT_OK(reader);
    EXPECT_EQ(reader->backends_of(image->services[2], WEIR_SCOPE_LOCAL).value(),
              (std::vector<uint32_t>{3, 3, 3}));

    const std::vector<LbWrite> beyond = {ServiceStore{.index = 64, .word = 0, .value = 1},
                                         VipErase{.key = key}};
    const auto failed = lb.apply(beyond);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code(), Errc::kExhausted);
    EXPECT_TRUE((*datapath)->tables().vips.find(key)->has_value()) << "went on after a failure";
}

}  // namespace
}  // namespace weir::datapath::test
