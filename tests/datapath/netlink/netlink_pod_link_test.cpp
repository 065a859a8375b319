// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <ostream>

#include <boost/json.hpp>

#include "datapath/netlink/testbed.h"

namespace weir::netlink {
namespace {

using test::MountedNs;
using test::sh;
using test::succeeds;
using testing::HasSubstr;
using testing::Not;
namespace json = boost::json;

class PodLinkTest : public test::HostTest {
  protected:
    /// All that the kernel tells of this namespace's links, routes and neighbours, without what
    /// differs from moment to moment.
    static std::string snapshot() {
        return sh("ip -d link") + sh("ip -4 route show table all") +
               sh("ip -6 route show table all") + sh("ip neigh") + sh("ip rule") + sh("tc qdisc") +
               sh("ip addr");
    }
    /// A sysfs mounted anew shows the devices of the namespace one is in.
    static std::string assign_type(const std::string& name) {
        return "unshare -m sh -c 'mount -t sysfs sysfs /mnt && cat /mnt/class/net/" + name +
               "/addr_assign_type'";
    }
    PodLink create(const MountedNs& ns, const PodLinkSpec& spec) {
        auto link = pods().create(ns.open(), spec, programs());
        EXPECT_TRUE(link) << link.error().message();
        return link ? *link : PodLink{};
    }
};

TEST_F(PodLinkTest, MakesWhatAnIndependentToolSees) {
    const MountedNs ns;
    const PodLinkSpec pod = spec(5);
    const PodLink link = create(ns, pod);

    const auto links = json::parse(sh("ip -j -d link show " + pod.host_ifname));
    const auto& host = links.at(0).as_object();
    EXPECT_EQ(host.at("ifindex").as_int64(), link.host_ifindex);
    EXPECT_EQ(host.at("address").as_string(), "ee:ee:ee:ee:ee:ee");
    EXPECT_EQ(host.at("ifalias").as_string(), "shop/web-5 eth0");
    EXPECT_EQ(host.at("operstate").as_string(), "UP");
    EXPECT_EQ(host.at("inet6_addr_gen_mode").as_string(), "none");
    EXPECT_EQ(host.at("altnames").at(0).as_string(), "weir+" + pod.container_id + "+eth0");
    EXPECT_EQ(sh("ip -6 addr show dev " + pod.host_ifname), "") << "no address of its own";
    // Both counted as assigned (3) by the kernel, so that udev leaves them alone.
    EXPECT_EQ(sh(assign_type(pod.host_ifname)), "3\n");
    EXPECT_EQ(sh("nsenter --net=" + ns.path().string() + " " + assign_type("eth0")), "3\n");

    EXPECT_THAT(sh("ip -4 route show proto 87"),
                HasSubstr("10.244.1.5 dev " + pod.host_ifname + " scope link"));
    EXPECT_THAT(sh("ip -6 route show proto 87"),
                HasSubstr("fd00:10:244:1::5 dev " + pod.host_ifname));
    const std::string neighbours = sh("ip neigh show nud permanent");
    EXPECT_THAT(neighbours, HasSubstr("10.244.1.5 dev " + pod.host_ifname + " lladdr " +
                                      to_string(pod.pod_mac)));
    EXPECT_THAT(neighbours, HasSubstr("fd00:10:244:1::5 dev " + pod.host_ifname));
    for (const std::string direction : {"ingress", "egress"}) {
        EXPECT_THAT(sh("tc filter show dev " + pod.host_ifname + " " + direction),
                    testing::AllOf(HasSubstr("direct-action"), HasSubstr("flowid :5")));
    }

    EXPECT_THAT(ns.sh("ip link show eth0"),
                testing::AllOf(HasSubstr(to_string(pod.pod_mac)), HasSubstr("state UP")));
    EXPECT_THAT(ns.sh("ip link show lo"), HasSubstr("LOWER_UP"));
    EXPECT_THAT(ns.sh("ip addr show eth0"),
                testing::AllOf(HasSubstr("10.244.1.5/32 scope global"),
                               HasSubstr("fd00:10:244:1::5/128 scope global nodad"),
                               Not(HasSubstr("tentative")), Not(HasSubstr("scope link"))));
    EXPECT_THAT(ns.sh("ip route show default"), HasSubstr("via 169.254.1.1 dev eth0"));
    EXPECT_THAT(ns.sh("ip -6 route show default"),
                HasSubstr("via fe80::ecee:eeff:feee:eeee dev eth0"));
    EXPECT_THAT(ns.sh("ip neigh"),
                testing::AllOf(HasSubstr("169.254.1.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee PERMANENT"),
                               HasSubstr("fe80::ecee:eeff:feee:eeee dev eth0 lladdr "
                                         "ee:ee:ee:ee:ee:ee PERMANENT")));
    ASSERT_OK(pods().check(ns.open(), pod, programs()));
}

TEST_F(PodLinkTest, PacketsPassInBothFamiliesAsSoonAsCreateReturns) {
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    const MountedNs one;
    const MountedNs other;
    create(one, spec(2));
    create(other, spec(3));
    // One packet each, half a second: duplicate address detection or a lost first packet fails it.
    EXPECT_TRUE(other.succeeds("ping -c1 -W0.5 10.244.1.2"));
    EXPECT_TRUE(other.succeeds("ping -6 -c1 -W0.5 fd00:10:244:1::2"));
    EXPECT_TRUE(one.succeeds("ping -c1 -W0.5 10.244.1.3"));
    EXPECT_TRUE(one.succeeds("ping -6 -c1 -W0.5 fd00:10:244:1::3"));
}

TEST_F(PodLinkTest, FirstPacketAfterCreateIsNeverLost) {
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    sh("ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo");
    for (unsigned n = 2; n < 22; n++) {
        const MountedNs ns;
        create(ns, spec(n));
        if (n % 2 == 0) {
            EXPECT_TRUE(succeeds(fmt::format("ping -6 -c1 -W0.5 fd00:10:244:1::{:x}", n)));
            EXPECT_TRUE(succeeds(fmt::format("ping -c1 -W0.5 10.244.1.{}", n)));
        } else {
            EXPECT_TRUE(ns.succeeds("ping -6 -c1 -W0.5 2001:db8::1"));
            EXPECT_TRUE(ns.succeeds("ping -c1 -W0.5 192.0.2.1"));
        }
        ASSERT_OK(pods().remove(spec(n).host_ifname));
    }
}

TEST_F(PodLinkTest, HundredPodsLeaveTheHostAsItWas) {
    const std::string before = snapshot();
    std::vector<std::unique_ptr<MountedNs>> spaces;
    for (unsigned n = 1; n <= 100; n++) {
        spaces.push_back(std::make_unique<MountedNs>());
        create(*spaces.back(), spec(n));
    }
    auto found = pods().list();
    ASSERT_OK(found);
    EXPECT_EQ(found->size(), 100U);
    for (unsigned n = 1; n <= 100; n++) {
        if (n % 2 == 0) ASSERT_OK(pods().remove(spec(n).host_ifname));
        if (n % 2 == 1) ASSERT_OK(pods().remove(spec(n).container_id, "eth0"));
    }
    EXPECT_EQ(snapshot(), before);
    EXPECT_EQ(spaces.front()->sh("ip -o link | grep -c eth0 || true"), "0\n");
}

TEST_F(PodLinkTest, ListTellsWhoseEachLinkIs) {
    const MountedNs ns;
    create(ns, spec(7));
    sh("ip link add foreign0 type bridge");
    auto found = pods().list();
    ASSERT_OK(found);
    ASSERT_EQ(found->size(), 1U);
    const Attachment expected{spec(7).container_id, "eth0"};
    EXPECT_EQ((*found)[0].attachment, expected);
    EXPECT_EQ((*found)[0].link.alias, "shop/web-7 eth0");
}

TEST_F(PodLinkTest, InterfaceInThePodAlreadyIsExists) {
    const MountedNs ns;
    ns.sh("ip link add eth0 type bridge");
    const std::string before = snapshot();
    const auto made = pods().create(ns.open(), spec(1), programs());
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code(), Errc::kExists);
    EXPECT_THAT(made.error().message(), HasSubstr("has an interface eth0 already"));
    EXPECT_EQ(snapshot(), before);
}

TEST_F(PodLinkTest, HostNameTakenIsExists) {
    const MountedNs ns;
    sh("ip link add " + spec(1).host_ifname + " type bridge");
    const auto made = pods().create(ns.open(), spec(1), programs());
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code(), Errc::kExists);
    EXPECT_THAT(made.error().message(),
                HasSubstr("the host has an interface " + spec(1).host_ifname + " already"));
    // And it is not taken for ours.
    const auto removed = pods().remove(spec(1).host_ifname);
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code(), Errc::kPermission);
}

