// SPDX-License-Identifier: Apache-2.0
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#include "datapath/netlink/devices.h"
#include "datapath/netlink/names.h"
#include "datapath/netlink/overlay_link.h"
#include "datapath/netlink/testbed.h"

namespace weir::netlink {
namespace {

using test::sh;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> names(const DeviceSet& set) {
    std::vector<std::string> result;
    result.reserve(set.devices.size());
    for (const ExternalDevice& one : set.devices)
        result.push_back(one.name);
    return result;
}

IpAddress ip(const char* text) {
    return *IpAddress::parse(text);
}

/// A host with lo, eth0 (default routes, both families) and what a test adds.
class SelectTest : public testing::Test {
  protected:
    SelectTest() {
        link(1, "lo").flags = IFF_UP | IFF_LOOPBACK;
        address(1, "127.0.0.1", RT_SCOPE_HOST);
        link(2, "eth0");
        address(2, "192.0.2.10");
        address(2, "2001:db8::10");
        address(2, "fe80::1", RT_SCOPE_LINK);
        route("0.0.0.0/0", 2);
        route("::/0", 2);
    }
    Link& link(uint32_t ifindex, std::string name) {
        Link& one = state_.links[ifindex];
        one = Link{.ifindex = ifindex, .name = std::move(name), .flags = IFF_UP, .mtu = 1500};
        one.mac = MacAddress{2, 0, 0, 0, 0, static_cast<uint8_t>(ifindex)};
        return one;
    }
    Address& address(uint32_t ifindex, const char* text, uint8_t scope = RT_SCOPE_UNIVERSE) {
        return state_.addresses.emplace_back(
            Address{ifindex, ip(text), 24, scope, IFA_F_PERMANENT});
    }
    Route& route(const char* dst, uint32_t oif) {
        Route one;
        one.dst = *IpPrefix::parse(dst);
        one.type = RTN_UNICAST;
        one.oifs = {oif};
        return state_.default_routes.emplace_back(one);
    }
    DeviceSet select() const { return select_devices(config_, state_); }
    IpAddress source(size_t device, Family family) const {
        return IpAddress(select().devices.at(device).abi.addr[family_index(family)]);
    }

