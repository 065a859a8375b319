// SPDX-License-Identifier: Apache-2.0
#include "flow/hub.h"

#include <gtest/gtest.h>

#include "flow/fixture.h"

namespace weir::flow {
namespace {

struct HubTest : testing::Test {
    void publish(uint16_t source_port) {
        weir_event event = fixture::service_flow();
        event.sport = event.nat_sport = htons(source_port);
        hub.publish(recorder.make(event));
    }
    static std::vector<int> ports(const std::vector<RecordPtr>& records) {
        std::vector<int> result;
        for (const auto& record : records)
            result.push_back(record->source.port);
        return result;
    }
    static std::vector<int> drain(Subscription& subscription) {
        std::vector<int> result;
        while (const auto record = subscription.next()) {
            result.push_back(record->type == RecordType::kLost ? -static_cast<int>(record->lost)
                                                               : record->source.port);
        }
        return result;
    }
    static Query query(const std::vector<FilterParam>& params) {
        return Query::parse(params, 0).value();
    }

    fixture::World world;
    Recorder recorder{world};
    Hub hub{4};
};

TEST_F(HubTest, HistoryKeepsTheNewestInOrder) {
    EXPECT_TRUE(hub.history().find({}).empty());
    for (uint16_t port = 1; port <= 6; ++port)
        publish(port);
    EXPECT_EQ(ports(hub.history().find({})), (std::vector{3, 4, 5, 6}));
    EXPECT_EQ(ports(hub.history().find(query({{"last", "2"}}))), (std::vector{5, 6}));
    EXPECT_EQ(ports(hub.history().find(query({{"port", "4"}}))), (std::vector{4}));
    EXPECT_EQ(hub.history().size(), 4U);
}

TEST_F(HubTest, SubscribersGetWhatTheyAskedForAndAreWokenOnce) {
    auto all = hub.subscribe({}, 100);
    auto one = hub.subscribe(query({{"port", "2"}}).filter, 100);
    int wakes = 0;
    all->on_ready([&] { ++wakes; });
    for (uint16_t port = 1; port <= 3; ++port)
        publish(port);
    EXPECT_EQ(wakes, 1);
    EXPECT_EQ(drain(*all), (std::vector{1, 2, 3}));
    EXPECT_EQ(drain(*one), (std::vector{2}));
    publish(4);
    EXPECT_EQ(wakes, 2);
}

TEST_F(HubTest, ASlowReaderLosesCountedAndAtTheRightPlace) {
    auto slow = hub.subscribe({}, 2);
    auto fast = hub.subscribe({}, 100);
    for (uint16_t port = 1; port <= 5; ++port)
        publish(port);
    EXPECT_EQ(drain(*slow), (std::vector{1, 2, -3}));
    publish(6);
    EXPECT_EQ(drain(*slow), (std::vector{6}));
    EXPECT_EQ(drain(*fast), (std::vector{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(slow->lost(), 3U);
    EXPECT_EQ(hub.lost(), 3U);
}

TEST_F(HubTest, NothingAfterAGapComesBeforeItsNotice) {
    auto slow = hub.subscribe({}, 2);
    for (uint16_t port = 1; port <= 3; ++port)
        publish(port);
    EXPECT_EQ(slow->next()->source.port, 1);
    publish(4);  // there is room again, but the notice of record 3 comes first
    EXPECT_EQ(drain(*slow), (std::vector{2, -2}));
}

TEST_F(HubTest, UnsubscribesOnDestruction) {
    auto first = hub.subscribe({}, 2);
    auto second = hub.subscribe({}, 2);
    first.reset();
    EXPECT_EQ(hub.subscribers(), 1U);
    publish(1);
    EXPECT_EQ(drain(*second), (std::vector{1}));
}

}  // namespace
}  // namespace weir::flow
