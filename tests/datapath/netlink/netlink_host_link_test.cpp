// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstring>
#include <ostream>
#include <vector>

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "datapath/netlink/host_link.h"
#include "datapath/netlink/testbed.h"

namespace weir::netlink {
namespace {

using test::MountedNs;
using test::sh;
using test::succeeds;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr auto kDefaultForwarding = "net/ipv6/conf/default/forwarding";

class HostLinkTest : public test::HostTest {
  protected:
    void SetUp() override {
        HostTest::SetUp();
        file_ = fmt::format("/tmp/weir-host-link-{}.json", ::getpid());
        std::filesystem::remove(file_);
        journal_ = std::make_unique<SysctlJournal>(std::move(*SysctlJournal::open(file_)));
        link_ = std::make_unique<HostLink>(*journal_);
        spec_.pod_ranges = {*IpPrefix::parse("10.244.1.0/24"),
                            *IpPrefix::parse("fd00:10:244:1::/64")};
        spec_.service_ranges = {*IpPrefix::parse("10.96.0.0/12"),
                                *IpPrefix::parse("fd00:10:96::/112")};
        spec_.mac = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
        spec_.mtu = 1400;
    }
    void TearDown() override { std::filesystem::remove(file_); }

    HostLinkState ensure() {
        auto state = link_->ensure(spec_);
        EXPECT_TRUE(state) << state.error().message();
        return state ? std::move(*state) : HostLinkState{};
    }
    static std::string snapshot() {
        return sh("ip link") + sh("ip addr") + sh("ip -4 route show table all") +
               sh("ip -6 route show table all") + sh("ip neigh");
    }

