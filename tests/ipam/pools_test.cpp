// SPDX-License-Identifier: Apache-2.0
#include "ipam/pools.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace weir::ipam {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

IpAddress address(std::string_view text) {
    return IpAddress::parse(text).value();
}
AttachmentKey key(std::string container) {
    return {.container = std::move(container), .ifname = "eth0"};
}
Claim claim(std::string container) {
    return {.key = key(std::move(container)),
            .network = "weir",
            .netns = "/run/netns/x",
            .pod_namespace = "shop",
            .pod_name = "web-1",
            .pod_uid = "u-1"};
}

class PoolsTest : public testing::Test {
  protected:
    std::unique_ptr<Pools> open() {
        return Pools::open({.dir = dir_.path(), .rest = {}, .clock = [this] { return now_; }})
            .value();
    }
    std::unique_ptr<Pools> start(const std::vector<Found>& existing = {},
                                 std::vector<std::string_view> ranges = {"10.1.0.0/24",
                                                                         "fd00:1::/64"}) {
        auto pools = open();
        set_ranges(*pools, ranges);
        report_ = pools->reconcile(existing).value();
        return pools;
    }
    static void set_ranges(Pools& pools, const std::vector<std::string_view>& ranges) {
        std::vector<IpPrefix> prefixes;
        for (const auto range : ranges)
            prefixes.push_back(IpPrefix::parse(range).value());
        ASSERT_TRUE(pools.set_ranges(prefixes));
    }
    [[nodiscard]] std::filesystem::path file(const std::string& container) const {
        return dir_.path() / record_file_name(key(container));
    }

    test::TempDir dir_;
    BootTime now_ = seconds(1000);
    Reconciled report_;
};

TEST_F(PoolsTest, GivesAnAddressOfEachFamily) {
    auto pools = start();
    const Record record = pools->allocate(claim("c1")).value();
    EXPECT_THAT(record.addresses, ElementsAre(address("10.1.0.2"), address("fd00:1::2")));
    EXPECT_THAT(pools->routers(), ElementsAre(address("10.1.0.1"), address("fd00:1::1")));
    EXPECT_EQ(decode(read_file(file("c1")).value()).value(), record);
    EXPECT_EQ(pools->find(key("c1")), record);
    EXPECT_EQ(pools->stats(Family::kIpv6).used, 1U);
}

TEST_F(PoolsTest, NothingBeforeRangesAndReconcile) {
    auto pools = open();
    EXPECT_EQ(pools->allocate(claim("c1")).error().code(), Errc::kUnavailable);
    ASSERT_TRUE(pools->reconcile({}));
    const Error error = pools->allocate(claim("c1")).error();
    EXPECT_EQ(error.code(), Errc::kUnavailable);
    EXPECT_THAT(error.message(), HasSubstr("podCIDR"));
}

TEST_F(PoolsTest, OneAllocationAnAttachment) {
    auto pools = start();
    ASSERT_TRUE(pools->allocate(claim("c1")));
    EXPECT_EQ(pools->allocate(claim("c1")).error().code(), Errc::kExists);
    Claim second = claim("c1");
    second.key.ifname = "net1";
    EXPECT_TRUE(pools->allocate(second));
    EXPECT_TRUE(pools->release(key("c1")));
    EXPECT_TRUE(pools->release(key("c1"))) << "releasing is idempotent";
    EXPECT_TRUE(pools->allocate(claim("c1")));
}

TEST_F(PoolsTest, RequestedAddressesOrAnError) {
    auto pools = start();
    Claim wish = claim("c1");
    wish.requested = {address("fd00:1::77")};
    EXPECT_THAT(pools->allocate(wish)->addresses,
                ElementsAre(address("10.1.0.2"), address("fd00:1::77")));
    wish.key = key("c2");
    const Error taken = pools->allocate(wish).error();
    EXPECT_EQ(taken.code(), Errc::kExists);
    EXPECT_THAT(taken.message(), HasSubstr("fd00:1::77 is in use by c1/eth0 (pod shop/web-1)"));
    wish.requested = {address("10.1.0.5"), address("10.1.0.6")};
    EXPECT_EQ(pools->allocate(wish).error().code(), Errc::kInvalid);
    wish.requested = {address("10.2.0.5")};
    EXPECT_EQ(pools->allocate(wish).error().code(), Errc::kInvalid);
    EXPECT_EQ(pools->stats(Family::kIpv4).used, 1U) << "a failed allocation takes nothing";
    EXPECT_EQ(pools->stats(Family::kIpv6).used, 1U);
    EXPECT_TRUE(pools->allocate(claim("c3")));
}

TEST_F(PoolsTest, ExhaustionOfOneFamilyTakesNothingOfTheOther) {
    auto pools = start({}, {"10.1.0.0/24", "fd00:1::/126"});
    ASSERT_TRUE(pools->allocate(claim("c1")));
    ASSERT_TRUE(pools->allocate(claim("c2")));
    const Error error = pools->allocate(claim("c3")).error();
    EXPECT_EQ(error.code(), Errc::kExhausted);
    EXPECT_THAT(error.message(), HasSubstr("IPv6 pool fd00:1::/126"));
    EXPECT_EQ(pools->stats(Family::kIpv4).used, 2U);
    EXPECT_EQ(pools->stats(Family::kIpv4).resting, 0U);
}

