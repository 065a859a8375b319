// SPDX-License-Identifier: Apache-2.0
#include "model/types.h"

#include <gtest/gtest.h>

namespace weir::model {
namespace {

using Op = LabelRequirement::Op;

struct SelectorCase {
    const char* what;
    LabelSelector selector;
    Labels labels;
    bool matches;
};

// "NetworkPolicy, selection and isolation": matchExpressions, NotIn matches objects lacking the
// key.
TEST(LabelSelector, FollowsTheTruthTable) {
    const Labels web{{"app", "web"}, {"tier", "front"}};
    const SelectorCase cases[] = {
        {"empty selects everything", {}, web, true},
        {"empty selects the unlabelled", {}, {}, true},
        {"In, listed", {{{"app", Op::kIn, {"api", "web"}}}}, web, true},
        {"In, not listed", {{{"app", Op::kIn, {"api"}}}}, web, false},
        {"In, key missing", {{{"zone", Op::kIn, {"a"}}}}, web, false},
        {"In, empty value is not a missing key", {{{"zone", Op::kIn, {""}}}}, web, false},
        {"NotIn, listed", {{{"app", Op::kNotIn, {"web"}}}}, web, false},
        {"NotIn, not listed", {{{"app", Op::kNotIn, {"api"}}}}, web, true},
        {"NotIn, key missing", {{{"zone", Op::kNotIn, {"a"}}}}, web, true},
        {"Exists", {{{"app", Op::kExists, {}}}}, web, true},
        {"Exists, missing", {{{"zone", Op::kExists, {}}}}, web, false},
        {"DoesNotExist", {{{"zone", Op::kDoesNotExist, {}}}}, web, true},
        {"DoesNotExist, there", {{{"app", Op::kDoesNotExist, {}}}}, web, false},
        {"all must hold", {{{"app", Op::kIn, {"web"}}, {"tier", Op::kIn, {"back"}}}}, web, false},
    };
    for (const auto& c : cases)
        EXPECT_EQ(c.selector.matches(c.labels), c.matches) << c.what;
}

TEST(Protocol, ParsesItsOwnNames) {
    for (const auto protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
        EXPECT_EQ(parse_protocol(to_string(protocol)).value(), protocol);
    }
    const auto lower = parse_protocol("tcp");
    ASSERT_FALSE(lower.has_value());
    EXPECT_EQ(lower.error().message(), "protocol \"tcp\" is none of TCP, UDP, SCTP");
}

TEST(ObjectName, PrintsTheNamespaceOnlyWhenThereIsOne) {
    EXPECT_EQ((ObjectName{"shop", "web"}).to_string(), "shop/web");
    EXPECT_EQ((ObjectName{"", "node-1"}).to_string(), "node-1");
}

}  // namespace
}  // namespace weir::model