TEST_F(PodLinkTest, RemoveIsIdempotent) {
    const MountedNs ns;
    ASSERT_OK(pods().remove("w00000-none"));
    ASSERT_OK(pods().remove("nobody", "eth0"));
    create(ns, spec(1));
    ASSERT_OK(pods().remove(spec(1).container_id, "eth0"));
    ASSERT_OK(pods().remove(spec(1).container_id, "eth0"));
    ASSERT_OK(pods().remove(spec(1).host_ifname));
}

TEST_F(PodLinkTest, RemoveAfterTheNamespaceIsGone) {
    {
        const MountedNs ns;
        create(ns, spec(1));
    }
    ASSERT_OK(pods().remove(spec(1).container_id, "eth0"));
    EXPECT_THAT(sh("ip link"), Not(HasSubstr(spec(1).host_ifname)));
}

TEST_F(PodLinkTest, SandboxWithIpv6SwitchedOffGetsIt) {
    const MountedNs ns;
    ns.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    create(ns, spec(4));
    EXPECT_THAT(ns.sh("ip -6 addr show dev eth0"), HasSubstr("fd00:10:244:1::4/128"));
    ASSERT_OK(pods().check(ns.open(), spec(4), programs()));
}

TEST_F(PodLinkTest, SingleFamily) {
    const MountedNs ns;
    PodLinkSpec pod = spec(6);
    pod.addresses[1].reset();
    create(ns, pod);
    EXPECT_EQ(ns.sh("ip -6 addr show dev eth0"), "");
    ASSERT_OK(pods().check(ns.open(), pod, programs()));
}

