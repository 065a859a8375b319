// SPDX-License-Identifier: Apache-2.0
// Start, restart, upgrade and refusal of the datapath, on the kernel.
#include "datapath/datapath.h"

#include <atomic>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include <bpf/bpf.h>

#include "datapath/fixture.h"
#include "datapath/programs.h"
#include "datapath/reader.h"
#include "datapath/sweep.h"

namespace weir::datapath::test {
namespace {

using namespace std::chrono_literals;

/// Hooks whose test programs return the build's mark.
constexpr std::array kMarkedHooks = {"pod_from", "pod_to", "dev_out"};

TEST_F(DatapathTest, FirstStartMakesEverythingAndPutsTheProgramsInForce) {
    auto datapath = start(1);
    WEIR_ASSERT_OK(datapath);
    for (const AdoptedMap& map : (*datapath)->maps().adopted()) {
        EXPECT_TRUE(map.created) << map.name;
        EXPECT_FALSE(map.resized()) << map.name;
    }
    EXPECT_EQ((*datapath)->maps().adopted().size(), test::kMaps);
    EXPECT_FALSE((*datapath)->recovered());
    for (const char* hook : kMarkedHooks)
        EXPECT_EQ(run_stub(hook), 1) << hook;
    const auto sweep = wait_for_sweep(*(*datapath)->maps().find("weir_sweep"), 1s);
    WEIR_ASSERT_OK(sweep);
    EXPECT_EQ(sweep->next_shard, 1U) << "not this build's sweep";
}

TEST_F(DatapathTest, SizesComeFromTheConfiguration) {
    auto datapath = start(1);
    WEIR_ASSERT_OK(datapath);
    const std::map<std::string, uint32_t> expected = {{"weir_services", 64},
                                                      {"weir_slots", 256},
                                                      {"weir_half6", 256},
                                                      {"weir_ct4", 64 * WEIR_CT_SHARDS},
                                                      {"weir_ct6", 64 * WEIR_CT_SHARDS},
                                                      {"weir_events", 4096}};
    for (const AdoptedMap& map : (*datapath)->maps().adopted()) {
        if (expected.contains(map.name)) EXPECT_EQ(map.capacity, expected.at(map.name)) << map.name;
    }
}

TEST_F(DatapathTest, RestartAdoptsMapsWithContentAndIds) {
    std::map<std::string, uint32_t> ids;
    std::map<std::string, uint32_t> stubs;
    const weir_vip_key key{.addr = {{1, 2, 3, 4}}, .port = 80, .proto = 6};
    {
        auto datapath = start(1);
        WEIR_ASSERT_OK(datapath);
        for (const AdoptedMap& map : (*datapath)->maps().adopted()) {
            ids[map.name] = (*datapath)->maps().find(map.name)->info().id;
        }
        WEIR_ASSERT_OK((*datapath)->tables().vips.put(key, {.service = 7}));
        WEIR_ASSERT_OK((*datapath)->tables().services.put(7, {.flags = WEIR_SVC_IN_USE, .id = 77}));
    }
    for (const char* hook : kMarkedHooks)
        EXPECT_EQ(run_stub(hook), 1) << "with no agent: " << hook;

    auto datapath = start(2);
    WEIR_ASSERT_OK(datapath);
    for (const AdoptedMap& map : (*datapath)->maps().adopted()) {
        EXPECT_FALSE(map.created) << map.name;
        EXPECT_EQ((*datapath)->maps().find(map.name)->info().id, ids[map.name]) << map.name;
    }
    const auto vip = (*datapath)->tables().vips.find(key);
    WEIR_ASSERT_OK(vip);
    ASSERT_TRUE(vip->has_value());
    EXPECT_EQ((*vip)->service, 7U);
    EXPECT_EQ((*datapath)->tables().services.get(7)->id, 77U);
    for (const char* hook : kMarkedHooks)
        EXPECT_EQ(run_stub(hook), 2) << hook;
}

TEST_F(DatapathTest, BanksAlternateAndTheOldOneIsEmptied) {
    for (const int mark : {1, 2, 1, 2}) {
        auto datapath = start(mark);
        WEIR_ASSERT_OK(datapath);
        const ProgramArray array(*(*datapath)->maps().find("weir_progs"), pins());
        const uint32_t bank = (*datapath)->loaded()->config().bank;
        EXPECT_EQ(bank, mark == 1 ? 0U : 1U);
        EXPECT_EQ(array.live_bank().value(), bank);
        EXPECT_FALSE(array.bank_is_empty(bank).value());
        EXPECT_TRUE(array.bank_is_empty(1 - bank).value());
        EXPECT_EQ(list_pins(pins().progs()).size(), 4U) << "only the stubs stay pinned";
        const auto reader = Reader::open(pins());
        WEIR_ASSERT_OK(reader);
        const auto config = reader->config();
        WEIR_ASSERT_OK(config);
        EXPECT_EQ(config->host_ifindex, static_cast<uint32_t>(mark));
    }
}

TEST_F(DatapathTest, SweepGoesOnWithoutAgentAndIsTakenOver) {
    WEIR_ASSERT_OK(start(1));
    auto map = open_pinned_map(pins(), "weir_sweep", true);
    WEIR_ASSERT_OK(map);
    WEIR_ASSERT_OK(wait_for_sweep(*map, 1s));
    WEIR_ASSERT_OK(start(2));
    const auto sweep = wait_for_sweep(*map, 1s);
    WEIR_ASSERT_OK(sweep);
    EXPECT_EQ(sweep->next_shard, 2U);
}

TEST_F(DatapathTest, ProgramsThatDoNotLoadChangeNothing) {
    WEIR_ASSERT_OK(start(1));
    auto broken = options(2);
    broken.build.pod = test_object("broken");
    auto datapath = Datapath::open(broken);
    WEIR_ASSERT_OK(datapath);
    const auto loaded = (*datapath)->load({});
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().message().find("broken"), std::string::npos);
    EXPECT_NE(loaded.error().message().find("invalid mem access"), std::string::npos)
        << loaded.error().message();
    EXPECT_EQ(loaded.error().message().find("cut short"), std::string::npos);
    for (const char* hook : kMarkedHooks)
        EXPECT_EQ(run_stub(hook), 1) << hook;
    ASSERT_FALSE((*datapath)->activate(SocketHooks::kAll));
    for (const char* hook : kMarkedHooks)
        EXPECT_EQ(run_stub(hook), 1) << hook;
}

TEST_F(DatapathTest, AnotherCapacityIsReportedAndTheOldOneKept) {
    WEIR_ASSERT_OK(start(1));
    auto larger = options(2);
    larger.sizes.vips = 128;
    larger.sizes.ct_per_shard = 128;
    auto datapath = Datapath::open(larger);
    WEIR_ASSERT_OK(datapath);
    std::set<std::string> resized;
    for (const AdoptedMap& map : (*datapath)->maps().adopted()) {
        if (map.resized()) resized.insert(map.name);
    }
    EXPECT_EQ(resized, (std::set<std::string>{"weir_vips", "weir_ct4", "weir_ct6"}));
    EXPECT_EQ((*datapath)->tables().vips.raw().info().max_entries, 64U);
}

TEST_F(DatapathTest, AForeignPinIsNamed) {
    WEIR_ASSERT_OK(pins().create());
    const int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "other", 4, 4, 8, nullptr);
    ASSERT_GE(fd, 0);
    const Fd foreign(fd);
    WEIR_ASSERT_OK(pin(foreign.get(), pins().map("weir_vips")));
    const auto datapath = Datapath::open(options(1));
    ASSERT_FALSE(datapath);
    EXPECT_EQ(datapath.error().code(), Errc::kInvalid);
    EXPECT_NE(datapath.error().message().find(pins().map("weir_vips").string()), std::string::npos);
    EXPECT_NE(datapath.error().message().find("weir cleanup"), std::string::npos);
}

