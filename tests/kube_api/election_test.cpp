// SPDX-License-Identifier: Apache-2.0
// Who is elected, as "Writes the agent does" says: by the local time of changes seen, never by
// another's clock.
#include "kube/api/election.h"

#include <gtest/gtest.h>

namespace weir::kube::api {
namespace {

using namespace std::chrono_literals;
using Action = Election::Action;
using Clock = Election::Clock;

/// The server's side: one Lease, written on condition.
class Server {
  public:
    [[nodiscard]] const std::optional<LeaseRecord>& lease() const { return lease_; }
    /// Nothing: refused.
    std::optional<LeaseRecord> write(const Election::Step& step) {
        if (step.action == Action::kCreate
                ? lease_.has_value()
                : !lease_ || lease_->resource_version != step.record.resource_version) {
            return std::nullopt;
        }
        lease_ = step.record;
        lease_->resource_version = std::to_string(++version_);
        return lease_;
    }
    void remove() { lease_.reset(); }

  private:
    std::optional<LeaseRecord> lease_;
    int version_ = 0;
};

/// An agent that does at once what its Election says.
class Agent {
  public:
    Agent(const std::string& name, Server& server, double random = 0.5)
        : election_(name, {}, [random] { return random; }), server_(server) {}

    void run(Clock::time_point now) {
        for (int steps = 0; election_.next().not_before <= now && steps < 8; ++steps) {
            const auto step = election_.next();
            if (cut_off_) {
                election_.failed(now);
            } else if (step.action == Action::kLook) {
                election_.looked(now, server_.lease());
            } else if (const auto written = server_.write(step)) {
                election_.written(now, now, *written);
            } else {
                election_.conflicted(now);
            }
        }
    }
    void cut_off(bool off) { cut_off_ = off; }
    [[nodiscard]] bool leading(Clock::time_point now) const { return election_.leading(now); }
    Election& election() { return election_; }

  private:
    Election election_;
    Server& server_;
    bool cut_off_ = false;
};

class ElectionTest : public testing::Test {
  protected:
    /// All agents act; there are never two elected at once. Returns the elected one's place.
    std::optional<size_t> pass(Clock::duration time) {
        std::optional<size_t> elected;
        for (const auto end = now_ + time; now_ < end; now_ += 100ms) {
            for (Agent* agent : agents_)
                agent->run(now_);
            elected.reset();
            for (size_t i = 0; i < agents_.size(); ++i) {
                if (!agents_[i]->leading(now_)) continue;
                EXPECT_FALSE(elected) << "two are elected";
                elected = i;
            }
        }
        return elected;
    }

