// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include <poll.h>
#include <sys/socket.h>

#include "datapath/netlink/testbed.h"
#include "datapath/netlink/watcher.h"

namespace weir::netlink {
namespace {

using test::MountedNs;
using test::sh;
using testing::ElementsAre;
using testing::IsEmpty;
using Clock = Watcher::Clock;

class WatcherTest : public test::HostTest {
  protected:
    void SetUp() override {
        HostTest::SetUp();
        file_ = fmt::format("/tmp/weir-watcher-{}.json", ::getpid());
        journal_ = std::make_unique<SysctlJournal>(std::move(*SysctlJournal::open(file_)));
        host_ = std::make_unique<HostLink>(*journal_);
        auto watcher = Watcher::open(*host_, pods());
        ASSERT_OK(watcher);
        watcher_ = std::make_unique<Watcher>(std::move(*watcher));
        HostLinkSpec host;
        host.pod_ranges = {*IpPrefix::parse("10.244.1.0/24"),
                           *IpPrefix::parse("fd00:10:244:1::/64")};
        host.service_ranges = {*IpPrefix::parse("10.96.0.0/12")};
        host.mac = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
        watcher_->set_host(host);
        const WatchReport first = run();
        ASSERT_TRUE(first.host && first.host->created);
        auto link = pods().create(ns_.open(), spec(5), programs());
        ASSERT_OK(link);
        watcher_->add_pod(spec(5), programs(), link->host_ifindex);
        run();
    }
    void TearDown() override { std::filesystem::remove(file_); }

    /// What an event loop would do, until nothing is due and nothing arrives.
    WatchReport run() {
        WatchReport all;
        pollfd one{.fd = watcher_->fd(), .events = POLLIN};
        for (;;) {
            const bool readable = ::poll(&one, 1, 150) == 1;
            if (readable) EXPECT_TRUE(watcher_->on_readable(Clock::now()));
            WatchReport report = watcher_->run_due(Clock::now());
            std::move(report.repaired.begin(), report.repaired.end(),
                      std::back_inserter(all.repaired));
            std::move(report.lost.begin(), report.lost.end(), std::back_inserter(all.lost));
            std::move(report.failures.begin(), report.failures.end(),
                      std::back_inserter(all.failures));
            if (report.host) all.host = std::move(report.host);
            if (!readable && !watcher_->due()) return all;
        }
    }

    MountedNs ns_;
    std::filesystem::path file_;
    std::unique_ptr<SysctlJournal> journal_;
    std::unique_ptr<HostLink> host_;
    std::unique_ptr<Watcher> watcher_;
};

TEST_F(WatcherTest, NothingIsMendedWhereNothingIsWrong) {
    watcher_->mark_all(Clock::now());
    const WatchReport report = run();
    EXPECT_THAT(report.repaired, IsEmpty());
    EXPECT_THAT(report.failures, IsEmpty());
}

struct Sabotage {
    std::string name;
    std::string command;
    Kind kind;
};
std::ostream& operator<<(std::ostream& out, const Sabotage& one) {
    return out << one.name;
}
class SabotageTest : public WatcherTest, public testing::WithParamInterface<Sabotage> {};

TEST_P(SabotageTest, IsPutBackWithinASecondAndCounted) {
    std::string command = GetParam().command;
    for (size_t at = 0; (at = command.find("HOST")) != std::string::npos;) {
        command.replace(at, 4, spec(5).host_ifname);
    }
    const auto begin = Clock::now();
    sh(command);
    const WatchReport report = run();
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(1));
    EXPECT_THAT(report.failures, IsEmpty());
    EXPECT_GE(watcher_->repaired(GetParam().kind), 1U);
    ASSERT_OK(pods().check(ns_.open(), spec(5), programs()));
    watcher_->mark_all(Clock::now());
    EXPECT_THAT(run().repaired, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Every, SabotageTest,
    testing::Values(
        Sabotage{"PodRoute4", "ip route del 10.244.1.5", Kind::kRoute},
        Sabotage{"PodRoute6", "ip -6 route del fd00:10:244:1::5", Kind::kRoute},
        Sabotage{"AllOurRoutes", "ip route flush proto 87", Kind::kRoute},
        Sabotage{"RouteElsewhere", "ip route replace 10.244.1.5 dev lo", Kind::kRoute},
        Sabotage{"PodNeighbour", "ip neigh flush dev HOST nud permanent", Kind::kNeighbour},
        Sabotage{"PodFilters", "tc qdisc del dev HOST clsact", Kind::kFilter},
        Sabotage{"PodFilter", "tc filter del dev HOST egress", Kind::kFilter},
        Sabotage{"PodDown", "ip link set HOST down", Kind::kLink},
        Sabotage{"PodMac", "ip link set HOST address 02:00:00:00:00:07", Kind::kLink},
        Sabotage{"PodMark",
                 "ip link property del dev HOST altname $(ip link show HOST | "
                 "sed -n \"s/ *altname //p\")",
                 Kind::kLink},
        Sabotage{"Weir0", "ip link del weir0", Kind::kLink},
        Sabotage{"Weir0Down", "ip link set weir0 down", Kind::kLink},
        Sabotage{"RouterAddress", "ip addr del 10.244.1.1/32 dev weir0", Kind::kAddress},
        Sabotage{"ServiceRoute", "ip route del 10.96.0.0/12", Kind::kRoute},
        Sabotage{"Unreachable", "ip -6 route del unreachable fd00:10:244:1::/64", Kind::kRoute}),
    [](const auto& info) { return info.param.name; });

TEST_F(WatcherTest, LinkThatIsGoneIsReportedAndNotTriedForEver) {
    sh("ip link del " + spec(5).host_ifname);
    const WatchReport report = run();
    EXPECT_THAT(report.lost, ElementsAre(spec(5).host_ifname));
    EXPECT_FALSE(watcher_->due());
}

TEST_F(WatcherTest, RemovedPodIsLeftAlone) {
    watcher_->remove_pod(spec(5).host_ifname);
    sh("ip route del 10.244.1.5");
    EXPECT_THAT(run().repaired, IsEmpty());
}

TEST_F(WatcherTest, LostNotificationsLeadToLookingAtEverything) {
    const int small = 1;
    ASSERT_EQ(::setsockopt(watcher_->fd(), SOL_SOCKET, SO_RCVBUFFORCE, &small, sizeof small), 0);
    sh("for i in $(seq 1 40); do ip link set lo mtu $((60000+i)); done; ip route del 10.244.1.5");
    run();
    EXPECT_EQ(watcher_->repaired(Kind::kRoute), 1U);
}

TEST_F(WatcherTest, ForeignObjectsStay) {
    sh("ip link add br7 type bridge; ip link set br7 up; ip addr add 198.51.100.1/24 dev br7; "
       "ip route add 203.0.113.0/24 dev br7");
    EXPECT_THAT(run().repaired, IsEmpty());
    sh("ip route del 203.0.113.0/24; ip link del br7");
    EXPECT_THAT(run().repaired, IsEmpty());
}

}  // namespace
}  // namespace weir::netlink
