// SPDX-License-Identifier: Apache-2.0
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "datapath/netlink/names.h"

namespace weir::netlink {
namespace {

TEST(NamesTest, HostNameTellsThePodAndFitsTheKernel) {
    const std::string name = pod_host_ifname("0123abcd", "eth0", "web-7d4b9c6f5-x2k9q");
    EXPECT_EQ(name.size(), 15U);
    EXPECT_THAT(name, testing::MatchesRegex("w[0-9a-f]{5}-f5-x2k9q"));
    EXPECT_EQ(name, pod_host_ifname("0123abcd", "eth0", "web-7d4b9c6f5-x2k9q"));
    EXPECT_TRUE(name.starts_with(pod_host_ifname_prefix("0123abcd", "eth0")));
}

TEST(NamesTest, ShortAndOddPodNames) {
    EXPECT_THAT(pod_host_ifname("c", "eth0", "a"), testing::EndsWith("-a"));
    EXPECT_THAT(pod_host_ifname("c", "eth0", ""), testing::MatchesRegex("w[0-9a-f]{5}-"));
    EXPECT_THAT(pod_host_ifname("c", "eth0", "a/b c:d"), testing::EndsWith("-axbxcxd"));
}

TEST(NamesTest, ContainerAndInterfaceBothCount) {
    EXPECT_NE(pod_host_ifname_prefix("a", "eth0"), pod_host_ifname_prefix("b", "eth0"));
    EXPECT_NE(pod_host_ifname_prefix("a", "eth0"), pod_host_ifname_prefix("a", "eth1"));
    EXPECT_NE(pod_host_ifname_prefix("a", "beth0"), pod_host_ifname_prefix("ab", "eth0"));
}

TEST(NamesTest, SimilarContainersSpread) {
    std::set<std::string> prefixes;
    for (int i = 0; i < 1000; i++) {
        prefixes.insert(pod_host_ifname_prefix(fmt::format("{:064x}", i), "eth0"));
    }
    // Of 2^20: about one collision in expectation half the time.
    EXPECT_GE(prefixes.size(), 995U);
}

TEST(NamesTest, MacIsUnicastAndLocallyAdministered) {
    for (int i = 0; i < 100; i++) {
        const MacAddress mac = pod_mac(fmt::format("c{}", i), "eth0");
        EXPECT_EQ(mac[0] & 3, 2) << to_string(mac);
    }
}

TEST(NamesTest, AltNameGoesThereAndBack) {
    const Attachment expected{"3f-2.a_b", "net+1"};
    EXPECT_EQ(parse_alt_name(alt_name("3f-2.a_b", "net+1")), expected);
    EXPECT_FALSE(parse_alt_name("enp0s3"));
    EXPECT_FALSE(parse_alt_name("weir+"));
    EXPECT_FALSE(parse_alt_name("weir+abc"));
    EXPECT_FALSE(parse_alt_name("weir+abc+"));
    EXPECT_FALSE(parse_alt_name("weir++eth0"));
}

TEST(NamesTest, LongContainerIdsFitAndDiffer) {
    const std::string a(200, 'a');
    const std::string b = a + "b";
    EXPECT_LE(alt_name(a, "fifteenletters1").size(), 127U);
    EXPECT_NE(alt_name(a, "eth0"), alt_name(b, "eth0"));
}

}  // namespace
}  // namespace weir::netlink
