// SPDX-License-Identifier: Apache-2.0
#include <fstream>
#include <map>

#include <netinet/in.h>
#include <sys/socket.h>

#include "common/fd.h"
#include "datapath/netlink/sysctl.h"
#include "datapath/netlink/testbed.h"

namespace weir::netlink {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(PortsTest, ReadsMergesAndWrites) {
    EXPECT_EQ(format_ports(*parse_ports("")), "");
    EXPECT_EQ(format_ports(*parse_ports("7")), "7");
    EXPECT_EQ(format_ports(*parse_ports("9,1-3,4,65535")), "1-4,9,65535");
    EXPECT_EQ(format_ports(*parse_ports("0-65535,5")), "0-65535");
    for (const char* bad : {"x", "1-", "-1", "70000", "5-3", "1,,2", "1 "}) {
        EXPECT_FALSE(parse_ports(bad)) << bad;
    }
}

TEST(PortsTest, Subtracts) {
    const auto minus = [](const char* a, const char* b) {
        return format_ports(subtract_ports(*parse_ports(a), *parse_ports(b)));
    };
    EXPECT_EQ(minus("1-10", "3-4,8"), "1-2,5-7,9-10");
    EXPECT_EQ(minus("1-10", "1-10"), "");
    EXPECT_EQ(minus("0-65535", "0,65535"), "1-65534");
    EXPECT_EQ(minus("5-9", "1-6,9-20"), "7-8");
    EXPECT_EQ(minus("5-9", ""), "5-9");
}

class SysctlTest : public test::HostTest {
  protected:
    static constexpr auto kSetting = "net/ipv4/conf/lo/rp_filter";
    static constexpr auto kRange = "net/ipv4/ip_local_port_range";
    static constexpr auto kPorts = "net/ipv4/ip_local_reserved_ports";

    void SetUp() override {
        HostTest::SetUp();
        file_ = fmt::format("/tmp/weir-sysctl-{}.json", ::getpid());
        std::filesystem::remove(file_);
    }
    void TearDown() override { std::filesystem::remove(file_); }
    SysctlJournal open() const {
        auto journal = SysctlJournal::open(file_);
        EXPECT_TRUE(journal) << journal.error().message();
        return std::move(*journal);
    }

    std::filesystem::path file_;
};

TEST_F(SysctlTest, AContainerNamesWhereTheSettingsAre) {
    const std::filesystem::path root = fmt::format("/tmp/weir-proc-sys-{}", ::getpid());
    std::filesystem::create_directories(root / "net/ipv4/conf/lo");
    std::ofstream(root / kSetting) << "7\n";
    ASSERT_OK(write_sysctl(kSetting, "1"));
    set_sysctl_root(root);
    EXPECT_EQ(*read_sysctl(kSetting), "7");
    const auto missing = write_sysctl("net/none", "1");
    set_sysctl_root("/proc/sys");
    EXPECT_FALSE(missing);
    EXPECT_EQ(*read_sysctl(kSetting), "1");
    std::filesystem::remove_all(root);
}

TEST_F(SysctlTest, PutsBackWhatWasBeforeTheFirstChange) {
    ASSERT_OK(write_sysctl(kSetting, "1"));
    {
        SysctlJournal journal = open();
        ASSERT_OK(journal.set(kSetting, "2"));
        ASSERT_OK(journal.set(kSetting, "0"));
    }
    EXPECT_EQ(*read_sysctl(kSetting), "0");
    SysctlJournal another_life = open();
    const auto left = another_life.restore_all();
    ASSERT_OK(left);
    EXPECT_THAT(*left, IsEmpty());
    EXPECT_EQ(*read_sysctl(kSetting), "1");
    EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(SysctlTest, TheLocalRangeEndsBeforeOurPortsUntilRestored) {
    ASSERT_OK(write_sysctl(kRange, "32768\t60999"));
    for (int life = 0; life < 2; ++life) {
        SysctlJournal journal = open();
        ASSERT_OK(journal.leave_local_range({45056, 65535}));
        EXPECT_EQ(*read_sysctl(kRange), "32768\t45055");
    }
    SysctlJournal journal = open();
    ASSERT_OK(journal.leave_local_range({50000, 65535}));  // configured otherwise
    EXPECT_EQ(*read_sysctl(kRange), "32768\t49999");
    ASSERT_OK(write_sysctl(kRange, "20000\t60000"));  // somebody's choice
    ASSERT_OK(journal.leave_local_range({21000, 30000}));
    EXPECT_EQ(*read_sysctl(kRange), "30001\t60000");
    EXPECT_FALSE(journal.leave_local_range({10000, 65535}));
    EXPECT_EQ(*read_sysctl(kRange), "30001\t60000");
    ASSERT_OK(open().restore_all());
    EXPECT_EQ(*read_sysctl(kRange), "20000\t60000");
}

// What reserved ports within the range would do, and why it is made smaller.
TEST_F(SysctlTest, NoLocalPortIsChosenFarMoreOftenThanOthers) {
    ASSERT_OK(write_sysctl(kRange, "32768\t60999"));
    SysctlJournal journal = open();
    ASSERT_OK(journal.reserve_ports({{45056, 65535}}));
    ASSERT_OK(journal.leave_local_range({45056, 65535}));
    test::sh("ip link set lo up");
    std::map<uint16_t, int> seen;
    for (int i = 0; i < 2000; ++i) {
        const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        to.sin_port = htons(9);
        ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
        socklen_t size = sizeof to;
        ASSERT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&to), &size), 0);
        ++seen[ntohs(to.sin_port)];
    }
    for (const auto& [port, times] : seen)
        EXPECT_LT(times, 20) << port;
}