TEST_F(DatapathTest, AProgramPinnedWhereAMapBelongsIsNamed) {
    WEIR_ASSERT_OK(start(1));
    const auto stub = open_pin(pins().prog("stub_dev_in"));
    WEIR_ASSERT_OK(stub);
    WEIR_ASSERT_OK(pin_replacing(stub->get(), pins().map("weir_vips")));
    const auto datapath = Datapath::open(options(1));
    ASSERT_FALSE(datapath);
    EXPECT_NE(datapath.error().message().find("weir_vips"), std::string::npos);
}

TEST_F(DatapathTest, OneAgentAtATime) {
    auto first = start(1);
    WEIR_ASSERT_OK(first);
    const auto second = Datapath::open(options(2));
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), Errc::kUnavailable);
    first->reset();
    WEIR_ASSERT_OK(Datapath::open(options(2)));
}

// Every packet during a takeover is answered by one build, whole: an entry without its stage
// returns 98, a stage of another build 99.
TEST_F(DatapathTest, TakeoverUnderPacketsLosesNone) {
    WEIR_ASSERT_OK(start(1));
    std::atomic<bool> stop = false;
    std::atomic<uint64_t> packets = 0;
    std::map<int, uint64_t> answers;
    std::thread traffic([&] {
        while (!stop) {
            for (const char* hook : {"pod_from", "pod_to"})
                ++answers[run_stub(hook)];
            packets += 2;
        }
    });
    for (int round = 0; round < 10; ++round) {
        const auto next = start(round % 2 == 0 ? 2 : 1);
        EXPECT_TRUE(next) << next.error().message();
    }
    stop = true;
    traffic.join();
    EXPECT_GT(packets, 1000U);
    EXPECT_EQ(answers[1] + answers[2], packets);
    EXPECT_GT(answers[1], 0U);
    EXPECT_GT(answers[2], 0U);
}

TEST_F(DatapathTest, GracePeriodsAreServedOnAnotherThread) {
    GraceWorker worker;
    std::atomic<int> done = 0;
    std::thread::id where;
    for (int i = 0; i < 3; ++i) {
        worker.after([&](const Result<void>& waited) {
            EXPECT_TRUE(waited);
            where = std::this_thread::get_id();
            ++done;
        });
    }
    for (int i = 0; i < 1000 && done < 3; ++i)
        std::this_thread::sleep_for(1ms);
    EXPECT_EQ(done, 3);
    EXPECT_NE(where, std::this_thread::get_id());
}

}  // namespace
}  // namespace weir::datapath::test
