// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "kube/api/event_note.h"

namespace weir::kube::api {

/// Tokens that come at an even rate, so many of which can be saved up.
class TokenBucket {
  public:
    using Clock = std::chrono::steady_clock;
    TokenBucket(double burst, Clock::duration refill)
        : burst_(burst), refill_(refill), tokens_(burst) {}
    bool take(Clock::time_point now);
    /// Nothing has been taken that has not come back.
    [[nodiscard]] bool full(Clock::time_point now) const;

  private:
    [[nodiscard]] double at(Clock::time_point now) const;

    double burst_;
    Clock::duration refill_;
    double tokens_;
    Clock::time_point updated_{};
};

/// Which Events are to be written, without any I/O ("Writes the agent does"). Notes that are equal
/// are one Event, whose count grows: its name follows from what it says, so that an agent that is
/// elected later, or starts anew, goes on counting in the same one. New Events are limited for each
/// object and over all; what is beyond is counted and forgotten. All of it is bounded.
class EventBook {
  public:
    using Clock = std::chrono::steady_clock;
    using Wall = std::chrono::system_clock;

    static constexpr size_t kMaxEvents = 1000;
    static constexpr double kObjectBurst = 10;
    static constexpr auto kObjectRefill = std::chrono::minutes(1);
    static constexpr double kBurst = 50;
    static constexpr auto kRefill = std::chrono::seconds(1);
    /// Between two writes of one Event.
    static constexpr auto kRefresh = std::chrono::minutes(5);
    /// The server forgets Events after an hour.
    static constexpr auto kForget = std::chrono::hours(1);
    static constexpr unsigned kMaxTries = 12;
    static constexpr size_t kMaxText = 1024;  ///< the API's limit

    void note(EventNote note, Clock::time_point now, Wall::time_point wall);

    struct Write {
        enum class Action : uint8_t { kCreate, kRead, kCount };
        Action action = Action::kCreate;
        std::string name;  ///< of the Event
        EventNote note;
        uint64_t count = 1;  ///< with those of an Event that was there before
        Wall::time_point last{};
    };
    /// What to write now, if anything is due. Changes nothing: one of the following must come.
    [[nodiscard]] std::optional<Write> next(Clock::time_point now) const;
    /// When next() has something to say; nothing: not before the next note.
    [[nodiscard]] std::optional<Clock::time_point> due() const;

    void created(const std::string& name, Clock::time_point now);
    /// An Event of that name is there: its count is to be read.
    void exists(const std::string& name, Clock::time_point now);
    /// It says so often.
    void read(const std::string& name, uint64_t count, Clock::time_point now);
    void counted(const std::string& name, uint64_t count, Clock::time_point now);
    /// The server has forgotten it.
    void missing(const std::string& name, Clock::time_point now);
    /// No answer, or "not now": tried again a few times.
    void failed(const std::string& name, Clock::time_point now);
    /// The server will never take it.
    void refused(const std::string& name);
    /// Another agent writes it.
    void leave(const std::string& name) { entries_.erase(name); }

    [[nodiscard]] const EventCounts& counts() const { return counts_; }

  private:
    struct Entry {
        EventNote note;
        Write::Action action = Write::Action::kCreate;
        uint64_t before = 0;   ///< what the Event counted before our first note
        uint64_t noted = 0;    ///< our notes
        uint64_t written = 0;  ///< of `noted`
        Wall::time_point last{};
        Clock::time_point touched{};
        Clock::time_point not_before{};
        unsigned tries = 0;
        [[nodiscard]] bool pending() const { return noted != written; }
    };
    Entry* find(const std::string& name);
    bool admit(const EventNote& note, Clock::time_point now);
    void forget_old(Clock::time_point now);
    void done(Entry& entry, uint64_t written, Clock::time_point now);

    std::map<std::string, Entry> entries_;          ///< by name
    std::map<std::string, TokenBucket> of_object_;  ///< by uid, or kind and name
    TokenBucket all_{kBurst, kRefill};
    EventCounts counts_;
};

/// "web.4f1c0a98e2b7d356": the same for equal notes, of every agent.
std::string event_name(const EventNote& note);

}  // namespace weir::kube::api