    std::filesystem::path file_;
    std::unique_ptr<SysctlJournal> journal_;
    std::unique_ptr<HostLink> link_;
    HostLinkSpec spec_;
};

// Down, and without routes, until programs are attached; put back with the index that these know.
TEST_F(HostLinkTest, TheOverlayIsUpOnlyWhileItIsServed) {
    spec_.overlay = OverlaySpec{.port = 4789, .mtu = 1350, .mac = spec_.mac};
    spec_.peers = {
        {{.pods = *IpPrefix::parse("10.244.2.0/24"), .via = *IpAddress::parse("169.254.1.1")},
         {.pods = *IpPrefix::parse("fd00:10:244:2::/64"),
          .via = *IpAddress::parse("fe80::ecee:eeff:feee:eeee")}}};
    const auto routes = [] {
        return sh("ip route show proto 87 dev weir_vxlan") +
               sh("ip -6 route show proto 87 dev weir_vxlan");
    };
    auto state = ensure();
    EXPECT_TRUE(state.overlay.created);
    EXPECT_FALSE(state.overlay.up);
    EXPECT_THAT(routes(), IsEmpty());
    EXPECT_THAT(sh("ip -d link show weir_vxlan"),
                AllOf(HasSubstr("external"), HasSubstr("dstport 4789"), HasSubstr("mtu 1350"),
                      HasSubstr("NOARP"), HasSubstr("nolearning"), HasSubstr("state DOWN"),
                      HasSubstr("link/ether ee:ee:ee:ee:ee:ee")));

    const uint32_t index = state.overlay.ifindex;
    spec_.overlay->served = index;
    state = ensure();
    EXPECT_FALSE(state.overlay.created);
    EXPECT_TRUE(state.overlay.up);
    EXPECT_THAT(routes(), AllOf(HasSubstr("10.244.2.0/24 via 169.254.1.1 src 10.244.1.1 onlink"),
                                HasSubstr("fd00:10:244:2::/64 via fe80::ecee:eeff:feee:eeee src "
                                          "fd00:10:244:1::1")));
    EXPECT_THAT(ensure().repaired, IsEmpty());

    sh("ip link set weir_vxlan down mtu 1400");
    EXPECT_TRUE(ensure().overlay.up);
    EXPECT_THAT(sh("ip link show weir_vxlan"), HasSubstr("mtu 1350"));
    EXPECT_THAT(routes(), HasSubstr("10.244.2.0/24"));

    sh("ip link del weir_vxlan");
    state = ensure();
    EXPECT_TRUE(state.overlay.created);
    EXPECT_EQ(state.overlay.ifindex, index);
    EXPECT_FALSE(state.overlay.up) << "nothing is attached to the new one";
    EXPECT_TRUE(ensure().overlay.up);

    spec_.overlay.reset();
    spec_.peers = std::vector<PeerRoute>();
    ensure();
    EXPECT_FALSE(succeeds("ip link show weir_vxlan"));
    EXPECT_THAT(ensure().repaired, IsEmpty());
}

TEST_F(HostLinkTest, TheOverlaysPortChangesAndOthersDevicesAreNamed) {
    spec_.overlay = OverlaySpec{.port = 4789, .mtu = 1350, .mac = spec_.mac};
    const auto first = ensure();
    spec_.overlay->port = 4790;
    EXPECT_TRUE(ensure().overlay.created);
    EXPECT_THAT(sh("ip -d link show weir_vxlan"), HasSubstr("dstport 4790"));
    ASSERT_TRUE(link_->remove().has_value());
    EXPECT_FALSE(succeeds("ip link show weir_vxlan"));

    sh("ip link add flannel.1 type vxlan id 1 dstport 4790 && ip link set flannel.1 up");
    const auto down = ensure();
    spec_.overlay->served = down.overlay.ifindex;
    auto taken = link_->ensure(spec_);
    ASSERT_FALSE(taken.has_value());
    EXPECT_THAT(taken.error().message(), HasSubstr("UDP port 4790 is taken"));
    sh("ip link del weir_vxlan && ip link del flannel.1 && "
       "ip link add weir_vxlan type bridge");
    taken = link_->ensure(spec_);
    ASSERT_FALSE(taken.has_value());
    EXPECT_THAT(taken.error().message(), HasSubstr("that Weir did not make"));
}

// Another node's pods are reached over it; who does not know the other nodes yet, an agent that
// starts, leaves the routes of the one before.
TEST_F(HostLinkTest, RoutesToPeersFollowAndStayWhileTheyAreNotKnown) {
    sh("ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up");
    const uint32_t up0 = if_nametoindex("up0");
    const auto peer = [up0](const char* pods, const char* via) {
        return PeerRoute{*IpPrefix::parse(pods), *IpAddress::parse(via), up0};
    };
    const auto shown = [] {
        return sh("ip route show proto 87 dev up0") + sh("ip -6 route show proto 87 dev up0");
    };
    ensure();
    spec_.peers = {{peer("10.244.2.0/24", "192.0.2.2"), peer("fd00:10:244:2::/64", "fd00::2")}};
    EXPECT_EQ(ensure().repaired.size(), 2U);
    EXPECT_THAT(shown(), AllOf(HasSubstr("10.244.2.0/24 via 192.0.2.2 onlink"),
                               HasSubstr("fd00:10:244:2::/64 via fd00::2")));
    EXPECT_TRUE(ensure().repaired.empty());
    spec_.peers = {{peer("10.244.2.0/24", "192.0.2.3"), peer("fd00:10:244:2::/64", "fd00::3")}};
    ensure();
    EXPECT_THAT(shown(),
                AllOf(HasSubstr("10.244.2.0/24 via 192.0.2.3"), Not(HasSubstr("192.0.2.2")),
                      HasSubstr("fd00:10:244:2::/64 via fd00::3"), Not(HasSubstr("fd00::2 "))));
    spec_.peers.reset();
    EXPECT_TRUE(ensure().repaired.empty());
    EXPECT_THAT(shown(), HasSubstr("10.244.2.0/24 via 192.0.2.3"));
    spec_.peers = std::vector<PeerRoute>();
    ensure();
    EXPECT_EQ(shown(), "");
    spec_.peers = {{peer("10.244.2.0/24", "192.0.2.2")}};
    ensure();
    EXPECT_TRUE(link_->remove());
    EXPECT_EQ(shown(), "");
}

TEST_F(HostLinkTest, MakesWhatAnIndependentToolSees) {
    const HostLinkState state = ensure();
    EXPECT_TRUE(state.created);
    EXPECT_EQ(sh("cat /proc/sys/net/ipv4/conf/weir0/rp_filter"), "2\n");
    EXPECT_EQ(sh("cat /proc/sys/net/ipv4/conf/weir0/accept_local"), "1\n");
    EXPECT_EQ(sh("cat /proc/sys/net/ipv4/conf/weir0/forwarding"), "1\n");
    EXPECT_EQ(sh("cat /proc/sys/net/ipv6/conf/weir0/forwarding"), "1\n");
    EXPECT_EQ(sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"),
              "0\n0\n")
        << "the host's own settings stay";
    EXPECT_THAT(sh("ip link show weir0"), AllOf(HasSubstr("NOARP,UP"), HasSubstr("mtu 1400"),
                                                HasSubstr("ee:ee:ee:ee:ee:ee")));
    EXPECT_THAT(sh("ip addr show weir0"),
                AllOf(HasSubstr("10.244.1.1/32"), HasSubstr("fd00:10:244:1::1/128"),
                      Not(HasSubstr("fe80")), Not(HasSubstr("tentative"))));
    EXPECT_THAT(sh("ip route show proto 87"),
                AllOf(HasSubstr("10.96.0.0/12 dev weir0"), HasSubstr("unreachable 10.244.1.0/24")));
    EXPECT_THAT(sh("ip -6 route show proto 87"),
                AllOf(HasSubstr("fd00:10:96::/112 dev weir0"),
                      HasSubstr("unreachable fd00:10:244:1::/64")));
}

TEST_F(HostLinkTest, SecondTimeTouchesNothing) {
    ensure();
    const std::string before = snapshot();
    const HostLinkState again = ensure();
    EXPECT_FALSE(again.created);
    EXPECT_THAT(again.repaired, IsEmpty());
    EXPECT_EQ(snapshot(), before);
}

TEST_F(HostLinkTest, RemoveLeavesTheHostAsItWas) {
    const std::string before = snapshot();
    ensure();
    ASSERT_OK(link_->remove());
    EXPECT_EQ(snapshot(), before);
    ASSERT_OK(link_->remove());
}

TEST_F(HostLinkTest, FollowsItsSpecification) {
    ensure();
    sh("ip addr add 192.0.2.1/32 dev lo");
    spec_.pod_ranges = {*IpPrefix::parse("10.244.7.0/24")};
    spec_.service_ranges = {*IpPrefix::parse("10.97.0.0/16")};
    spec_.node_address[0] = *IpAddress::parse("192.0.2.1");
    ensure();
    EXPECT_THAT(sh("ip route show proto 87"),
                AllOf(HasSubstr("10.97.0.0/16 dev weir0 scope link src 192.0.2.1"),
                      HasSubstr("unreachable 10.244.7.0/24"), Not(HasSubstr("10.96."))));
    EXPECT_EQ(sh("ip -6 route show proto 87"), "");
    EXPECT_THAT(sh("ip addr show weir0"),
                AllOf(HasSubstr("10.244.7.1/32"), Not(HasSubstr("fd00"))));
}

TEST_F(HostLinkTest, ForeignInterfaceOfThatNameIsLeft) {
    sh("ip link add weir0 type bridge");
    const auto state = link_->ensure(spec_);
    ASSERT_FALSE(state);
    EXPECT_EQ(state.error().code(), Errc::kExists);
    ASSERT_OK(link_->remove());
    EXPECT_THAT(sh("ip -d link show weir0"), HasSubstr("bridge"));
}

struct Sabotage {
    std::string name;
    std::string command;
};
std::ostream& operator<<(std::ostream& out, const Sabotage& one) {
    return out << one.name;
}
class HostDamageTest : public HostLinkTest, public testing::WithParamInterface<Sabotage> {};

TEST_P(HostDamageTest, IsMended) {
    ensure();
    // Links made anew get other indexes, and the lines another order.
    const auto facts = [] {
        return sh("ip -4 route show proto 87 | sort") + sh("ip -6 route show proto 87 | sort") +
               sh("ip -o addr show weir0 | cut -d: -f2- | sort") +
               sh("ip -o link show weir0 | cut -d: -f3-") +
               sh("cat /proc/sys/net/ipv4/conf/weir0/* /proc/sys/net/ipv6/conf/weir0/forwarding");
    };
    const std::string before = facts();
    sh(GetParam().command);
    EXPECT_THAT(ensure().repaired, Not(IsEmpty()));
    EXPECT_EQ(facts(), before);
}

INSTANTIATE_TEST_SUITE_P(
    Every, HostDamageTest,
    testing::Values(Sabotage{"Deleted", "ip link del weir0"},
                    Sabotage{"Down", "ip link set weir0 down"},
                    Sabotage{"PeerDown", "ip link set weir1 down"},
                    Sabotage{"Arp", "ip link set weir0 arp on"},
                    Sabotage{"Mtu", "ip link set weir0 mtu 1300"},
                    Sabotage{"Mac", "ip link set weir0 address 02:00:00:00:00:01"},
                    Sabotage{"ReversePath", "sysctl -qw net.ipv4.conf.weir0.rp_filter=1"},
                    Sabotage{"AcceptLocal", "sysctl -qw net.ipv4.conf.weir0.accept_local=0"},
                    Sabotage{"Forwarding6", "sysctl -qw net.ipv6.conf.weir0.forwarding=0"},
                    Sabotage{"Address4", "ip addr del 10.244.1.1/32 dev weir0"},
                    Sabotage{"Address6", "ip addr flush dev weir0"},
                    Sabotage{"ServiceRoute", "ip route del 10.96.0.0/12"},
                    Sabotage{"PodRange6", "ip -6 route del unreachable fd00:10:244:1::/64"}),
    [](const auto& info) { return info.param.name; });

TEST_F(HostLinkTest, AbsentPodsAreUnreachableAtOnce) {
    ensure();
    sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; "
       "ip addr add 192.0.2.1/24 dev up0; ip route add default via 192.0.2.254");
    EXPECT_FALSE(succeeds("ip route get 10.244.1.77"));
    EXPECT_FALSE(succeeds("ip route get fd00:10:244:1::77"));
    EXPECT_THAT(sh("ip route get 198.51.100.1"), HasSubstr("dev up0"));
}

// ---- what the kernel accepts from a redirect into weir0 ----

/// Sends itself a datagram with `source` through weir0's ingress, as a redirected reply comes.
class RedirectTest : public HostLinkTest {
  protected:
    /// A program that redirects everything into the ingress of device `ifindex`.
    static Fd redirect_program(uint32_t ifindex) {
        const auto insn = [](uint8_t code, uint8_t dst, int32_t imm) {
            return uint64_t{code} | uint64_t{dst} << 8 |
                   static_cast<uint64_t>(static_cast<uint32_t>(imm)) << 32;
        };
        return test::load_program({insn(0xb7, 1, static_cast<int32_t>(ifindex)),
                                   insn(0xb7, 2, BPF_F_INGRESS), insn(0x85, 0, BPF_FUNC_redirect),
                                   insn(0x95, 0, 0)});
    }