    NetworkState state_;
    DeviceConfig config_;
};

TEST_F(SelectTest, DeviceOfTheDefaultRoute) {
    const DeviceSet set = select();
    ASSERT_THAT(names(set), ElementsAre("eth0"));
    const weir_device& abi = set.devices[0].abi;
    EXPECT_EQ(abi.kind, WEIR_DEV_EXTERNAL);
    EXPECT_EQ(abi.mtu, 1500U);
    EXPECT_EQ(abi.l3, 0);
    EXPECT_EQ(abi.mac[5], 2);
    EXPECT_EQ(source(0, Family::kIpv4), ip("192.0.2.10"));
    EXPECT_EQ(source(0, Family::kIpv6), ip("2001:db8::10"));
    EXPECT_EQ(set.pod_mtu, 1500U);
}

TEST_F(SelectTest, WhatIsNotExternal) {
    link(3, "docker0").kind = "bridge";
    link(4, "w1a2b3-web-1").group = kLinkGroup;
    link(5, "weir0").group = kLinkGroup;
    link(6, "anycast0").kind = "dummy";
    link(7, "br0").kind = "bridge";
    link(8, "eth7").master = 7;
    link(9, "eth9").flags = 0;
    link(10, "eth10");  // no address, no route
    for (uint32_t i = 3; i <= 9; i++)
        address(i, "198.51.100.1");
    EXPECT_THAT(names(select()), ElementsAre("eth0", "br0"));
}

TEST_F(SelectTest, MemberOfAVrfIsADeviceOfItsOwn) {
    link(3, "red").kind = "vrf";
    link(4, "eth1").master = 3;
    address(4, "198.51.100.1");
    EXPECT_THAT(names(select()), ElementsAre("eth0", "eth1"));
}

TEST_F(SelectTest, ExplicitNamesAndPatterns) {
    link(3, "eth1").flags = 0;
    link(4, "wan0");
    config_.devices = {"eth[12]", "wan*", "lo", "weir*"};
    link(5, "weir0").group = kLinkGroup;
    EXPECT_THAT(names(select()), ElementsAre("eth1", "wan0"));
}

TEST_F(SelectTest, WhatIsLeftAloneAlthoughItLeadsSomewhereIsTold) {
    link(3, "docker0").kind = "bridge";
    address(3, "172.17.0.1");
    link(4, "dum0").kind = "dummy";
    address(4, "198.51.100.1");
    link(5, "veth1").master = 3;
    address(5, "198.51.100.2");
    link(6, "docker1").flags = 0;
    address(6, "198.51.100.3");
    link(7, "br-quiet");
    EXPECT_THAT(select().foreign,
                ElementsAre(ForeignDevice{"docker0", "named like another engine's"},
                            ForeignDevice{"dum0", "a dummy"}));
    config_.devices = {"docker0"};
    EXPECT_THAT(select().foreign,
                ElementsAre(ForeignDevice{"eth0", "not one of the configured devices"},
                            ForeignDevice{"dum0", "not one of the configured devices"}));
}

TEST_F(SelectTest, PodMtuIsTheLeast) {
    link(3, "wg0").mtu = 1420;
    state_.links[3].mac.reset();
    address(3, "198.51.100.1");
    const DeviceSet set = select();
    EXPECT_EQ(set.pod_mtu, 1420U);
    EXPECT_EQ(set.devices[1].abi.l3, 1);
    state_.links[2].mtu = 9000;
    EXPECT_EQ(select().pod_mtu, 1420U);
}

TEST_F(SelectTest, SourcePrefersTheNodeAddressThenTheRoutesThenThePrimary) {
    address(2, "192.0.2.20").flags |= IFA_F_SECONDARY;
    address(2, "192.0.2.30");
    EXPECT_EQ(source(0, Family::kIpv4), ip("192.0.2.10"));
    state_.default_routes[0].source = ip("192.0.2.30");
    EXPECT_EQ(source(0, Family::kIpv4), ip("192.0.2.30"));
    config_.node_addresses = {ip("192.0.2.20")};
    EXPECT_EQ(source(0, Family::kIpv4), ip("192.0.2.20"));
}

TEST_F(SelectTest, Ipv6SourceIsNeitherTemporaryNorDeprecatedNorTentative) {
    state_.addresses.erase(state_.addresses.begin() + 2);
    address(2, "2001:db8::a").flags = IFA_F_TEMPORARY;
    address(2, "2001:db8::b").flags = IFA_F_DEPRECATED;
    address(2, "2001:db8::c").flags = IFA_F_TENTATIVE;
    address(2, "2001:db8::d").flags = IFA_F_PERMANENT;
    EXPECT_EQ(source(0, Family::kIpv6), ip("2001:db8::d"));
}

TEST_F(SelectTest, UnnumberedDeviceBorrowsAnAddress) {
    std::erase_if(state_.addresses, [](const Address& one) { return one.ifindex == 2; });
    link(4, "w1a2b3-web-1").group = kLinkGroup;
    address(4, "10.244.1.1");
    address(1, "203.0.113.1");
    EXPECT_EQ(source(0, Family::kIpv4), ip("203.0.113.1"));
    EXPECT_TRUE(source(0, Family::kIpv6) == IpAddress());
}

TEST_F(SelectTest, NodeAddressesAndNodePorts) {
    address(1, "203.0.113.1");
    address(1, "::1", RT_SCOPE_HOST);
    std::vector<NodeAddress> expected = {{ip("192.0.2.10"), true},
                                         {ip("2001:db8::10"), true},
                                         {ip("203.0.113.1"), true},
                                         {ip("fe80::1"), false}};
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(select().node_addresses, expected);
    // NodePort reachability: ranges of one family leave the other its default.
    config_.node_port_addresses = {*IpPrefix::parse("192.0.2.0/24")};
    for (const NodeAddress& one : select().node_addresses) {
        const bool eligible = one.address == ip("192.0.2.10") || one.address == ip("2001:db8::10");
        EXPECT_EQ(one.node_ports, eligible) << one.address.to_string();
    }
}

class FollowTest : public test::HostTest {
  protected:
    void SetUp() override {
        HostTest::SetUp();
        // Link-local addresses would come and be confirmed a second later, beside every step.
        sh("sysctl -qw net.ipv6.conf.default.addr_gen_mode=1");
        sh("ip link add eth0 type veth peer name other0; ip link set eth0 up; "
           "ip link set other0 up");
        auto follower = DeviceFollower::open({});
        ASSERT_OK(follower);
        follower_ = std::make_unique<DeviceFollower>(std::move(*follower));
    }
    /// Waits for notifications until nothing more comes.
    bool settle() {
        bool changed = false;
        pollfd one{.fd = follower_->fd(), .events = POLLIN};
        while (::poll(&one, 1, 100) == 1) {
            auto now = follower_->on_readable();
            EXPECT_TRUE(now) << now.error().message();
            changed = changed || *now;
        }
        return changed;
    }
    /// What following has led to is what reading anew gives.
    void expect_in_step() {
        settle();
        auto fresh = DeviceFollower::open({});
        ASSERT_OK(fresh);
        EXPECT_TRUE(fresh->current() == follower_->current());
        EXPECT_EQ(fresh->state().default_routes.size(), follower_->state().default_routes.size());
        EXPECT_EQ(fresh->state().addresses.size(), follower_->state().addresses.size());
        EXPECT_EQ(fresh->state().links.size(), follower_->state().links.size());
    }
    std::unique_ptr<DeviceFollower> follower_;
};

TEST_F(FollowTest, AddressesComeAndGo) {
    EXPECT_THAT(follower_->current().devices, IsEmpty());
    sh("ip addr add 192.0.2.1/24 dev eth0");
    EXPECT_TRUE(settle());
    ASSERT_THAT(names(follower_->current()), ElementsAre("eth0"));
    EXPECT_EQ(IpAddress(follower_->current().devices[0].abi.addr[0]), ip("192.0.2.1"));
    sh("ip addr add 2001:db8::1/64 dev eth0 nodad; ip link set eth0 mtu 1400");
    EXPECT_TRUE(settle());
    EXPECT_EQ(IpAddress(follower_->current().devices[0].abi.addr[1]), ip("2001:db8::1"));
    EXPECT_EQ(follower_->current().pod_mtu, 1400U);
    sh("ip addr flush dev eth0");
    EXPECT_TRUE(settle());
    EXPECT_THAT(follower_->current().devices, IsEmpty());
}

TEST_F(FollowTest, StaysInStepThroughWhatTheKernelDoesNotTell) {
    for (const char* step :
         {"ip addr add 192.0.2.1/24 dev eth0", "ip route add default via 192.0.2.254",
          "ip route replace default via 192.0.2.253",
          "ip route add default via 192.0.2.252 metric 9", "ip -6 route add default dev eth0",
          "ip addr add 192.0.2.2/24 dev eth0",
          "ip route replace default via 192.0.2.254 src 192.0.2.2",
          "ip addr del 192.0.2.2/24 dev eth0", "ip link set eth0 down", "ip link set eth0 up",
          "ip route add default nexthop via 192.0.2.9 dev eth0 nexthop via 192.0.2.8 dev eth0",
          "ip link add br7 type bridge", "ip link set other0 master br7",
          "ip addr add 198.51.100.1/24 dev br7; ip link set br7 up", "ip link set eth0 name wan0",
          "ip link del wan0"}) {
        sh(step);
        SCOPED_TRACE(step);
        expect_in_step();
    }
}

TEST_F(FollowTest, PodsOfOursChangeNothing) {
    sh("ip addr add 192.0.2.1/24 dev eth0");
    settle();
    const test::MountedNs ns;
    ASSERT_OK(pods().create(ns.open(), spec(3), programs()));
    EXPECT_FALSE(settle());
}

TEST_F(FollowTest, LostNotificationsLeadToReadingAnew) {
    const int small = 1;
    ASSERT_EQ(::setsockopt(follower_->fd(), SOL_SOCKET, SO_RCVBUFFORCE, &small, sizeof small), 0);
    sh("ip addr add 192.0.2.1/24 dev eth0; for i in $(seq 1 40); do ip link set eth0 mtu "
       "$((1300+i)); "
       "done");
    EXPECT_TRUE(settle());
    EXPECT_GE(follower_->resyncs(), 1U);
    EXPECT_EQ(follower_->current().pod_mtu, 1340U);
    EXPECT_THAT(names(follower_->current()), ElementsAre("eth0"));
}

TEST_F(FollowTest, PacketsOfALinkAreCounted) {
    sh("ip link add veth-a type veth peer name veth-b; ip link set veth-a up; ip link set veth-b "
       "up");
    sh("ip address add 192.0.2.1/24 dev veth-a");
    auto socket = Socket::open();
    ASSERT_TRUE(socket);
    const auto before = packets_received(*socket, "veth-b");
    ASSERT_TRUE(before);
    sh("ping -q -c 2 -i 0.2 -W 1 192.0.2.2 || true");
    EXPECT_GT(packets_received(*socket, "veth-b").value(), *before);
    EXPECT_EQ(packets_received(*socket, "nosuch").value(), 0U);
}

}  // namespace
}  // namespace weir::netlink