    Clock::time_point now_ = Clock::time_point(1h);
    Server server_;
    Agent a_{"a", server_, 0.1};
    Agent b_{"b", server_, 0.4};
    Agent c_{"c", server_, 0.9};
    std::vector<Agent*> agents_{&a_, &b_, &c_};
};

TEST_F(ElectionTest, OneIsElectedAndStays) {
    ASSERT_EQ(pass(1s), 0U);
    EXPECT_EQ(server_.lease()->holder, "a");
    EXPECT_EQ(server_.lease()->seconds, 15);
    EXPECT_EQ(server_.lease()->transitions, 0);
    EXPECT_EQ(pass(10min), 0U);
    EXPECT_EQ(server_.lease()->transitions, 0);
}

TEST_F(ElectionTest, AnotherFollowsOneThatDies) {
    ASSERT_EQ(pass(5s), 0U);
    agents_.erase(agents_.begin());
    EXPECT_EQ(pass(10s), std::nullopt) << "its lease is not over";
    EXPECT_TRUE(pass(9s).has_value());
    EXPECT_EQ(server_.lease()->transitions, 1);
}

TEST_F(ElectionTest, OneThatIsCutOffStopsBeforeAnotherIsElected) {
    ASSERT_EQ(pass(5s), 0U);
    a_.cut_off(true);
    EXPECT_EQ(pass(8s), 0U) << "a renewal may fail";
    EXPECT_EQ(pass(3s), std::nullopt) << "after the deadline it does not count on its election";
    EXPECT_NE(pass(10s).value_or(0), 0U);
    a_.cut_off(false);
    EXPECT_NE(pass(60s).value_or(0), 0U) << "who comes back finds another elected";
}

TEST_F(ElectionTest, ARenewalThatFailsForAWhileChangesNothing) {
    ASSERT_EQ(pass(5s), 0U);
    a_.cut_off(true);
    ASSERT_EQ(pass(7s), 0U);
    a_.cut_off(false);
    EXPECT_EQ(pass(60s), 0U);
    EXPECT_EQ(server_.lease()->transitions, 0);
}

TEST_F(ElectionTest, OneThatGivesUpIsFollowedAtOnce) {
    ASSERT_EQ(pass(5s), 0U);
    const auto record = a_.election().release();
    ASSERT_TRUE(record);
    EXPECT_EQ(record->holder, "");
    EXPECT_EQ(record->transitions, 0);
    ASSERT_TRUE(server_.write({.action = Action::kUpdate, .record = *record}));
    agents_.erase(agents_.begin());
    EXPECT_TRUE(pass(3s).has_value());
    EXPECT_FALSE(a_.election().release().has_value() && b_.election().release().has_value() &&
                 c_.election().release().has_value());
}

TEST_F(ElectionTest, ALeaseThatSomebodyRemovesDoesNotMakeTwo) {
    ASSERT_EQ(pass(5s), 0U);
    a_.cut_off(true);
    server_.remove();
    EXPECT_NE(pass(8s).value_or(0), 1U) << "the elected one counts on its election";
    EXPECT_TRUE(pass(10s).has_value());
}

TEST_F(ElectionTest, TheHoldersClockDoesNotMatter) {
    ASSERT_EQ(pass(1s), 0U);
    agents_ = {&b_};
    for (int i = 0; i < 10; ++i) {
        // Renewed with times of long ago: it is the change that counts.
        auto record = *server_.lease();
        record.renewed = "2001-01-01T00:00:0" + std::to_string(i) + ".000000Z";
        ASSERT_TRUE(server_.write({.action = Action::kUpdate, .record = record}));
        EXPECT_EQ(pass(12s), std::nullopt);
    }
    EXPECT_TRUE(pass(6s).has_value());
}

TEST_F(ElectionTest, WhatALeaseSaysOfItsLengthIsBounded) {
    const auto held_for = [&](int64_t seconds) {
        Server server;
        Agent agent("x", server, 0);
        LeaseRecord record{.holder = "other", .seconds = seconds};
        EXPECT_TRUE(server.write({.action = Action::kCreate, .record = record}));
        const auto begin = now_;
        for (auto now = now_; now < begin + 10min; now += 100ms) {
            agent.run(now);
            if (agent.leading(now)) return std::chrono::duration<double>(now - begin).count();
        }
        return -1.0;
    };
    EXPECT_NEAR(held_for(INT32_MAX), 300, 1);
    EXPECT_NEAR(held_for(0), 15, 1) << "nothing said: as long as one's own";
    EXPECT_NEAR(held_for(3), 3, 1);
}

TEST_F(ElectionTest, OneThatLooksSeldomTakesOverAllTheSame) {
    ASSERT_EQ(pass(1s), 0U);
    Election seldom("seldom", {}, [] { return 0.5; });
    seldom.set_retry(60s);
    int looks = 0;
    const auto look_for = [&](Clock::duration time) {
        for (const auto end = now_ + time; now_ < end; now_ += 100ms) {
            for (Agent* agent : agents_)
                agent->run(now_);
            if (seldom.next().not_before > now_) continue;
            if (seldom.next().action != Action::kLook) return true;
            seldom.looked(now_, server_.lease());
            ++looks;
        }
        return false;
    };
    EXPECT_FALSE(look_for(10min));
    EXPECT_LE(looks, 11);
    agents_.clear();
    EXPECT_TRUE(look_for(2min)) << "the lease did not change between two looks";
}

TEST_F(ElectionTest, AWriteThatIsSlowCountsFromWhenItWasSent) {
    Election election("slow", {}, [] { return 0.5; });
    election.looked(now_, std::nullopt);
    auto record = election.next().record;
    record.resource_version = "1";
    election.written(now_, now_ + 9s, record);
    EXPECT_TRUE(election.leading(now_ + 9s));
    EXPECT_FALSE(election.leading(now_ + 10s));
    EXPECT_LE(election.next().not_before, now_ + 9s) << "it is late to renew";
}

}  // namespace
}  // namespace weir::kube::api