    static Result<void> send_from(const std::string& source) {
        const Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_in from{.sin_family = AF_INET};
        ::inet_pton(AF_INET, source.c_str(), &from.sin_addr);
        sockaddr_in to{.sin_family = AF_INET, .sin_port = htons(9999)};
        ::inet_pton(AF_INET, "192.0.2.2", &to.sin_addr);
        if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&from), sizeof from) != 0 ||
            ::sendto(fd.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof to) != 1) {
            return fail_errno(errno, "send from {}", source);
        }
        return {};
    }

    /// Replies of Services as the kernel meets them: whatever a pod sends is put into weir0.
    bool accepted(const std::string& source) {
        const HostLinkState state = ensure();
        const MountedNs ns;
        PodLinkSpec pod = spec(9);
        const Fd redirect = redirect_program(state.ifindex);
        const PodPrograms programs{redirect.get(), this->programs().to_pod};
        auto made = pods().create(ns.open(), pod, programs);
        EXPECT_TRUE(made) << made.error().message();
        const int listener = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const Fd owned(listener);
        sockaddr_in local{.sin_family = AF_INET, .sin_port = htons(9999)};
        EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&local), sizeof local), 0);
        ns.sh("ip addr add " + source + "/32 dev lo");
        EXPECT_TRUE(home().run_in(ns.open(), [&source] { return send_from(source); }));
        char byte = 0;
        const timeval patience{.tv_usec = 300000};
        ::setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        const bool got = ::recv(listener, &byte, 1, 0) == 1;
        EXPECT_TRUE(pods().remove(pod.host_ifname));
        return got;
    }

    void SetUp() override {
        HostLinkTest::SetUp();
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; "
           "ip addr add 192.0.2.1/24 dev up0; ip addr add 192.0.2.2/24 dev up0; "
           "ip route add default via 192.0.2.254");
    }
};

