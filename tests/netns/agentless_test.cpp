// SPDX-License-Identifier: Apache-2.0
// The CLI without an agent: lists come from the kernel's tables, with names where they are known,
// and every way of failing has its exit code.
#include <csignal>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/node.h"
#include "netns/web.h"
#include "support/child.h"
#include "support/exercises.h"

namespace weir::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Agentless : public testing::Test {
  protected:
    Agentless() : node_({.socket_hooks = "off"}) {}
    void SetUp() override {
        ASSERT_TRUE(node_.start_agent());
        node_.apply("web.yaml", Node::service_yaml("web", kVip4, kVip6));
        web_ = &node_.run_server("web-1", "web");
        client_ = node_.run_client("client").place;
        for (const int family : {4, 6}) {
            ASSERT_TRUE(
                eventually([&] { return http(client_, vip(family)).starts_with("web-1"); }));
        }
        // A drop to be listed.
        in_child(client_, [] { return udp_ask("10.96.77.77", 80); });
        // Names of objects are saved once a second.
        ASSERT_TRUE(eventually([&] {
            return read_file(node_.dir() / "run/names.json").value_or("").find("web-1") !=
                   std::string::npos;
        }));
    }
    /// Standard output without an agent, which says so on standard error.
    [[nodiscard]] std::string from_tables(const std::vector<std::string>& arguments) const {
        const auto outcome = node_.weir(arguments);
        EXPECT_EQ(outcome.status, 0) << arguments[0] << " " << outcome.describe();
        EXPECT_THAT(outcome.err, HasSubstr("agent not running: read from kernel tables"));
        return outcome.out;
    }

    Node node_;
    Node::Pod* web_ = nullptr;
    Place client_;
};

TEST_F(Agentless, EveryListReadsTheKernelTables) {
    const auto services = node_.weir_json({"service", "list"});
    node_.stop_agent(SIGKILL);
    EXPECT_THAT(from_tables({"pod", "list"}), AllOf(HasSubstr("web-1"), HasSubstr(web_->v4)));
    EXPECT_THAT(from_tables({"pod", "get", "shop/web-1"}), HasSubstr(web_->v6));
    EXPECT_THAT(from_tables({"service", "list"}), AllOf(HasSubstr("web"), HasSubstr(kVip4)));
    EXPECT_THAT(from_tables({"service", "get", "shop/web"}),
                AllOf(HasSubstr(kVip6), HasSubstr(joined(web_->v4, 8080)), HasSubstr("web-1")));
    EXPECT_THAT(from_tables({"backend", "list"}),
                AllOf(HasSubstr(web_->v4), HasSubstr("shop/web-1")));
    EXPECT_THAT(from_tables({"ipam", "list"}), AllOf(HasSubstr(web_->v4), HasSubstr("web-1")));
    EXPECT_THAT(from_tables({"conntrack", "list"}),
                AllOf(HasSubstr(kVip4), HasSubstr("shop/client"), HasSubstr("shop/web")));
    EXPECT_THAT(from_tables({"conntrack", "list", "--service=shop/web", "--protocol=TCP"}),
                HasSubstr(kVip4));
    EXPECT_THAT(from_tables({"drops"}), HasSubstr("service_cidr_miss"));
    for (const char* format : {"json", "yaml", "wide", "name"}) {
        for (const char* kind : {"pod", "service", "backend", "conntrack"})
            EXPECT_NE(from_tables({kind, "list", "-o", format}), "") << kind << " " << format;
    }
    ASSERT_TRUE(node_.start_agent());
    EXPECT_EQ(node_.weir_json({"service", "list"}), services);
}

TEST_F(Agentless, ExitCodesAreDistinct) {
    EXPECT_EQ(node_.weir({"status"}).status, 0);
    EXPECT_EQ(node_.weir({"service", "get", "shop/nobody"}).status, 1);
    EXPECT_EQ(node_.weir({"service", "list", "--colour"}).status, 2);
    EXPECT_EQ(node_.weir({"conntrack", "list", "--ip=banana"}).status, 2);
    const auto as_nobody = run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                WEIR_CLI, "service", "list"});
    EXPECT_EQ(as_nobody.status, 4) << as_nobody.describe();
    node_.stop_agent(SIGKILL);
    for (const auto* command : {"status", "flows"}) {
        const auto outcome = node_.weir({command});
        EXPECT_EQ(outcome.status, 3) << outcome.describe();
        EXPECT_THAT(outcome.err, HasSubstr("weir-agent")) << "the next step";
    }
    EXPECT_EQ(node_.weir({"service", "get", "shop/nobody"}).status, 1);
    EXPECT_EQ(node_.weir({"conntrack", "list", "--ip=banana"}).status, 2);
    const auto denied = run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                             "--inh-caps=-all", WEIR_CLI, "service", "list"});
    EXPECT_EQ(denied.status, 4) << denied.describe();
    const auto nothing = node_.weir({"service", "list", "--bpffs", "/tmp"});
    EXPECT_EQ(nothing.status, 3) << nothing.describe();
}

}  // namespace
}  // namespace weir::test