TEST_F(SysctlTest, NothingIsRememberedOfASettingThatWasRightAlready) {
    ASSERT_OK(write_sysctl(kSetting, "2"));
    SysctlJournal journal = open();
    ASSERT_OK(journal.set(kSetting, "2"));
    EXPECT_FALSE(std::filesystem::exists(file_));
    ASSERT_OK(write_sysctl(kSetting, "1"));
    ASSERT_OK(journal.restore_all());
    EXPECT_EQ(*read_sysctl(kSetting), "1");
}

TEST_F(SysctlTest, WhatSomebodyElseChangedStays) {
    ASSERT_OK(write_sysctl(kSetting, "0"));
    SysctlJournal journal = open();
    ASSERT_OK(journal.set(kSetting, "2"));
    ASSERT_OK(write_sysctl(kSetting, "1"));
    const auto left = journal.restore_all();
    ASSERT_OK(left);
    EXPECT_THAT(*left, ElementsAre(kSetting));
    EXPECT_EQ(*read_sysctl(kSetting), "1");
}

TEST_F(SysctlTest, JournalIsWrittenBeforeTheSetting) {
    SysctlJournal journal = open();
    // Not a value of this setting: the kernel refuses, after the journal has been written.
    EXPECT_FALSE(journal.set(kSetting, "not a number"));
    EXPECT_THAT(*read_file(file_), HasSubstr("rp_filter"));
    const std::string before = *read_sysctl(kSetting);
    ASSERT_OK(open().restore_all());
    EXPECT_EQ(*read_sysctl(kSetting), before);
}

TEST_F(SysctlTest, SettingThatVanishedWithItsDeviceIsForgotten) {
    test::sh("ip link add gone0 type bridge");
    SysctlJournal journal = open();
    ASSERT_OK(journal.set("net/ipv4/conf/gone0/rp_filter", "2"));
    test::sh("ip link del gone0");
    const auto left = journal.restore_all();
    ASSERT_OK(left);
    EXPECT_THAT(*left, IsEmpty());
}

TEST_F(SysctlTest, TornFileIsRefusedWithTheNextStep) {
    std::ofstream(file_) << "{\"version\":1,\"settings\":{";
    const auto journal = SysctlJournal::open(file_);
    ASSERT_FALSE(journal);
    EXPECT_EQ(journal.error().code(), Errc::kInvalid);
    EXPECT_THAT(journal.error().message(), HasSubstr("move it away"));
}

TEST_F(SysctlTest, ReservedPortsAreMergedAndOnlyOursLeave) {
    ASSERT_OK(write_sysctl(kPorts, "1000-1001,50000"));
    {
        SysctlJournal journal = open();
        ASSERT_OK(journal.reserve_ports({{30000, 32767}, {45056, 65535}}));
        EXPECT_EQ(*read_sysctl(kPorts), "1000-1001,30000-32767,45056-65535");
        ASSERT_OK(journal.reserve_ports({{30000, 32767}, {60000, 65535}}));
        EXPECT_EQ(*read_sysctl(kPorts), "1000-1001,30000-32767,50000,60000-65535");
    }
    // Somebody adds one while we are there.
    ASSERT_OK(write_sysctl(kPorts, "7,1000-1001,30000-32767,50000,60000-65535"));
    SysctlJournal another_life = open();
    ASSERT_OK(another_life.reserve_ports({{30000, 32767}}));
    EXPECT_EQ(*read_sysctl(kPorts), "7,1000-1001,30000-32767,50000");
    ASSERT_OK(another_life.restore_all());
    EXPECT_EQ(*read_sysctl(kPorts), "7,1000-1001,50000");
}

TEST_F(SysctlTest, LastReservedPortsLeaveAnEmptyList) {
    SysctlJournal journal = open();
    ASSERT_OK(journal.reserve_ports({{30000, 30001}}));
    ASSERT_OK(journal.restore_all());
    EXPECT_EQ(*read_sysctl(kPorts), "");
}

}  // namespace
}  // namespace weir::netlink