class ReversePathTest : public RedirectTest, public testing::WithParamInterface<int> {};

TEST_P(ReversePathTest, RepliesOfServicesAreAccepted) {
    sh(fmt::format("sysctl -qw net.ipv4.conf.all.rp_filter={0} net.ipv4.conf.default.rp_filter={0}",
                   GetParam()));
    EXPECT_TRUE(accepted("10.96.0.10")) << "a ClusterIP";
    EXPECT_TRUE(accepted("203.0.113.7")) << "an external IP, routed over another device";
    EXPECT_TRUE(accepted("192.0.2.1")) << "a NodePort on the host's own address";
}

INSTANTIATE_TEST_SUITE_P(Every, ReversePathTest, testing::Values(0, 1, 2));

TEST_F(RedirectTest, WithoutTheSettingsTheKernelRefuses) {
    sh("sysctl -qw net.ipv4.conf.all.rp_filter=1");
    EXPECT_TRUE(accepted("203.0.113.7"));
    // accepted() calls ensure(), which mends: so the control needs a link that is not mended.
    const HostLinkState state = ensure();
    sh("ip link add other0 type veth peer name other1; ip link set other0 address "
       "ee:ee:ee:ee:ee:ee up; ip link set other1 up");
    auto socket = Socket::open();
    const Fd redirect = redirect_program(*socket->ifindex("other0"));
    const MountedNs ns;
    ASSERT_OK(pods().create(ns.open(), spec(9), {redirect.get(), programs().to_pod}));
    ns.sh("ip addr add 203.0.113.7/32 dev lo");
    EXPECT_FALSE(ns.succeeds("ping -c1 -W0.3 -I 203.0.113.7 192.0.2.2"));
    EXPECT_NE(sh("nstat -az TcpExtIPReversePathFilter | tail -1 | tr -s \" \" | cut -d\" \" -f2"),
              "0\n");
    EXPECT_GT(state.ifindex, 0U);
}

