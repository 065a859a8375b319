// SPDX-License-Identifier: Apache-2.0
// `weir preflight` against the real kernel.
#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process.h"

namespace weir::test {
namespace {

using testing::HasSubstr;

TEST(Preflight, NamesWhatIsMissingAndSaysSoByItsStatus) {
    const auto outcome = run({WEIR_BINARY, "preflight", "--bpffs=/nonexistent/bpf", "-o", "json"});
    EXPECT_EQ(outcome.status, 1) << outcome.describe();
    const auto checks = boost::json::parse(outcome.out);
    size_t features = 0;
    bool bpffs = false;
    for (const auto& check : checks.as_array()) {
        const std::string name(check.at("check").as_string());
        const std::string state(check.at("state").as_string());
        if (name.starts_with("kernel: ")) {
            ++features;
            EXPECT_NE(state, "FAILED") << boost::json::serialize(check);
        }
        if (name != "mount: bpffs") continue;
        bpffs = true;
        EXPECT_EQ(state, "FAILED");
        EXPECT_THAT(std::string(check.at("text").as_string()), HasSubstr("/nonexistent/bpf"));
    }
    EXPECT_TRUE(bpffs);
    EXPECT_GT(features, 10U);
}

TEST(Preflight, ReadsAsATable) {
    const auto outcome = run({WEIR_BINARY, "preflight", "--bpffs=/nonexistent/bpf"});
    EXPECT_THAT(outcome.out, testing::StartsWith("CHECK "));
    EXPECT_THAT(outcome.out, HasSubstr("mount: bpffs"));
}

TEST(Preflight, LooksForVxlanWhereRoutingNeedsIt) {
    const auto checks = [](const std::string& routing) {
        return run({WEIR_BINARY, "preflight", "--routing=" + routing}).out;
    };
    EXPECT_THAT(checks("native"), testing::Not(HasSubstr("kernel: vxlan")));
    for (const char* routing : {"vxlan", "auto"})
        EXPECT_THAT(checks(routing), testing::ContainsRegex("kernel: vxlan +ok "));
    const auto wrong = run({WEIR_BINARY, "preflight", "--routing=bgp"});
    EXPECT_NE(wrong.status, 0);
    EXPECT_THAT(wrong.err, HasSubstr("--routing"));
}

// No kernel here lacks it; to who may make no device, it looks the same.
TEST(Preflight, SaysWhatToDoWithoutVxlan) {
    const auto outcome =
        run({"setpriv", "--bounding-set=-net_admin,-sys_admin", "--inh-caps=-net_admin,-sys_admin",
             WEIR_BINARY, "preflight", "--routing=vxlan"});
    EXPECT_EQ(outcome.status, 1) << outcome.describe();
    EXPECT_THAT(outcome.out, testing::ContainsRegex("kernel: vxlan +FAILED"));
    EXPECT_THAT(outcome.out, HasSubstr("modprobe vxlan"));
}

TEST(AwaitCleanup, OutsideOfAPodSaysSo) {
    const auto outcome = run({WEIR_BINARY, "await-cleanup", "kube-system/weir-cleanup"});
    EXPECT_NE(outcome.status, 0);
    EXPECT_THAT(outcome.err, HasSubstr("KUBERNETES_SERVICE_HOST"));
}

}  // namespace
}  // namespace weir::test
