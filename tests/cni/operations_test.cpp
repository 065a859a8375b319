// SPDX-License-Identifier: Apache-2.0
// Each CNI operation by the shipped plugin, against the agent's side of CNI and the real kernel.
#include <set>
#include <thread>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "cni/lab.h"

namespace weir::test {
namespace {

using testing::HasSubstr;
namespace json = boost::json;

class CniOperations : public Lab {};

// CNI spec 1.1.0, ADD: the result, in the configuration's version.
TEST_F(CniOperations, AddAnswersInTheVersionAskedFor) {
    start_agent();
    make_pod("web-1");
    EXPECT_EQ(
        plugin("ADD", "web-1", config(R"(,"dns":{"nameservers":["10.0.0.10"]})")).out,
        R"({"cniVersion":"1.1.0","interfaces":[)"
        R"({"name":"wa841b-web-1","mac":"ee:ee:ee:ee:ee:ee","mtu":1500},)"
        R"({"name":"eth0","mac":"12:ad:ca:62:31:b8","mtu":1500,"sandbox":"/run/netns/web-1"}],)"
        R"("ips":[{"interface":1,"address":"10.1.0.2/32","gateway":"169.254.1.1"},)"
        R"({"interface":1,"address":"fd00:1::2/128","gateway":"fe80::ecee:eeff:feee:eeee"}],)"
        R"("routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"},)"
        R"({"dst":"::/0","gw":"fe80::ecee:eeff:feee:eeee"}],)"
        R"("dns":{"nameservers":["10.0.0.10"]}})"
        "\n");
    EXPECT_EQ(plugin("DEL", "web-1").status, 0);
    for (const std::string version : {"0.3.1", "0.4.0"}) {
        const auto result = add("web-1", config("", version));
        EXPECT_EQ(result.at("cniVersion").as_string(), version);
        EXPECT_EQ(result.at("ips").at(1).at("version").as_string(), "6");
        EXPECT_EQ(plugin("DEL", "web-1", config("", version)).out, "");
    }
}

TEST_F(CniOperations, PodsReachEachOtherAndTheHost) {
    start_agent();
    make_pod("web-1");
    make_pod("web-2");
    add("web-1");
    const auto second = add("web-2");
    for (const size_t family : {0U, 1U}) {
        const std::string address = address_of(second, family);
        EXPECT_TRUE(succeeds("ping -c1 -W2 " + address)) << address;
        EXPECT_TRUE(succeeds("ip netns exec web-1 ping -c1 -W2 " + address)) << address;
    }
    EXPECT_THAT(sh("ip netns exec web-1 ip -o addr show dev eth0"), HasSubstr("10.1.0.2/32"));
}

TEST_F(CniOperations, AddOfWhatExistsIsRefused) {
    start_agent();
    make_pod("web-1");
    add("web-1");
    const Outcome again = plugin("ADD", "web-1");
    EXPECT_EQ(code_of(again), 101U);
    EXPECT_THAT(again.out, HasSubstr("id-web-1/eth0 exists already in /run/netns/web-1"));
    EXPECT_TRUE(succeeds("ping -c1 -W2 10.1.0.2")) << "the first one is untouched";
    // Another interface of the same container is another attachment.
    Variables second = variables("ADD", "web-1");
    second["CNI_IFNAME"] = "net1";
    EXPECT_EQ(run_plugin(second).status, 0) << "net1";
    EXPECT_EQ(records(), 2U);
}

TEST_F(CniOperations, AddWorksAfterAFailedAdd) {
    start_agent();
    make_pod("web-1");
    sh("ip -n web-1 link add eth0 type veth peer name other");
    const Outcome refused = plugin("ADD", "web-1");
    EXPECT_EQ(code_of(refused), 101U) << refused.out;
    EXPECT_EQ(records(), 0U) << "a failed ADD keeps no address";
    EXPECT_EQ(links(), 0U);
    sh("ip -n web-1 link delete eth0");
    add("web-1");
    // The pod's namespace went without a DEL: its record is not in the way of the next.
    remove_pod("web-1");
    ASSERT_TRUE(eventually([] { return links() == 0; }));
    make_pod("web-1");
    add("web-1");
    EXPECT_EQ(records(), 1U);
}

TEST_F(CniOperations, DelIsIdempotent) {
    start_agent();
    make_pod("web-1");
    add("web-1");
    for (int i = 0; i < 3; ++i) {
        const Outcome del = plugin("DEL", "web-1");
        EXPECT_EQ(del.status, 0) << del.out;
        EXPECT_EQ(del.out, "");
    }
    EXPECT_EQ(links(), 0U);
    EXPECT_EQ(records(), 0U);
    EXPECT_EQ(sh("ip route show proto 87; ip -6 route show proto 87"), "");
    EXPECT_EQ(plugin("DEL", "never-added").status, 0);
}

TEST_F(CniOperations, DelWithoutTheNamespace) {
    start_agent();
    for (const std::string pod : {"gone", "unnamed"}) {
        make_pod(pod);
        add(pod);
        remove_pod(pod);
    }
    EXPECT_EQ(plugin("DEL", "gone").status, 0);
    Variables unnamed = variables("DEL", "unnamed");
    unnamed.erase("CNI_NETNS");
    EXPECT_EQ(run_plugin(unnamed).status, 0);
    EXPECT_EQ(records(), 0U);
}

TEST_F(CniOperations, DelWhileTheAgentIsAwayIsDoneLater) {
    start_agent();
    make_pod("web-1");
    make_pod("web-2");
    add("web-1");
    add("web-2");
    kill_agent();
    EXPECT_TRUE(succeeds("ping -c1 -W2 10.1.0.2")) << "pods go on without the agent";
    const Outcome del = plugin("DEL", "web-1");
    EXPECT_EQ(del.status, 0);
    EXPECT_EQ(del.out, "");
    EXPECT_EQ(links(), 2U);
    start_agent();
    EXPECT_TRUE(eventually([] { return links() == 1 && records() == 1; }));
    // While it runs: a DEL that did not find it.
    const std::string elsewhere = config(R"(,"socket":"/run/none.sock")");
    EXPECT_EQ(plugin("DEL", "web-2", elsewhere).status, 0);
    EXPECT_TRUE(eventually([] { return links() == 0 && records() == 0; }));
    EXPECT_TRUE(eventually([] { return succeeds("! ls /run/weir/cni-queue/*.json"); }));
}

TEST_F(CniOperations, AnOldDelDoesNotRemoveANewPod) {
    start_agent();
    make_pod("web-1");
    kill_agent();
    EXPECT_EQ(plugin("DEL", "web-1").status, 0);
    sh("mv /run/weir/cni-queue /run/weir/old");
    start_agent();
    add("web-1");
    sh("mv /run/weir/old/*.json /run/weir/cni-queue/");
    EXPECT_TRUE(eventually([] { return succeeds("! ls /run/weir/cni-queue/*.json"); }));
    EXPECT_EQ(links(), 1U);
    EXPECT_TRUE(succeeds("ping -c1 -W2 10.1.0.2"));
}

TEST_F(CniOperations, AddWithoutAnAgentIsToBeTriedAgain) {
    make_pod("web-1");
    const Outcome refused = plugin("ADD", "web-1");
    EXPECT_EQ(code_of(refused), 11U);
    EXPECT_THAT(refused.out, HasSubstr("the Weir agent does not answer on /run/weir/agent.sock"));
    EXPECT_EQ(code_of(plugin("STATUS", "")), 50U);
    // It waits a little for one that is being restarted.
    std::thread late([] { std::this_thread::sleep_for(std::chrono::seconds(1)); });
    Outcome added;
    std::thread adding([&] { added = plugin("ADD", "web-1"); });
    late.join();
    start_agent();
    adding.join();
    EXPECT_EQ(added.status, 0) << added.out;
}

// CNI spec 1.1.0, CHECK; CRI-O calls it the moment ADD has answered.
TEST_F(CniOperations, CheckSeesWhatIsWrong) {
    start_agent();
    make_pod("web-1");
    const auto check = [&](const json::value& previous, const std::string& version = "1.1.0") {
        return plugin("CHECK", "web-1",
                      config(",\"prevResult\":" + json::serialize(previous), version));
    };
    const json::value result = add("web-1");
    const Outcome fine = check(result);
    EXPECT_EQ(fine.status, 0) << fine.out;
    EXPECT_EQ(fine.out, "");
    EXPECT_EQ(check(result, "0.4.0").status, 0);

    json::value more = result;  // as a chained plugin leaves it
    more.as_object()["ips"].as_array().push_back({{"address", "192.0.2.1/24"}});
    EXPECT_EQ(check(more).status, 0);
    json::value less = result;
    less.as_object()["ips"].as_array().pop_back();
    EXPECT_EQ(code_of(check(less)), 104U);

    sh("ip -n web-1 route delete default");
    const Outcome broken = check(result);
    EXPECT_EQ(code_of(broken), 104U);
    EXPECT_THAT(broken.out, HasSubstr("no default route via 169.254.1.1"));
    EXPECT_EQ(plugin("DEL", "web-1").status, 0);
    EXPECT_EQ(code_of(check(result)), 104U);
}

// CNI spec 1.1.0, GC.
TEST_F(CniOperations, GcRemovesWhatIsNotValidInThisNetwork) {
    start_agent();
    for (const std::string pod : {"kept", "stale", "vanished"}) {
        make_pod(pod);
        add(pod);
    }
    make_pod("other");
    add("other", config("", "1.1.0", "another"));
    remove_pod("vanished");
    const std::string list =
        R"(,"cni.dev/valid-attachments":[{"containerID":"id-kept","ifname":"eth0"}])";
    EXPECT_EQ(code_of(plugin("GC", "", config())), 7U) << "without a list nothing is removed";
    EXPECT_EQ(records(), 4U);
    const Outcome collected = plugin("GC", "", config(list));
    EXPECT_EQ(collected.status, 0) << collected.out;
    EXPECT_EQ(collected.out, "");
    EXPECT_EQ(records(), 2U);
    EXPECT_EQ(links(), 2U);
    EXPECT_TRUE(succeeds("ping -c1 -W2 10.1.0.2"));
    EXPECT_TRUE(succeeds("ping -c1 -W2 10.1.0.5"));
}

// CNI conventions, "portMappings": what is asked for is kept with the addresses; nonsense is
// refused before anything is made.
TEST_F(CniOperations, HostPorts) {
    start_agent();
    make_pod("a1");
    const auto mapping = [](const std::string& entry) {
        return config(R"(,"runtimeConfig":{"portMappings":[)" + entry + "]}");
    };
    for (const std::string bad :
         {R"(7)", R"({})", R"({"hostPort":80})", R"({"hostPort":70000,"containerPort":80})",
          R"({"hostPort":80,"containerPort":80,"protocol":"icmp"})",
          R"({"hostPort":80,"containerPort":80,"hostIP":"nowhere"})"}) {
        const Outcome refused = plugin("ADD", "a1", mapping(bad));
        EXPECT_EQ(code_of(refused), 7U) << bad;
        EXPECT_THAT(refused.out, HasSubstr("runtimeConfig.portMappings")) << bad;
    }
    EXPECT_EQ(records(), 0U);
    add("a1", mapping(R"({"hostPort":0,"containerPort":90},)"
                      R"({"HostPort":8080,"ContainerPort":80,"Protocol":"udp","HostIP":"::1"})"));
    EXPECT_THAT(sh("cat /run/weir/ipam/id-a1@eth0.json"),
                HasSubstr(R"("hostPorts":[{"protocol":"UDP","hostPort":8080,)"
                          R"("containerPort":80,"hostIP":"::1"}])"));
}

TEST_F(CniOperations, RequestedAddresses) {
    start_agent();
    for (const std::string pod : {"a1", "a2", "a3", "a4"})
        make_pod(pod);
    const auto wish = [](const std::string& address) {
        return config(R"(,"runtimeConfig":{"ips":[")" + address + R"("]})");
    };
    EXPECT_EQ(address_of(add("a1", wish("10.1.0.77/24")), 0), "10.1.0.77");
    const Outcome taken = plugin("ADD", "a2", wish("10.1.0.77"));
    EXPECT_EQ(code_of(taken), 103U);
    EXPECT_THAT(taken.out, HasSubstr("10.1.0.77 is in use by id-a1/eth0 (pod shop/a1)"));
    EXPECT_EQ(code_of(plugin("ADD", "a2", wish("10.1.0.1"))), 7U);
    EXPECT_EQ(code_of(plugin("ADD", "a2", wish("nonsense"))), 7U);
    EXPECT_EQ(address_of(add("a3", config(R"(,"args":{"cni":{"ips":["fd00:1::99"]}})")), 1),
              "fd00:1::99");
    Variables by_args = variables("ADD", "a4");
    by_args["CNI_ARGS"] = "IP=10.1.0.88";
    EXPECT_THAT(run_plugin(by_args).out, HasSubstr("10.1.0.88/32"));
}

TEST_F(CniOperations, ExhaustionNamesThePool) {
    start_agent("10.1.0.0/29");
    for (int i = 0; i < 5; ++i) {
        make_pod("p" + std::to_string(i));
        add("p" + std::to_string(i));
    }
    make_pod("last");
    const Outcome refused = plugin("ADD", "last");
    EXPECT_EQ(code_of(refused), 102U);
    EXPECT_THAT(refused.out,
                HasSubstr("IPv4 pool 10.1.0.0/29 is exhausted: 5 addresses, 5 in use"));
}

TEST_F(CniOperations, ManyAtOnce) {
    start_agent();
    constexpr int kPods = 30;
    for (int i = 0; i < kPods; ++i)
        make_pod("p" + std::to_string(i));
    std::vector<Outcome> finished(kPods);
    std::vector<double> millis(kPods);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kPods; ++i) {
        threads.emplace_back([&, i] {
            const auto before = std::chrono::steady_clock::now();
            finished[i] = plugin("ADD", "p" + std::to_string(i));
            millis[i] =
                std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before)
                    .count();
        });
    }
    for (auto& thread : threads)
        thread.join();
    std::set<std::string> addresses;
    for (const Outcome& each : finished) {
        ASSERT_EQ(each.status, 0) << each.out;
        const auto result = json::parse(each.out);
        addresses.insert(address_of(result, 0));
        addresses.insert(address_of(result, 1));
    }
    EXPECT_EQ(addresses.size(), 2U * kPods);
    for (const std::string& address : addresses) {
        ASSERT_TRUE(succeeds("ping -c1 -W2 " + address)) << address;
    }
    std::ranges::sort(millis);
    std::printf("30 ADDs at once: median %.1f ms, longest %.1f ms\n", millis[15], millis[29]);
}

}  // namespace
}  // namespace weir::test
