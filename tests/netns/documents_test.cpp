// SPDX-License-Identifier: Apache-2.0
// Bad documents in the source directory of a running agent: "the last good state stays in force,
// and `weir status` shows file, line, object and field until it is mended".
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/load.h"
#include "netns/node.h"
#include "netns/web.h"

namespace weir::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Documents : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(node_.start_agent());
        good_ = Node::service_yaml("web", kVip4, kVip6);
        node_.apply("web.yaml", good_);
        node_.run_server("web-1", "web");
        client_ = node_.run_client("client").place;
        ASSERT_TRUE(eventually([&] { return served(kVip4) && served(kVip6); }));
    }
    [[nodiscard]] bool served(const std::string& vip) const {
        return http(client_, vip).starts_with("web-1");
    }
    [[nodiscard]] bool status_says(const std::string& text) const {
        return eventually([&] { return node_.problems().find(text) != std::string::npos; });
    }
    /// `text` in place of the good file: said as `problem`, harmless, and cleared by mending.
    void try_bad(const std::string& text, const std::string& problem) {
        SCOPED_TRACE(problem);
        node_.apply("web.yaml", text);
        EXPECT_TRUE(status_says(problem)) << node_.problems();
        EXPECT_NE(node_.weir_ok({"status"}).find("web.yaml"), std::string::npos);
        EXPECT_GE(problem_count(), 1);
        EXPECT_TRUE(served(kVip4) && served(kVip6));
        node_.apply("web.yaml", good_);
        EXPECT_TRUE(eventually([&] { return node_.problems().empty(); })) << node_.problems();
        EXPECT_EQ(problem_count(), 0);
    }
    /// Of all kinds, by the metrics.
    [[nodiscard]] double problem_count() const {
        double sum = 0;
        for (const char* kind :
             {"Service", "EndpointSlice", "Pod", "Node", "Namespace", "document"}) {
            const double value = node_.metric(fmt::format("weir_problems{{kind=\"{}\"}}", kind));
            if (value > 0) sum += value;
        }
        return sum;
    }
    static std::string with(std::string text, const std::string& what, const std::string& by) {
        return text.replace(text.find(what), what.size(), by);
    }

    Node node_;
    std::string good_;
    Place client_;
};

TEST_F(Documents, ABadOneChangesNothingUntilItIsMended) {
    Load load("pod", client_, {joined(kVip4, 80), joined(kVip6, 80)});
    // Ten lines of service_yaml come before the second port.
    try_bad(with(good_, "port: 80, targetPort: 8080, protocol: UDP",
                 "port: 70000, targetPort: 8080, protocol: UDP"),
            "web.yaml:11: Service shop/web: spec.ports[1].port: ");
    try_bad(with(good_, "protocol: UDP", "protocol: QUIC"),
            "web.yaml:11: Service shop/web: spec.ports[1].protocol: ");
    try_bad(with(good_, "selector: {app: web}", "selector: [app]"),
            "web.yaml:8: Service shop/web: spec.selector: ");
    try_bad(with(good_, "  ports:", " ports:"), "web.yaml:");  // indentation: no YAML
    try_bad(std::string("\x00\xff\xfe{[}", 6), "web.yaml:");
    try_bad(good_.substr(0, good_.size() / 2), "web.yaml:");
    load.finish();
}

TEST_F(Documents, TheOthersOfItsFileApply) {
    const auto more = Node::service_yaml("web2", "10.96.0.20", "fd00:10:96::20");
    const auto slice = Node::slice_yaml("web2-x", "web2", {"10.244.0.250"});
    node_.apply("web.yaml",
                with(good_, "port: 80,", "port: 0,") + "---\n" + more + "---\n" + slice);
    EXPECT_TRUE(status_says("Service shop/web: spec.ports[0].port: ")) << node_.problems();
    EXPECT_TRUE(served(kVip4)) << "the last good state";
    EXPECT_TRUE(eventually([&] {
        return node_.weir_ok({"service", "list", "-A"}).find("10.96.0.20") != std::string::npos;
    }));
}

TEST_F(Documents, AClaimOnAnothersAddressIsSaidAndDoesNotWin) {
    // Without creation times the order is that of names.
    node_.apply("thief.yaml", Node::service_yaml("xthief", kVip4, "fd00:10:96::66"));
    node_.run_server("thief-1", "xthief");
    EXPECT_TRUE(status_says("Service shop/xthief")) << node_.problems();
    for (int i = 0; i < 20; ++i)
        ASSERT_TRUE(served(kVip4));
    node_.remove("web.yaml");
    EXPECT_TRUE(eventually([&] { return http(client_, kVip4).starts_with("thief-1"); }))
        << "the younger takes over when the older goes";
    EXPECT_TRUE(eventually([&] { return node_.problems().empty(); })) << node_.problems();
}

// A bad document at the start of an agent must not undo what the tables hold of it.
TEST_F(Documents, BadOnesAtTheStartAreSaid) {
    node_.stop_agent(15);
    node_.apply("web.yaml", with(good_, "port: 80,", "port: 0,"));
    ASSERT_TRUE(node_.start_agent());
    EXPECT_TRUE(status_says("web.yaml:10: Service shop/web: spec.ports[0].port: "))
        << node_.problems();
    node_.apply("web.yaml", good_);
    EXPECT_TRUE(eventually([&] { return served(kVip4); }));
    EXPECT_EQ(node_.problems(), "");
}

}  // namespace
}  // namespace weir::test