TEST_F(PoolsTest, SurvivesARestart) {
    {
        auto pools = start();
        for (const auto* id : {"c1", "c2", "c3"})
            ASSERT_TRUE(pools->allocate(claim(id)));
        ASSERT_TRUE(pools->commit(key("c1")));
        ASSERT_TRUE(pools->release(key("c3")));
        EXPECT_EQ(pools->commit(key("c3")).error().code(), Errc::kNotFound);
    }
    now_ += seconds(1);
    auto pools = start({{key("c1"), {address("10.1.0.2"), address("fd00:1::2")}}});
    EXPECT_EQ(report_.kept, 1U);
    EXPECT_THAT(report_.released, ElementsAre(key("c2")));
    EXPECT_EQ(pools->find(key("c1"))->pod_name, "web-1");
    EXPECT_EQ(pools->find(key("c1"))->state, RecordState::kCommitted);
    // The round robin goes on where it was, past addresses that rest.
    EXPECT_EQ(pools->allocate(claim("c4"))->addresses.front(), address("10.1.0.5"));
    EXPECT_EQ(pools->stats(Family::kIpv4).resting, 2U);
}

TEST_F(PoolsTest, TheRoundRobinSurvivesLongSilence) {
    {
        auto pools = start();
        ASSERT_TRUE(pools->allocate(claim("c1")));
        ASSERT_TRUE(pools->release(key("c1")));
        now_ += seconds(3600);
        for (int i = 0; i < 10; ++i)
            ASSERT_TRUE(pools->release(key("none")));
    }
    EXPECT_EQ(start()->allocate(claim("c2"))->addresses.front(), address("10.1.0.3"));
}

TEST_F(PoolsTest, RestedRecordsLeaveTheDisk) {
    auto pools = start();
    for (int i = 0; i < 20; ++i) {
        const std::string id = fmt::format("c{}", i);
        ASSERT_TRUE(pools->allocate(claim(id)));
        ASSERT_TRUE(pools->release(key(id)));
    }
    now_ += seconds(60);
    for (int i = 0; i < 10; ++i)
        ASSERT_TRUE(pools->release(key("none")));
    size_t records = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
        if (entry.path().extension() == ".json") ++records;
    }
    EXPECT_EQ(records, 1U) << "only the newest, for the round robin";
}

// "A torn file is detected and rebuilt from what really exists."
TEST_F(PoolsTest, DamagedFilesAreRebuiltFromTheHost) {
    {
        auto pools = start();
        for (const auto* id : {"torn", "changed", "gone", "empty", "sound"}) {
            ASSERT_TRUE(pools->allocate(claim(id)));
        }
    }
    const auto cut = read_file(file("torn")).value();
    std::ofstream(file("torn")) << cut.substr(0, cut.size() / 2);
    auto changed = read_file(file("changed")).value();
    changed.replace(changed.find("10.1.0.3"), 8, "10.1.0.9");
    std::ofstream(file("changed")) << changed;
    std::ofstream(file("gone")) << "{}";
    std::ofstream(file("empty")).close();
    std::ofstream(dir_.path() / "notes.txt") << "foreign";
    std::ofstream(dir_.path() / "c9@eth0.json.tmpAbCdEf") << "interrupted";
    std::filesystem::copy_file(file("sound"), file("copy"));

    auto pools = open();
    set_ranges(*pools, {"10.1.0.0/24", "fd00:1::/64"});
    EXPECT_EQ(pools->allocate(claim("early")).error().code(), Errc::kUnavailable);
    const std::vector<Found> existing = {
        {key("torn"), {address("fd00:1::2"), address("10.1.0.2")}},
        {key("changed"), {address("10.1.0.3"), address("fd00:1::3")}},
        {key("sound"), {address("10.1.0.6"), address("fd00:1::6")}},
    };
    const Reconciled report = pools->reconcile(existing).value();
    EXPECT_EQ(report.damaged, 5U);
    EXPECT_EQ(report.kept, 1U);
    EXPECT_THAT(report.adopted, ElementsAre(key("changed"), key("torn")));
    EXPECT_THAT(report.conflicts, IsEmpty());
    EXPECT_THAT(pools->find(key("torn"))->addresses,
                ElementsAre(address("10.1.0.2"), address("fd00:1::2")));
    EXPECT_EQ(pools->stats(Family::kIpv4).used, 3U);
    EXPECT_EQ(decode(read_file(file("torn")).value())->state, RecordState::kCommitted);
    EXPECT_FALSE(std::filesystem::exists(file("copy")));
    EXPECT_FALSE(std::filesystem::exists(dir_.path() / "c9@eth0.json.tmpAbCdEf"));
    EXPECT_TRUE(std::filesystem::exists(dir_.path() / "notes.txt")) << "none of ours";
    std::set<IpAddress> seen = {address("10.1.0.2"), address("10.1.0.3"), address("10.1.0.6")};
    for (int i = 0; i < 100; ++i) {
        const auto record = pools->allocate(claim(fmt::format("n{}", i))).value();
        EXPECT_TRUE(seen.insert(record.addresses.front()).second);
    }
}

