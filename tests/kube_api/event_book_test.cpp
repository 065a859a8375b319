// SPDX-License-Identifier: Apache-2.0
// Which Events are written: counted, limited, bounded.
#include "kube/api/event_book.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir::kube::api {
namespace {

using namespace std::chrono_literals;
using Action = EventBook::Write::Action;

EventNote about(const std::string& object, const std::string& text = "spec.ports[0]: is taken") {
    return {.regarding = {"v1", "Service", "shop", object, "uid-" + object},
            .reason = "AddressTaken",
            .action = "Compiling",
            .text = text};
}

class EventBookTest : public testing::Test {
  protected:
    void note(const EventNote& note) { book_.note(note, now_, wall_); }
    /// What is due is written, and the server takes it.
    size_t write_all() {
        size_t writes = 0;
        while (const auto write = book_.next(now_)) {
            ++writes;
            if (write->action == Action::kCreate) {
                book_.created(write->name, now_);
            } else {
                book_.counted(write->name, write->count, now_);
            }
        }
        return writes;
    }

    EventBook book_;
    EventBook::Clock::time_point now_ = EventBook::Clock::time_point(1h);
    EventBook::Wall::time_point wall_{};
};

TEST_F(EventBookTest, EqualNotesAreOneEventWhoseCountGrows) {
    EXPECT_FALSE(book_.due());
    note(about("web"));
    EXPECT_EQ(write_all(), 1U);
    for (int i = 0; i < 7; ++i)
        note(about("web"));
    EXPECT_EQ(write_all(), 0U) << "not so soon again";
    EXPECT_EQ(book_.due(), now_ + EventBook::kRefresh);
    now_ += EventBook::kRefresh;
    const auto write = book_.next(now_);
    ASSERT_TRUE(write);
    EXPECT_EQ(write->action, Action::kCount);
    EXPECT_EQ(write->count, 8U);
    EXPECT_EQ(write_all(), 1U);
    EXPECT_EQ(book_.counts().created, 1U);
    EXPECT_EQ(book_.counts().repeated, 1U);
    EXPECT_FALSE(book_.due());
}

TEST_F(EventBookTest, AnEventOfAnotherAgentOrOfBeforeIsCountedOn) {
    note(about("web"));
    auto write = book_.next(now_);
    book_.exists(write->name, now_);
    write = book_.next(now_);
    ASSERT_EQ(write->action, Action::kRead);
    book_.read(write->name, 41, now_);
    write = book_.next(now_);
    ASSERT_EQ(write->action, Action::kCount);
    EXPECT_EQ(write->count, 42U);
    book_.counted(write->name, 42, now_);
    EXPECT_FALSE(book_.next(now_ + 1h));
}

TEST_F(EventBookTest, AnEventThatTheServerForgotIsMadeAnew) {
    note(about("web"));
    write_all();
    note(about("web"));
    now_ += EventBook::kRefresh;
    auto write = book_.next(now_);
    ASSERT_EQ(write->action, Action::kCount);
    book_.missing(write->name, now_);
    write = book_.next(now_);
    ASSERT_EQ(write->action, Action::kCreate);
    EXPECT_EQ(write->count, 1U);
}

TEST_F(EventBookTest, NamesFollowFromWhatIsSaid) {
    EXPECT_EQ(event_name(about("web")), event_name(about("web")));
    EXPECT_NE(event_name(about("web")), event_name(about("web", "other")));
    EventNote again = about("web");
    again.regarding.uid = "another one of the name";
    EXPECT_NE(event_name(about("web")), event_name(again));
    EXPECT_EQ(event_name(about("web")).size(), std::string("web.").size() + 16);
    EXPECT_LE(event_name(about(std::string(253, 'a'))).size(), 253U);
    EXPECT_EQ(event_name(about(std::string(199, 'a') + ".b")).find(".."), std::string::npos);
}

TEST_F(EventBookTest, OneObjectCannotFillTheCluster) {
    for (int i = 0; i < 100; ++i)
        note(about("web", fmt::format("trouble {}", i)));
    EXPECT_EQ(write_all(), static_cast<size_t>(EventBook::kObjectBurst));
    EXPECT_EQ(book_.counts().suppressed, 100U - static_cast<size_t>(EventBook::kObjectBurst));
    note(about("other"));
    EXPECT_EQ(write_all(), 1U) << "others are told all the same";
    now_ += EventBook::kObjectRefill;
    note(about("web", "later"));
    EXPECT_EQ(write_all(), 1U);
}

TEST_F(EventBookTest, AllObjectsTogetherAreLimited) {
    for (int i = 0; i < 5000; ++i)
        note(about(fmt::format("s{}", i)));
    EXPECT_EQ(write_all(), static_cast<size_t>(EventBook::kBurst));
    EXPECT_EQ(book_.counts().suppressed, 5000U - static_cast<size_t>(EventBook::kBurst));
}

TEST_F(EventBookTest, ItIsBoundedAndForgets) {
    for (int i = 0; i < 5000; ++i) {
        now_ += EventBook::kRefill;
        note(about(fmt::format("s{}", i)));
        write_all();
    }
    // An hour is 3,600 refills: the book is full, then has room again.
    EXPECT_GE(book_.counts().created, EventBook::kMaxEvents);
    EXPECT_GT(book_.counts().suppressed, 0U);
    now_ += EventBook::kForget + 1s;
    const auto before = book_.counts().created;
    note(about("fresh"));
    EXPECT_EQ(write_all(), 1U);
    EXPECT_EQ(book_.counts().created, before + 1);
}

TEST_F(EventBookTest, WhatFailsIsTriedAgainAndGivenUp) {
    note(about("web"));
    unsigned tries = 0;
    for (auto end = now_ + 1h; now_ < end; now_ += 1s) {
        if (const auto write = book_.next(now_)) {
            ++tries;
            book_.failed(write->name, now_);
        }
    }
    EXPECT_EQ(tries, EventBook::kMaxTries);
    EXPECT_EQ(book_.counts().failed, 1U);
}

TEST_F(EventBookTest, LongTextsAreCutBetweenCharacters) {
    note(about("web", std::string(EventBook::kMaxText - 1, 'x') + "€"));
    EXPECT_EQ(book_.next(now_)->note.text.size(), EventBook::kMaxText - 1);
}

}  // namespace
}  // namespace weir::kube::api