struct Damage {
    std::string name;
    std::string command;
    bool in_pod;
    std::string reported;
};
std::ostream& operator<<(std::ostream& out, const Damage& one) {
    return out << one.name;
}

class PodDamageTest : public PodLinkTest, public testing::WithParamInterface<Damage> {};

// CNI spec 1.1.0, CHECK: an error for every thing that is missing or wrong.
TEST_P(PodDamageTest, CheckNamesIt) {
    const Damage& damage = GetParam();
    const MountedNs ns;
    const PodLinkSpec pod = spec(5);
    create(ns, pod);
    std::string command = damage.command;
    if (const size_t at = command.find("HOST"); at != std::string::npos) {
        command.replace(at, 4, pod.host_ifname);
    }
    damage.in_pod ? ns.sh(command) : sh(command);
    const auto checked = pods().check(ns.open(), pod, programs());
    ASSERT_FALSE(checked);
    EXPECT_THAT(checked.error().message(), HasSubstr(damage.reported));
    if (damage.in_pod) return;
    ASSERT_OK(pods().repair_host(pod, programs()));
    ASSERT_OK(pods().check(ns.open(), pod, programs()));
}

INSTANTIATE_TEST_SUITE_P(
    Every, PodDamageTest,
    testing::Values(
        Damage{"HostRoute4", "ip route del 10.244.1.5", false, "no route to 10.244.1.5"},
        Damage{"HostRoute6", "ip -6 route del fd00:10:244:1::5", false,
               "no route to fd00:10:244:1::5"},
        Damage{"HostNeighbour4", "ip neigh del 10.244.1.5 dev HOST", false,
               "no permanent neighbour 10.244.1.5"},
        Damage{"HostNeighbour6", "ip neigh del fd00:10:244:1::5 dev HOST", false,
               "no permanent neighbour fd00:10:244:1::5"},
        Damage{"Clsact", "tc qdisc del dev HOST clsact", false, "has no ingress program"},
        Damage{"Egress", "tc filter del dev HOST egress", false, "has no egress program"},
        Damage{"HostDown", "ip link set HOST down", false, "is down"},
        Damage{"PodDown", "ip link set eth0 down", true, "interface eth0 is down"},
        Damage{"PodMac", "ip link set eth0 address 02:00:00:00:00:01", true,
               "has the MAC address 02:00:00:00:00:01"},
        Damage{"PodAddress4", "ip addr del 10.244.1.5/32 dev eth0", true, "has lost 10.244.1.5"},
        Damage{"PodAddress6", "ip addr del fd00:10:244:1::5/128 dev eth0", true,
               "has lost fd00:10:244:1::5"},
        Damage{"PodRoute4", "ip route del default", true, "no default route via 169.254.1.1"},
        Damage{"PodRoute6", "ip -6 route del default", true, "no default route via fe80::"},
        Damage{"PodNeighbour", "ip neigh del 169.254.1.1 dev eth0", true,
               "no permanent neighbour 169.254.1.1"},
        Damage{"PodInterface", "ip link del eth0", true, "is gone"}),
    [](const auto& info) { return info.param.name; });

TEST_F(PodLinkTest, CheckToleratesWhatOthersAdd) {
    const MountedNs ns;
    create(ns, spec(5));
    ns.sh(
        "ip addr add 192.0.2.1/24 dev eth0; ip route add 198.51.100.0/24 dev eth0; "
        "ip link set eth0 mtu 1400");
    ASSERT_OK(pods().check(ns.open(), spec(5), programs()));
}

}  // namespace
}  // namespace weir::netlink