TEST_F(PoolsTest, TheHostWinsAndConflictsAreTold) {
    {
        ASSERT_TRUE(start()->allocate(claim("c1")));
    }
    const std::vector<Found> existing = {{key("c1"), {address("10.1.0.50")}},
                                         {key("c2"), {address("10.1.0.50")}}};
    auto pools = start(existing);
    EXPECT_THAT(report_.conflicts, SizeIs(1));
    EXPECT_THAT(report_.conflicts.front(),
                HasSubstr("10.1.0.50 is held by c1/eth0 and by c2/eth0"));
    // It is free only when the last of them is gone.
    ASSERT_TRUE(pools->release(key("c1")));
    Claim wish = claim("c3");
    wish.requested = {address("10.1.0.50")};
    EXPECT_EQ(pools->allocate(wish).error().code(), Errc::kExists);
    ASSERT_TRUE(pools->release(key("c2")));
    EXPECT_TRUE(pools->allocate(wish));
}

TEST_F(PoolsTest, RangesChangeOnALiveNode) {
    auto pools = start();
    ASSERT_TRUE(pools->allocate(claim("c1")));
    EXPECT_FALSE(pools->set_ranges({IpPrefix::parse("10.7.0.0/31").value()}));
    set_ranges(*pools, {"10.7.0.0/24", "10.8.0.0/24"});
    EXPECT_THAT(pools->allocate(claim("c2"))->addresses, ElementsAre(address("10.7.0.2")));
    EXPECT_EQ(pools->stats(Family::kIpv4).stranded, 1U);
    EXPECT_EQ(pools->find(key("c1"))->addresses.front(), address("10.1.0.2"));
    ASSERT_TRUE(pools->release(key("c1")));
    EXPECT_EQ(pools->stats(Family::kIpv4).stranded, 0U);
}

TEST_F(PoolsTest, OneProcessADirectory) {
    auto pools = open();
    const auto second = Pools::open({.dir = dir_.path(), .rest = {}, .clock = boot_now});
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().message(), HasSubstr("in use by another process"));
}

TEST_F(PoolsTest, AFullDiskIsAnErrorAndTakesNothing) {
    auto pools = start();
    Claim wish = claim(std::string(kMaxContainerIdLength, 'c'));
    ASSERT_TRUE(pools->allocate(wish)) << "the longest id has a file name";
    wish.key.container += "c";
    EXPECT_EQ(pools->allocate(wish).error().code(), Errc::kInvalid);
    std::filesystem::remove_all(dir_.path());
    EXPECT_EQ(pools->allocate(claim("c2")).error().code(), Errc::kNotFound);
    EXPECT_EQ(pools->stats(Family::kIpv4).used, 1U);
}

TEST_F(PoolsTest, ThreadsGetDifferentAddresses) {
    auto pools = start({}, {"10.1.0.0/22", "fd00:1::/64"});
    constexpr int kThreads = 8;
    constexpr int kRounds = 60;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&pools, t] {
            for (int i = 0; i < kRounds; ++i) {
                const std::string id = fmt::format("t{}-{}", t, i);
                if (!pools->allocate(claim(id)) || !pools->commit(key(id))) std::abort();
                if (i % 3 == 0 && !pools->release(key(id))) std::abort();
            }
        });
    }
    for (auto& thread : threads)
        thread.join();
    std::set<IpAddress> seen;
    const auto live = pools->list();
    for (const Record& record : live) {
        for (const IpAddress& each : record.addresses)
            EXPECT_TRUE(seen.insert(each).second);
    }
    EXPECT_THAT(live, SizeIs(kThreads * kRounds * 2 / 3));
}

// The aim is 1 ms with thousands of allocations; sanitizers and busy machines get more, the figure
// is printed.
TEST_F(PoolsTest, AllocationTakesLittleTimeWithThousands) {
    auto pools = start({}, {"10.64.0.0/16", "fd00:1::/64"});
    for (int i = 0; i < 3000; ++i)
        ASSERT_TRUE(pools->allocate(claim(fmt::format("c{}", i))));
    std::vector<double> micros;
    for (int i = 0; i < 300; ++i) {
        const BootTime before = boot_now();
        ASSERT_TRUE(pools->allocate(claim(fmt::format("d{}", i))));
        micros.push_back(std::chrono::duration<double, std::micro>(boot_now() - before).count());
    }
    std::ranges::sort(micros);
    RecordProperty("median_us", std::to_string(micros[150]));
    RecordProperty("p99_us", std::to_string(micros[296]));
    std::printf("allocate with 3000 live: median %.0f us, p99 %.0f us\n", micros[150], micros[296]);
    EXPECT_LT(micros[150], 1000.0);
}

}  // namespace
}  // namespace weir::ipam
