// SPDX-License-Identifier: Apache-2.0
// The host's firewall, made by nft and by iptables as hosts make theirs.
#include <algorithm>
#include <fstream>

#include <unistd.h>

#include "datapath/host_firewall.h"
#include "datapath/netlink/firewall.h"
#include "datapath/netlink/testbed.h"

namespace weir::netlink {
namespace {

using test::sh;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FirewallTest : public test::HostTest {
  protected:
    static std::vector<std::string> closed() {
        const auto chains = closed_input_chains();
        EXPECT_TRUE(chains) << chains.error().message();
        std::vector<std::string> out;
        for (const auto& chain : chains.value_or(std::vector<ClosedChain>()))
            out.push_back(chain.family + " " + chain.table + " " + chain.name);
        std::ranges::sort(out);
        return out;
    }
    /// A chain of the hook with this policy and these rules.
    static void chain(const std::string& name, const std::string& hook, const std::string& policy,
                      const std::vector<std::string>& rules) {
        sh("nft add table inet t");
        sh("nft 'add chain inet t " + name + " { type filter hook " + hook +
           " priority 0; policy " + policy + "; }'");
        for (const auto& rule : rules)
            sh("nft add rule inet t " + name + " " + rule);
    }
};

TEST_F(FirewallTest, AnOpenHostHasNone) {
    EXPECT_THAT(closed(), IsEmpty());
    chain("open", "input", "accept", {"tcp dport 22 drop", "counter"});
    chain("forward", "forward", "drop", {});
    chain("out", "output", "drop", {"accept"});
    EXPECT_THAT(closed(), IsEmpty());
    EXPECT_THAT(datapath::find_firewall({.vxlan_port = 4789, .vxlan_packets = 0, .metrics = {}}),
                IsEmpty());
}

TEST_F(FirewallTest, ClosedByPolicyOrByTheLastRule) {
    chain("strict", "input", "drop", {"ct state established accept", "udp dport 4789 accept"});
    chain("rejects", "input", "accept",
          {"ct state established accept", "counter reject with icmpx admin-prohibited"});
    chain("drops", "input", "accept", {"iif lo accept", "log drop"});
    chain("opened", "input", "drop", {"tcp dport 22 accept", "accept"});
    chain("never", "input", "accept", {"accept", "drop"});
    EXPECT_THAT(closed(), ElementsAre("inet t drops", "inet t rejects", "inet t strict"));
}

TEST_F(FirewallTest, AsIptablesMakesIt) {
    sh("iptables-nft -P INPUT DROP");
    sh("iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT");
    sh("ip6tables-nft -A INPUT -p tcp --dport 22 -j ACCEPT");
    sh("ip6tables-nft -A INPUT -j REJECT");
    EXPECT_THAT(closed(), ElementsAre("ip filter INPUT", "ip6 filter INPUT"));
    sh("iptables-nft -P INPUT ACCEPT");
    EXPECT_THAT(closed(), ElementsAre("ip6 filter INPUT"));
}

TEST_F(FirewallTest, ManyChainsOfAnotherHookAreLookedThrough) {
    std::string script = "add table ip many\n";
    for (int i = 0; i < 5000; ++i)
        script += "add chain ip many service-" + std::to_string(i) + "\n";
    script += "add chain ip many input { type filter hook input priority 0; policy drop; }\n";
    const std::string file = testing::TempDir() + "weir-firewall-" + std::to_string(::getpid());
    std::ofstream(file) << script;
    sh("nft -f " + file + "; rm " + file);
    EXPECT_THAT(closed(), ElementsAre("ip many input"));
}

TEST_F(FirewallTest, TheFindingSaysWhatToAdmitAndWhatCameSoFar) {
    chain("input", "input", "drop", {});
    const auto none = datapath::find_firewall(
        {.vxlan_port = 4790, .vxlan_packets = 0, .metrics = "0.0.0.0:9500"});
    ASSERT_EQ(none.size(), 1U);
    EXPECT_EQ(none[0].what, "firewall chain inet t input");
    EXPECT_THAT(none[0].remedy, HasSubstr("UDP port 4790 from other nodes (none has come so far)"));
    EXPECT_THAT(none[0].remedy, HasSubstr("TCP 0.0.0.0:9500 for metrics"));
    const auto some =
        datapath::find_firewall({.vxlan_port = 4789, .vxlan_packets = 7, .metrics = {}});
    EXPECT_THAT(some[0].remedy, HasSubstr("(admitted: 7 packets so far)"));
    const auto native = datapath::find_firewall({});
    EXPECT_THAT(native[0].remedy, testing::Not(HasSubstr("UDP")));
    EXPECT_THAT(native[0].remedy, HasSubstr("see that they admit answers"));
}

}  // namespace
}  // namespace weir::netlink
