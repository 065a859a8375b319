// SPDX-License-Identifier: Apache-2.0
// The lists with no agent alive: the kernel's own tables, pinned in a BPF file system.
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <boost/json.hpp>

#include "agent/table_view.h"
#include "datapath/fixture.h"
#include "support/process.h"
#include "weir/lb.h"

namespace weir::datapath::test {
namespace {

namespace json = boost::json;
using weir::test::Process;
using weir::test::TempDir;

struct TablesTest : DatapathTest {
    void SetUp() override {
        DatapathTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        auto datapath = start(1);
        WEIR_ASSERT_OK(datapath);
        fill((*datapath)->tables());
        const weir_ct_key4 key{.addr = {ip("10.1.0.5").w[3], ip("10.96.0.10").w[3]},
                               .port = {htons(41234), htons(80)},
                               .proto = IPPROTO_TCP};
        weir_ct flow{};
        flow.created = flow.seen = current_tick();
        flow.expires = flow.seen + 100;
        flow.flags = WEIR_CT_REWRITE_ORIG;
        flow.kind = WEIR_CT_SERVICE;
        flow.nat_addr[0] = ip("10.1.0.5");
        flow.nat_addr[1] = ip("10.1.0.6");
        flow.nat_port[0] = htons(41234);
        flow.nat_port[1] = htons(8080);
        flow.service = 5;
        WEIR_ASSERT_OK((*datapath)->maps().find("weir_half4")->put(&key, &flow));
        api::SavedNames names;
        names.pods = {{"10.1.0.5", "shop/web-1"}, {"10.1.0.6", "shop/api-0"}};
        names.services = {{"5", "shop/api:http"}};
        WEIR_ASSERT_OK(names.save(run_dir.path()));
    }

    static weir_addr ip(std::string_view text) { return IpAddress::parse(text)->abi(); }

    static void fill(const Tables& tables) {
        weir_endpoint endpoint{};
        endpoint.addr[0] = ip("10.1.0.5");
        endpoint.addr[1] = ip("fd00::5");
        endpoint.ifindex = ::if_nametoindex("lo");
        endpoint.flags = WEIR_EP_IN_USE;
        WEIR_ASSERT_OK(tables.endpoints.put(1, endpoint));
        WEIR_ASSERT_OK(tables.backends.put(2, {.addr = ip("10.1.0.6"),
                                               .port = htons(8080),
                                               .proto = IPPROTO_TCP,
                                               .state = WEIR_BACKEND_READY}));
        WEIR_ASSERT_OK(tables.slots.put(1, {.backend = 2, .tag = 7}));
        weir_service service{};
        service.extent[WEIR_SCOPE_CLUSTER] = WEIR_EXTENT(1, 1, 7);
        service.flags = WEIR_SVC_IN_USE;
        service.proto = IPPROTO_TCP;
        service.port = htons(80);
        WEIR_ASSERT_OK(tables.services.put(5, service));
        const weir_vip_key key{.addr = ip("10.96.0.10"),
                               .port = htons(80),
                               .proto = IPPROTO_TCP,
                               .scope = WEIR_VIP_SERVICE};
        WEIR_ASSERT_OK(
            tables.vips.put(key, {.service = 5,
                                  .flags = WEIR_VIP_CLUSTER_IP,
                                  .check = weir_vip_check(&key, 5, WEIR_VIP_CLUSTER_IP)}));
    }

    std::string weir(std::vector<std::string> words) const {
        words.insert(words.begin(), WEIR_BINARY);
        words.insert(words.end(), {"--socket", "/nonexistent/agent.sock", "--bpffs",
                                   bpffs_.string(), "--run-dir", run_dir.path().string()});
        Process process(words);
        EXPECT_EQ(process.wait(), 0) << process.err();
        EXPECT_EQ(process.err(), "weir: agent not running: read from kernel tables\n");
        return process.out();
    }

    TempDir run_dir;
};

TEST_F(TablesTest, PodsServicesAndBackendsHaveTheirNames) {
    EXPECT_EQ(
        weir({"pod", "list", "-o", "wide"}),
        "NAMESPACE   NAME    READY   IP                 DEVICE   AGE   ENDPOINT   NETNS   "
        "CONTAINER   LABELS\n"
        "shop        web-1   no      10.1.0.5,fd00::5   lo       -            1   -       -   "
        "        -\n");
    EXPECT_EQ(weir({"service", "list"}),
              "NAMESPACE   NAME   TYPE        CLUSTER-IP   PORTS    BACKENDS\n"
              "shop        api    ClusterIP   10.96.0.10   80/TCP          1\n");
    const std::string service = weir({"service", "get", "shop/api"});
    EXPECT_NE(service.find("  10.1.0.6:8080   ready   shop/api-0   -\n"), std::string::npos)
        << service;
    EXPECT_EQ(weir({"backend", "list"}),
              "ID   ADDRESS         PROTOCOL   STATE   POD          SERVICES\n"
              " 2   10.1.0.6:8080   TCP        ready   shop/api-0   shop/api:http\n");
}

TEST_F(TablesTest, ConntrackIsFilteredHere) {
    const json::value entry = json::parse(weir({"conntrack", "list", "-o", "json"}));
    EXPECT_EQ(entry.at("source_pod"), "shop/web-1");
    EXPECT_EQ(entry.at("service"), "shop/api:http");
    EXPECT_EQ(entry.at("nat_destination"), "10.1.0.6");
    EXPECT_EQ(entry.at("state"), "new");
    EXPECT_EQ(weir({"conntrack", "list", "-o", "name", "--port", "8080", "--pod", "web-1"}),
              "TCP 10.1.0.5:41234 10.96.0.10:80\n");
    EXPECT_EQ(weir({"conntrack", "list", "-o", "name", "--port", "9"}), "");
    EXPECT_EQ(weir({"conntrack", "list", "-o", "name", "--state", "established"}), "");
}

TEST_F(TablesTest, WithoutSavedNamesThereAreNumbers) {
    std::filesystem::remove(api::SavedNames::path(run_dir.path()));
    EXPECT_EQ(weir({"pod", "list", "-o", "name"}), "pod/#1\n");
    EXPECT_EQ(weir({"service", "list", "-o", "name"}), "service/#5\n");
}

}  // namespace
}  // namespace weir::datapath::test
