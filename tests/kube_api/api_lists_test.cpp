// SPDX-License-Identifier: Apache-2.0
// How lists come from a real API server, and what is done with those that do not come whole.
#include <gmock/gmock.h>

#include "kube_api/source_test.h"

namespace weir::kube::api {
namespace {

std::string nodes(int from, int to) {
    std::string yaml = "apiVersion: v1\nkind: List\nitems:\n";
    for (int i = from; i < to; ++i)
        yaml += fmt::format("- {{apiVersion: v1, kind: Node, metadata: {{name: n-{}}}}}\n", i);
    return yaml;
}

TEST_F(ApiSourceTest, WhatAServerAnswersOnBadDaysChangesNothing) {
    plane_->apply(kObjects);
    open_through_proxy();
    ASSERT_TRUE(until([&] { return all_synced(); })) << troubles();
    const auto before = *find<model::Service>("shop", "web");
    const std::vector<std::string> bad_days = {
        R"({"kind": "status", "match": "/services", "code": 429, "headers": {"Retry-After": "1"}, "count": 2})",
        R"({"kind": "status", "match": "/services", "code": 500, "body": "<html>", "count": 2})",
        R"({"kind": "status", "match": "/services", "code": 404, "body": "not here", "count": 2})",
        R"({"kind": "status", "match": "/services", "code": 410, "body": "{\"kind\":\"Status\",\"reason\":\"Expired\"}", "count": 1})",
        R"({"kind": "status", "match": "/services", "code": 200, "body": "{\"kind\":\"ServiceList\",\"items\":[]}", "count": 2})",
        R"({"kind": "answer", "match": "/services", "raw": "Z2FyYmFnZQ==", "count": 2})",
        R"({"kind": "corrupt", "match": "/services", "after": 0, "count": 2})",
        R"({"kind": "corrupt", "match": "/services", "after": 300, "count": 2})",
        R"({"kind": "cut", "match": "/services", "after": 3, "count": 2})",
        R"({"kind": "delay", "match": "/services", "seconds": 1, "count": 1})",
    };
    size_t number = 0;
    for (const auto& fault : bad_days) {
        SCOPED_TRACE(fault);
        // Open connections are closed, so that the fault meets the next request.
        proxy_->set({R"({"kind": "refuse"})"});
        ASSERT_TRUE(until([&] { return !state(Kind::kService).connected; }));
        proxy_->set({fault});
        const std::string name = "new-" + std::to_string(number++);
        plane_->kubectl({"-n", "shop", "create", "service", "clusterip", name, "--tcp=80"});
        ASSERT_TRUE(until([&] {
            const auto* now = find<model::Service>("shop", "web");
            EXPECT_TRUE(now != nullptr && *now == before);
            return find<model::Service>("shop", name.c_str()) != nullptr;
        })) << troubles();
    }
    EXPECT_EQ(store_.count<model::Service>(), 2 + number);  // and "kubernetes"
}

TEST_F(ApiSourceTest, ListsInPagesWhereStreamingIsNotOffered) {
    plane_->kill_server();
    plane_->start_server(std::vector<std::string>{"--feature-gates=WatchList=false"});
    plane_->apply(nodes(0, 520));
    open(plane_->kubeconfig("admin"));
    ASSERT_TRUE(until([&] { return all_synced(); })) << troubles();
    EXPECT_EQ(store_.count<model::Node>(), 520U);
    for (const auto& state : source_->states()) {
        EXPECT_EQ(state.lists, 1U) << to_string(state.kind);
        EXPECT_EQ(state.streamed, 0U) << to_string(state.kind);
        EXPECT_EQ(state.failures, 0U) << to_string(state.kind) << ": a refusal is no failure";
    }
    plane_->kubectl({"delete", "node", "n-7"});
    EXPECT_TRUE(until([&] { return find<model::Node>("", "n-7") == nullptr; }));
}

// Initial events without their end are no list: nothing of them is taken over.
TEST_F(ApiSourceTest, AStreamedListIsTakenOverWholeOrNotAtAll) {
    constexpr auto kCutTwice =
        R"({"kind": "cut", "match": "/nodes?watch=1", "after": 20000, "count": 2})";
    constexpr auto kCutAlways = R"({"kind": "cut", "match": "/nodes?watch=1", "after": 20000})";
    plane_->apply(nodes(0, 520));
    open_through_proxy({kCutTwice});
    ASSERT_TRUE(until([&] {
        const size_t seen = store_.count<model::Node>();
        EXPECT_TRUE(seen == 0 || seen == 520) << seen;
        return seen == 520;
    })) << troubles();
    EXPECT_GE(state(Kind::kNode).failures, 2U);
    EXPECT_EQ(state(Kind::kNode).streamed, 1U);

    // What is known stays until the whole of the new list is there.
    const auto relist = [&](const char* fault, int deleted, int made) {
        proxy_->set({R"({"kind": "refuse"})"});
        ASSERT_TRUE(until([&] { return !state(Kind::kNode).connected; }));
        plane_->kubectl({"delete", "node", fmt::format("n-{}", deleted)});
        plane_->apply(nodes(made, made + 1));
        proxy_->set(
            {fmt::format(
                 R"({{"kind": "status", "match": "/nodes?watch=1", "code": 410, "body": "{}", "count": 1}})",
                 made),
             fault});
        const auto has = [&](int number) {
            return find<model::Node>("", fmt::format("n-{}", number).c_str()) != nullptr;
        };
        ASSERT_TRUE(until([&] {
            EXPECT_EQ(store_.count<model::Node>(), 520U);
            EXPECT_NE(has(deleted), has(made));
            return has(made);
        })) << troubles();
    };
    relist(kCutTwice, 0, 520);
    EXPECT_EQ(state(Kind::kNode).lists, 2U);
    EXPECT_EQ(state(Kind::kNode).streamed, 2U);
    relist(kCutAlways, 519, 521);
    EXPECT_EQ(state(Kind::kNode).lists, 3U);
    EXPECT_EQ(state(Kind::kNode).streamed, 2U) << "none came to its end: pages did";
}

}  // namespace
}  // namespace weir::kube::api
