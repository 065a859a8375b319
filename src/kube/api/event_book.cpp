// SPDX-License-Identifier: Apache-2.0
#include "kube/api/event_book.h"

#include <algorithm>

#include <fmt/format.h>

namespace weir::kube::api {
namespace {

using namespace std::chrono_literals;

/// An object's name takes at most that much of its Event's.
constexpr size_t kMaxStem = 200;
constexpr std::chrono::seconds kFirstRetry = 2s;
constexpr std::chrono::seconds kMaxRetry = 60s;

/// FNV-1a: the same in every build.
uint64_t digest(std::initializer_list<std::string_view> parts) {
    uint64_t hash = 0xcbf29ce484222325;
    for (const std::string_view part : parts) {
        for (const char c : part)
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        hash = (hash ^ 0xff) * 0x100000001b3;  // no byte of a text
    }
    return hash;
}

/// Cut between two characters.
void cut(std::string& text, size_t limit) {
    if (text.size() <= limit) return;
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80)
        --limit;
    text.resize(limit);
}

std::string object_of(const EventNote& note) {
    const auto& object = note.regarding;
    return fmt::format("{} {}/{} {}", object.kind, object.ns, object.name, object.uid);
}

}  // namespace

std::string event_name(const EventNote& note) {
    const auto& object = note.regarding;
    std::string stem = object.name.substr(0, kMaxStem);
    while (!stem.empty() && std::isalnum(static_cast<unsigned char>(stem.back())) == 0)
        stem.pop_back();
    return fmt::format(
        "{}.{:016x}", stem,
        digest({object.kind, object.uid, note.reason, note.text, note.warning ? "W" : "N"}));
}

double TokenBucket::at(Clock::time_point now) const {
    const std::chrono::duration<double> passed = now - updated_;
    const std::chrono::duration<double> refill = refill_;
    return std::min(burst_, tokens_ + passed / refill);
}

bool TokenBucket::take(Clock::time_point now) {
    tokens_ = at(now);
    updated_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
}

bool TokenBucket::full(Clock::time_point now) const {
    return at(now) >= burst_;
}

EventBook::Entry* EventBook::find(const std::string& name) {
    const auto it = entries_.find(name);
    return it == entries_.end() ? nullptr : &it->second;
}

void EventBook::forget_old(Clock::time_point now) {
    std::erase_if(entries_, [&](const auto& entry) {
        return !entry.second.pending() && now - entry.second.touched > kForget;
    });
    std::erase_if(of_object_, [&](const auto& entry) { return entry.second.full(now); });
}

bool EventBook::admit(const EventNote& note, Clock::time_point now) {
    if (entries_.size() >= kMaxEvents || of_object_.size() >= kMaxEvents) forget_old(now);
    if (entries_.size() >= kMaxEvents) return false;
    auto bucket = of_object_.find(object_of(note));
    if (bucket == of_object_.end()) {
        if (of_object_.size() >= kMaxEvents) return false;
        bucket =
            of_object_.emplace(object_of(note), TokenBucket(kObjectBurst, kObjectRefill)).first;
    }
    return bucket->second.take(now) && all_.take(now);
}

void EventBook::note(EventNote note, Clock::time_point now, Wall::time_point wall) {
    cut(note.text, kMaxText);
    std::string name = event_name(note);
    Entry* entry = find(name);
    if (entry != nullptr && !entry->pending() && now - entry->touched > kForget) {
        entries_.erase(name);
        entry = nullptr;
    }
    if (entry == nullptr) {
        if (!admit(note, now)) {
            ++counts_.suppressed;
            return;
        }
        entry = &entries_[std::move(name)];
        entry->not_before = now;
    }
    entry->note = std::move(note);
    ++entry->noted;
    entry->last = wall;
    entry->touched = now;
}

std::optional<EventBook::Clock::time_point> EventBook::due() const {
    std::optional<Clock::time_point> first;
    for (const auto& [name, entry] : entries_) {
        if (!entry.pending()) continue;
        if (!first || entry.not_before < *first) first = entry.not_before;
    }
    return first;
}

std::optional<EventBook::Write> EventBook::next(Clock::time_point now) const {
    const std::pair<const std::string, Entry>* first = nullptr;
    for (const auto& entry : entries_) {
        if (!entry.second.pending() || entry.second.not_before > now) continue;
        if (first == nullptr || entry.second.not_before < first->second.not_before) first = &entry;
    }
    if (first == nullptr) return std::nullopt;
    const Entry& entry = first->second;
    return Write{.action = entry.action,
                 .name = first->first,
                 .note = entry.note,
                 .count = entry.before + entry.noted,
                 .last = entry.last};
}

void EventBook::done(Entry& entry, uint64_t written, Clock::time_point now) {
    entry.written = std::min(written, entry.noted);
    entry.tries = 0;
    entry.action = Write::Action::kCount;
    entry.not_before = now + kRefresh;
}

/// What a new Event says is one occurrence; others follow as its count.
void EventBook::created(const std::string& name, Clock::time_point now) {
    Entry* const entry = find(name);
    if (entry == nullptr) return;
    done(*entry, 1, now);
    ++counts_.created;
}

void EventBook::exists(const std::string& name, Clock::time_point now) {
    Entry* const entry = find(name);
    if (entry == nullptr) return;
    entry->action = Write::Action::kRead;
    entry->not_before = now;
}

void EventBook::read(const std::string& name, uint64_t count, Clock::time_point now) {
    Entry* const entry = find(name);
    if (entry == nullptr) return;
    entry->before = count;
    entry->action = Write::Action::kCount;
    entry->not_before = now;
}

void EventBook::counted(const std::string& name, uint64_t count, Clock::time_point now) {
    Entry* const entry = find(name);
    if (entry == nullptr) return;
    done(*entry, count - std::min(count, entry->before), now);
    ++counts_.repeated;
}

void EventBook::missing(const std::string& name, Clock::time_point now) {
    Entry* const entry = find(name);
    if (entry == nullptr) return;
    entry->action = Write::Action::kCreate;
    entry->before = 0;
    entry->noted -= entry->written;
    entry->written = 0;
    entry->not_before = now;
}

void EventBook::failed(const std::string& name, Clock::time_point now) {
    Entry* const entry = find(name);
    if (entry == nullptr) return;
    if (++entry->tries >= kMaxTries) return refused(name);
    auto delay = kFirstRetry;
    for (unsigned i = 1; i < entry->tries && delay < kMaxRetry; ++i)
        delay *= 2;
    entry->not_before = now + std::min(delay, kMaxRetry);
}

void EventBook::refused(const std::string& name) {
    if (entries_.erase(name) > 0) ++counts_.failed;
}

}  // namespace weir::kube::api
