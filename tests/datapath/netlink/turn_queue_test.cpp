// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/turn_queue.h"

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::netlink {
namespace {

using namespace std::chrono_literals;

TEST(TurnQueueTest, CallersGoInTheOrderInWhichTheyCame) {
    TurnQueue queue(1);
    std::optional<Turn> first(queue);
    std::vector<int> order;  // written by whoever has the turn
    std::vector<std::thread> callers;
    for (int i = 0; i < 8; ++i) {
        callers.emplace_back([&queue, &order, i] {
            const Turn turn(queue);
            order.push_back(i);
        });
        std::this_thread::sleep_for(20ms);  // it waits by now
    }
    EXPECT_TRUE(order.empty());
    first.reset();
    for (std::thread& caller : callers)
        caller.join();
    EXPECT_THAT(order, testing::ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST(TurnQueueTest, NoMoreAtOnceThanAllowed) {
    TurnQueue queue(2);
    std::atomic<int> inside = 0;
    std::atomic<int> most = 0;
    std::vector<std::thread> callers;
    for (int i = 0; i < 8; ++i) {
        callers.emplace_back([&] {
            for (int round = 0; round < 200; ++round) {
                const Turn turn(queue);
                const int now = ++inside;
                int seen = most;
                while (seen < now && !most.compare_exchange_weak(seen, now)) {
                }
                std::this_thread::yield();
                --inside;
            }
        });
    }
    for (std::thread& caller : callers)
        caller.join();
    EXPECT_EQ(most, 2);
}

}  // namespace
}  // namespace weir::netlink