// ---- where bpf_fib_lookup() looks from ----

/// What bpf_fib_lookup() answers for a packet from device `ifindex` to an address.
int fib_lookup(uint32_t ifindex, const IpAddress& to) {
    bpf_fib_lookup params{};
    params.family = to.is_v4() ? AF_INET : AF_INET6;
    params.ifindex = ifindex;
    if (to.is_v4()) params.ipv4_dst = htonl(to.low32());
    if (!to.is_v4()) std::memcpy(params.ipv6_dst, to.bytes().data(), 16);
    const auto* words = reinterpret_cast<const uint64_t*>(&params);
    const auto insn = [](uint8_t code, uint8_t dst, uint8_t src, int16_t offset, int32_t imm) {
        return uint64_t{code} | uint64_t{dst} << 8 | uint64_t{src} << 12 |
               uint64_t{static_cast<uint16_t>(offset)} << 16 |
               uint64_t{static_cast<uint32_t>(imm)} << 32;
    };
    std::vector<uint64_t> program;
    for (int i = 0; i < 8; i++) {  // params to the stack
        program.push_back(insn(0x18, 3, 0, 0, static_cast<int32_t>(words[i])));
        program.push_back(insn(0, 0, 0, 0, static_cast<int32_t>(words[i] >> 32)));
        program.push_back(insn(0x7b, 10, 3, static_cast<int16_t>(-64 + i * 8), 0));
    }
    program.push_back(insn(0xbf, 2, 10, 0, 0));
    program.push_back(insn(0x07, 2, 0, 0, -64));
    program.push_back(insn(0xb7, 3, 0, 0, 64));
    program.push_back(insn(0xb7, 4, 0, 0, 0));
    program.push_back(insn(0x85, 0, 0, 0, BPF_FUNC_fib_lookup));
    program.push_back(insn(0x95, 0, 0, 0, 0));
    const Fd fd = test::load_program(program);
    std::array<uint8_t, 64> packet{};
    bpf_attr attr{};
    attr.test.prog_fd = static_cast<uint32_t>(fd.get());
    attr.test.data_in = reinterpret_cast<uintptr_t>(packet.data());
    attr.test.data_size_in = packet.size();
    EXPECT_EQ(::syscall(__NR_bpf, BPF_PROG_TEST_RUN, &attr, sizeof attr), 0);
    return static_cast<int>(attr.test.retval);
}

