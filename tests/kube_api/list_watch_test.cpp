// SPDX-License-Identifier: Apache-2.0
// The state machine of a kind, as "LIST + WATCH state machine" and "Throttling / errors" say it.
#include "kube/api/list_watch.h"

#include <gtest/gtest.h>

namespace weir::kube::api {
namespace {

using namespace std::chrono_literals;
using Action = ListWatch::Action;
using Clock = ListWatch::Clock;

class ListWatchTest : public testing::Test {
  protected:
    ListWatch make(bool optional = false, bool leader = false) const {
        return {optional, leader, [this] { return random_; }};
    }
    static Status status(int code, std::string reason = "",
                         std::optional<std::chrono::seconds> after = {}) {
        return {.code = code, .reason = std::move(reason), .message = "", .retry_after = after};
    }
    /// A machine that watches from resourceVersion 100.
    ListWatch watching(bool leader = false) const {
        ListWatch machine = make(false, leader);
        machine.opened(now_);
        machine.initial_end("100");
        return machine;
    }
    [[nodiscard]] std::chrono::milliseconds delay(const ListWatch& machine) const {
        return std::chrono::duration_cast<std::chrono::milliseconds>(machine.next().not_before -
                                                                     now_);
    }

    double random_ = 0.5;
    Clock::time_point now_ = Clock::time_point(1h);
};

TEST_F(ListWatchTest, StartsWithAStreamingListOfTheNewestState) {
    const ListWatch machine = make();
    EXPECT_EQ(machine.next().action, Action::kStream);
    EXPECT_EQ(machine.next().resource_version, "");
    EXPECT_FALSE(machine.listed());
}

TEST_F(ListWatchTest, TheStreamBecomesAWatchAtItsEnd) {
    ListWatch machine = make();
    machine.opened(now_);
    machine.progressed("7");
    EXPECT_EQ(machine.resource_version(), "") << "an initial event is no state to resume from";
    EXPECT_FALSE(machine.listed());
    machine.initial_end("100");
    EXPECT_TRUE(machine.listed());
    machine.progressed("103");
    EXPECT_EQ(machine.next().action, Action::kWatch);
    EXPECT_EQ(machine.next().resource_version, "103");
}

TEST_F(ListWatchTest, WatchesAskForFiveToTenMinutes) {
    random_ = 0;
    EXPECT_EQ(make().next().timeout, 300s);
    random_ = 0.999;
    EXPECT_GT(make().next().timeout, 590s);
    EXPECT_LT(make().next().timeout, 600s);
}

TEST_F(ListWatchTest, AStreamCutBeforeItsEndIsBegunAnew) {
    ListWatch machine = make();
    machine.opened(now_);
    machine.progressed("7");
    machine.closed(now_ + 5s);
    EXPECT_EQ(machine.next().action, Action::kStream);
    EXPECT_EQ(machine.next().resource_version, "");
    EXPECT_FALSE(machine.listed());
}

TEST_F(ListWatchTest, ListsInPagesWhereStreamsAreRefused) {
    for (const int code : {400, 422}) {
        ListWatch machine = make();
        machine.refused(now_, status(code, "Invalid"));
        EXPECT_EQ(machine.next().action, Action::kList);
        machine.page(now_, {.items = {}, .resource_version = "50", .next = "more"});
        EXPECT_EQ(machine.next().action, Action::kList);
        EXPECT_EQ(machine.next().page, "more");
        EXPECT_FALSE(machine.listed());
        machine.page(now_, {.items = {}, .resource_version = "51", .next = ""});
        EXPECT_EQ(machine.next().action, Action::kWatch);
        EXPECT_EQ(machine.next().resource_version, "51");
        EXPECT_TRUE(machine.listed());
        machine.refused(now_, status(410, "Expired"));
        EXPECT_EQ(machine.next().action, Action::kList) << "the refusal is remembered";
    }
}

TEST_F(ListWatchTest, AStreamRefusedAfterItWasOpenedIsAListFromThenOn) {
    ListWatch machine = make();
    machine.refused(now_, status(500, "InternalError"));
    EXPECT_EQ(machine.next().action, Action::kStream) << "a sick server is no word on streams";
    now_ = machine.next().not_before;
    machine.opened(now_);
    machine.refused(now_, status(500, "InternalError"));
    EXPECT_EQ(machine.next().action, Action::kList);
    EXPECT_LT(delay(machine), 1s);
}

TEST_F(ListWatchTest, AServerThatRefusedToStreamIsAskedAgainMuchLater) {
    ListWatch machine = make();
    machine.refused(now_, status(422, "Invalid"));
    machine.page(now_, {.items = {}, .resource_version = "50", .next = ""});
    now_ += ListWatch::kRefusalKept - 1s;
    machine.refused(now_, status(410, "Expired"));
    EXPECT_EQ(machine.next().action, Action::kList);
    machine.page(now_, {.items = {}, .resource_version = "60", .next = ""});
    now_ += 2s;
    machine.refused(now_, status(410, "Expired"));
    EXPECT_EQ(machine.next().action, Action::kStream) << "it may be another one by now";
    machine.refused(now_, status(422, "Invalid"));
    EXPECT_EQ(machine.next().action, Action::kList);
}

TEST_F(ListWatchTest, AListWhoseStreamsBreakComesInPages) {
    ListWatch machine = make();
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(machine.next().action, Action::kStream) << i;
        machine.opened(now_);
        machine.progressed("7");
        machine.closed(now_ + 5s);
    }
    EXPECT_EQ(machine.next().action, Action::kList);
    EXPECT_EQ(machine.next().resource_version, "");
    EXPECT_FALSE(machine.listed());
    EXPECT_GT(machine.next().not_before, now_ + 6s)
        << "what comes before the end is no success: delays grow";
    machine.page(now_, {.items = {}, .resource_version = "50", .next = ""});
    EXPECT_TRUE(machine.listed());
    machine.refused(now_, status(410, "Expired"));
    EXPECT_EQ(machine.next().action, Action::kStream) << "it was no refusal";
}

TEST_F(ListWatchTest, AnExpiredPageBeginsTheListAnew) {
    ListWatch machine = make();
    machine.refused(now_, status(400));
    machine.page(now_, {.items = {}, .resource_version = "50", .next = "more"});
    machine.refused(now_, status(410, "Expired"));
    EXPECT_EQ(machine.next().action, Action::kList);
    EXPECT_EQ(machine.next().page, "");
    EXPECT_GT(machine.next().not_before, now_) << "not at once: it may expire again";
}

TEST_F(ListWatchTest, AnEndedWatchGoesOnWhereItWas) {
    ListWatch machine = watching();
    machine.opened(now_);
    machine.closed(now_ + 400s);
    EXPECT_EQ(machine.next().action, Action::kWatch);
    EXPECT_EQ(machine.next().resource_version, "100");
    EXPECT_EQ(machine.failures(), 0U);
    now_ += 400s;
    EXPECT_LE(delay(machine), 100ms);
}

TEST_F(ListWatchTest, AShortWatchWithoutEventsIsAFailure) {
    ListWatch machine = watching();
    machine.opened(now_);
    machine.closed(now_ + 999ms);
    EXPECT_EQ(machine.failures(), 1U);
    EXPECT_EQ(machine.next().resource_version, "100");
}

TEST_F(ListWatchTest, OnlyTooOldAVersionMakesANewList) {
    for (const int code : {401, 403, 404, 429, 500, 503, 504}) {
        ListWatch machine = watching();
        machine.refused(now_, status(code));
        EXPECT_EQ(machine.next().action, Action::kWatch) << code;
        EXPECT_EQ(machine.next().resource_version, "100") << code;
    }
    ListWatch unreachable = watching();
    for (int i = 0; i < 20; ++i)
        unreachable.unreachable(now_);
    EXPECT_EQ(unreachable.next().action, Action::kWatch);
    ListWatch gone = watching();
    gone.refused(now_, status(410, "Expired"));
    EXPECT_EQ(gone.next().action, Action::kStream);
    EXPECT_EQ(gone.next().resource_version, "");
    EXPECT_TRUE(gone.listed()) << "what is known stays in force";
}

TEST_F(ListWatchTest, AgentsToldAtOnceToListAreSpread) {
    random_ = 0;
    ListWatch first = watching();
    first.refused(now_, status(410));
    random_ = 0.999;
    ListWatch last = watching();
    last.refused(now_, status(410));
    EXPECT_GT(last.next().not_before - first.next().not_before, 300ms);
    EXPECT_LT(last.next().not_before - now_, 1s);
}

TEST_F(ListWatchTest, DelaysGrowToHalfAMinuteAndEndWithSuccess) {
    ListWatch machine = watching();
    machine.refused(now_, status(500));
    EXPECT_EQ(delay(machine), 400ms);
    machine.refused(now_, status(500));
    EXPECT_EQ(delay(machine), 800ms);
    for (int i = 0; i < 100; ++i)
        machine.refused(now_, status(500));
    EXPECT_EQ(delay(machine), 30s);
    random_ = 0.999;
    machine.refused(now_, status(500));
    EXPECT_LE(delay(machine), 37'500ms);
    machine.progressed("101");
    EXPECT_EQ(machine.failures(), 0U);
}

TEST_F(ListWatchTest, RetryAfterIsKeptAndBounded) {
    for (const double random : {0.0, 0.5, 0.999}) {
        random_ = random;
        ListWatch machine = watching();
        machine.refused(now_, status(429, "TooManyRequests", 7s));
        EXPECT_GE(delay(machine), 7s);
        EXPECT_LE(delay(machine), 11s);
        machine.refused(now_, status(503, "", 100h));
        EXPECT_LE(delay(machine), 10min);
        machine.wake(now_);
        EXPECT_GE(delay(machine), 5min) << "who asks to wait is not woken past it";
    }
}

TEST_F(ListWatchTest, TheLeaderProbesWithinASecondAndWakesTheOthers) {
    random_ = 0.999;
    ListWatch leader = watching(true);
    ListWatch other = watching(false);
    for (int i = 0; i < 50; ++i) {
        leader.unreachable(now_);
        other.unreachable(now_);
    }
    EXPECT_LT(delay(leader), 1s);
    EXPECT_GT(delay(other), 20s);
    other.wake(now_);
    EXPECT_LE(delay(other), 200ms);
    EXPECT_EQ(other.next().resource_version, "100");
}

TEST_F(ListWatchTest, AWatchThatAServerEndsWithAnErrorIsNotWoken) {
    ListWatch machine = watching();
    for (int i = 0; i < 20; ++i) {
        now_ = machine.next().not_before;
        machine.opened(now_);
        machine.refused(now_, status(500, "InternalError"));
        machine.wake(now_);
    }
    EXPECT_GT(delay(machine), 20s) << "kinds that fail alike must not wake each other";
}

TEST_F(ListWatchTest, WhatIsForbiddenIsNotWoken) {
    ListWatch machine = make();
    for (int i = 0; i < 20; ++i)
        machine.refused(now_, status(403, "Forbidden"));
    machine.wake(now_);
    EXPECT_GT(delay(machine), 20s);
}

TEST_F(ListWatchTest, GarbageAtOneVersionIsTriedAgainThenListed) {
    ListWatch machine = watching();
    machine.broken(now_);
    machine.broken(now_);
    EXPECT_EQ(machine.next().action, Action::kWatch);
    machine.progressed("101");
    machine.broken(now_);
    machine.broken(now_);
    EXPECT_EQ(machine.next().action, Action::kWatch) << "it had gone on in between";
    machine.broken(now_);
    EXPECT_EQ(machine.next().action, Action::kStream);
    EXPECT_GT(machine.next().not_before, now_);
}

TEST_F(ListWatchTest, AnOptionalKindIsAbsentByDiscoverysWordOnly) {
    ListWatch machine = make(true);
    machine.refused(now_, status(404));
    EXPECT_EQ(machine.next().action, Action::kDiscover);
    EXPECT_FALSE(machine.absent());
    machine.discovered(now_, false);
    EXPECT_TRUE(machine.absent());
    EXPECT_TRUE(machine.listed()) << "nothing waits for what is not there";
    EXPECT_EQ(machine.next().action, Action::kDiscover);
    EXPECT_GT(delay(machine), 20s);
    machine.discovered(now_, true);
    EXPECT_EQ(machine.next().action, Action::kStream);
    machine.initial_end("5");
    EXPECT_FALSE(machine.absent());

    ListWatch needed = make(false);
    needed.refused(now_, status(404));
    EXPECT_EQ(needed.next().action, Action::kStream) << "others must exist: somebody lies";
}

}  // namespace
}  // namespace weir::kube::api
