// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/netns.h"
#include "datapath/netlink/requests.h"
#include "datapath/netlink/testbed.h"

namespace weir::netlink {
namespace {

using test::MountedNs;
using testing::HasSubstr;

class NetNsTest : public test::HostTest {};

TEST_F(NetNsTest, OpensByPathAndTellsNamespacesApart) {
    const MountedNs one;
    const MountedNs other;
    EXPECT_TRUE(one.open().same_as(one.open()));
    EXPECT_FALSE(one.open().same_as(other.open()));
}

// CNI spec 1.1.0, parameters: CNI_NETNS is a reference to the container's isolation domain.
TEST_F(NetNsTest, NothingThereIsNotFound) {
    const auto ns = NetNs::open("/tmp/weir-no-such-namespace");
    ASSERT_FALSE(ns);
    EXPECT_EQ(ns.error().code(), Errc::kNotFound);
    EXPECT_THAT(ns.error().message(), HasSubstr("/tmp/weir-no-such-namespace"));
}

TEST_F(NetNsTest, FileWhoseMountIsGoneIsInvalid) {
    MountedNs vanished;
    vanished.vanish();
    const auto ns = NetNs::open(vanished.path());
    ASSERT_FALSE(ns);
    EXPECT_EQ(ns.error().code(), Errc::kInvalid);
    EXPECT_THAT(ns.error().message(), HasSubstr("is not a network namespace"));
}

TEST_F(NetNsTest, OtherKindsOfNamespaceAreInvalid) {
    const auto ns = NetNs::open("/proc/self/ns/mnt");
    ASSERT_FALSE(ns);
    EXPECT_THAT(ns.error().message(), HasSubstr("not a network namespace"));
    const auto directory = NetNs::open("/tmp");
    ASSERT_FALSE(directory);
    EXPECT_EQ(directory.error().code(), Errc::kInvalid);
}

TEST_F(NetNsTest, TheHostsOwnIsInvalidForAPod) {
    const auto ns = home().open_pod("/proc/thread-self/ns/net");
    ASSERT_FALSE(ns);
    EXPECT_EQ(ns.error().code(), Errc::kInvalid);
    EXPECT_THAT(ns.error().message(), HasSubstr("the host's own network namespace"));
}

TEST_F(NetNsTest, SocketStaysInItsNamespace) {
    const MountedNs mounted;
    mounted.sh("ip link add inside0 type bridge");
    auto socket = home().open_socket(mounted.open());
    ASSERT_OK(socket);
    EXPECT_TRUE(socket->ifindex("inside0"));
    auto host = Socket::open();
    ASSERT_OK(host);
    EXPECT_FALSE(host->ifindex("inside0"));
    EXPECT_NE(*socket->netns_cookie(), *host->netns_cookie());
    auto again = home().open_socket(mounted.open());
    ASSERT_OK(again);
    EXPECT_EQ(*socket->netns_cookie(), *again->netns_cookie());
}

TEST_F(NetNsTest, ThreadComesHomeAlsoAfterAFailure) {
    const MountedNs mounted;
    const auto failed = home().run_in(
        mounted.open(), []() -> Result<void> { return fail(Errc::kInternal, "on purpose"); });
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().message(), "on purpose");
    const NetNs before = *NetNs::current();
    ASSERT_OK(home().run_in(*NetNs::current(), [&before]() -> Result<void> {
        EXPECT_TRUE(NetNs::current()->same_as(before));
        return {};
    }));
}

TEST_F(NetNsTest, ErrorsCarryTheKernelsOwnWords) {
    const MountedNs ns;
    PodLinkSpec pod = spec(1);
    auto made = pods().create(ns.open(), pod, {-1, -1});
    ASSERT_FALSE(made);
    EXPECT_THAT(made.error().message(), HasSubstr("attach the ingress program"));
    auto socket = Socket::open();
    ASSERT_OK(socket);
    auto answer = socket->run(Message(0xff, 0, "a request of no kind"));
    ASSERT_FALSE(answer);
    EXPECT_THAT(answer.error().message(), HasSubstr("a request of no kind"));
    // The words in brackets come from the kernel.
    RouteSpec route;
    route.dst = *IpPrefix::parse("198.51.100.0/24");
    route.oif = 1;
    route.gateway = *IpAddress::parse("127.0.0.1");
    answer = socket->run(put_route(route));
    ASSERT_FALSE(answer);
    EXPECT_THAT(answer.error().message(), HasSubstr("Nexthop"));
}

}  // namespace
}  // namespace weir::netlink