TEST_F(HostLinkTest, RoutesAreLookedUpFromWeir0WithoutForwardingAnywhereElse) {
    const uint32_t weir0 = ensure().ifindex;
    sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; "
       "ip addr add 192.0.2.1/24 dev up0; ip addr add 2001:db8::1/64 dev up0 nodad");
    const uint32_t up0 = *Socket::open()->ifindex("up0");
    // Neighbours are unknown here: that far a lookup comes only with forwarding on its device.
    for (const char* to : {"192.0.2.9", "2001:db8::9"}) {
        EXPECT_EQ(fib_lookup(weir0, *IpAddress::parse(to)), BPF_FIB_LKUP_RET_NO_NEIGH) << to;
        EXPECT_EQ(fib_lookup(up0, *IpAddress::parse(to)), BPF_FIB_LKUP_RET_FWD_DISABLED) << to;
    }
    EXPECT_EQ(fib_lookup(weir0, *IpAddress::parse("10.244.1.77")), BPF_FIB_LKUP_RET_UNREACHABLE);
}

// ---- IPv6 forwarding without losing routers learnt from advertisements ----

class AdvertisementTest : public HostLinkTest {
  protected:
    /// A router on the other end of up0, of which the host learns by an advertisement.
    void learn_router() {
        sh("sysctl -qw net.ipv6.conf.default.accept_dad=0; ip link add up0 type veth peer name "
           "up1; "
           "ip link set up1 netns " +
           router_.path().string());
        router_.sh("ip link set up1 up");
        sh("ip link set up0 up");
        router_.sh(
            "for i in 1 2 3 4 5 6 7 8 9 10; do ip -6 addr show dev up1 -tentative | "
            "grep -q fe80 && break; sleep 0.3; done");
        ASSERT_OK(home().run_in(router_.open(), []() -> Result<void> { return advertise(); }));
        for (int i = 0; i < 50 && !knows_router(); i++)
            ::usleep(20000);
        ASSERT_TRUE(knows_router());
    }
    static bool knows_router() { return !sh("ip -6 route show default proto ra").empty(); }

    static Result<void> advertise() {
        const int raw = ::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
        if (raw < 0) return fail_errno(errno, "raw socket");
        const Fd fd(raw);
        const int hops = 255;
        ::setsockopt(raw, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops);
        sockaddr_in6 all{.sin6_family = AF_INET6};
        ::inet_pton(AF_INET6, "ff02::1", &all.sin6_addr);
        all.sin6_scope_id = ::if_nametoindex("up1");
        nd_router_advert advert{};
        advert.nd_ra_type = ND_ROUTER_ADVERT;
        advert.nd_ra_router_lifetime = htons(1800);
        if (::sendto(raw, &advert, sizeof advert, 0, reinterpret_cast<sockaddr*>(&all),
                     sizeof all) < 0) {
            return fail_errno(errno, "send an advertisement");
        }
        return {};
    }

    MountedNs router_;
};

TEST_F(AdvertisementTest, LearntRouterSurvives) {
    learn_router();
    ensure();
    EXPECT_EQ(sh("cat /proc/sys/net/ipv6/conf/weir0/forwarding"), "1\n");
    EXPECT_TRUE(knows_router());
    EXPECT_EQ(*read_sysctl(kDefaultForwarding), "0") << "as before";
    EXPECT_EQ(sh("cat /proc/sys/net/ipv6/conf/up0/forwarding"), "0\n");
}

TEST_F(AdvertisementTest, TheKernelWouldForgetItOtherwise) {
    learn_router();
    sh("ip link add other0 type bridge; sysctl -qw net.ipv6.conf.other0.forwarding=1");
    EXPECT_FALSE(knows_router()) << "then the detour in HostLink is needed no more";
}

TEST_F(AdvertisementTest, CrashBetweenIsMendedByTheNextStart) {
    ASSERT_OK(journal_->set(kDefaultForwarding, "1"));
    ensure();
    EXPECT_EQ(*read_sysctl(kDefaultForwarding), "0");
}

}  // namespace
}  // namespace weir::netlink
