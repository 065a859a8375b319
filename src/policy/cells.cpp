// SPDX-License-Identifier: Apache-2.0
#include "policy/cells.h"

#include <algorithm>
#include <set>

namespace weir::policy {
namespace {

constexpr std::array kPorts = {Portion::kTcp, Portion::kUdp, Portion::kSctp};

uint64_t with_port(uint64_t cell, uint32_t port) {
    return (cell & WEIR_POLICY_CELL_EMPTY) | port;
}

/// The rules in force at the port that a sweep has reached.
class Sweep {
  public:
    void enter(const Match& match) { active_[match.tier].insert(match.rule); }
    void leave(const Match& match) {
        auto& rules = active_[match.tier];
        rules.erase(rules.find(match.rule));
    }
    [[nodiscard]] uint64_t cell(uint32_t port) const {
        const auto first = [&](size_t tier) {
            return active_[tier].empty() ? uint16_t{WEIR_POLICY_NO_RULE} : *active_[tier].begin();
        };
        return WEIR_POLICY_CELL(port, first(WEIR_POLICY_ADMIN), first(WEIR_POLICY_NETWORK),
                                first(WEIR_POLICY_BASELINE));
    }

  private:
    std::array<std::multiset<uint16_t>, WEIR_POLICY_TIERS> active_;
};

struct Event {
    uint32_t port;
    bool enters;
    const Match* match;
};

void append(std::vector<uint64_t>& words, size_t start, uint64_t cell) {
    if (words.size() > start && with_port(words.back(), 0) == with_port(cell, 0)) return;
    words.push_back(cell);
}

void sweep(std::span<const Match> matches, Portion portion, std::vector<uint64_t>& words) {
    std::vector<Event> events;
    for (const Match& match : matches) {
        if (match.portion != portion) continue;
        events.push_back({match.first, true, &match});
        events.push_back({uint32_t{match.last} + 1, false, &match});
    }
    if (events.empty()) return;
    std::ranges::sort(events, {}, &Event::port);
    Sweep state;
    const size_t start = words.size();
    if (events.front().port != 0) append(words, start, state.cell(0));
    for (size_t i = 0; i < events.size();) {
        const uint32_t port = events[i].port;
        for (; i < events.size() && events[i].port == port; ++i) {
            events[i].enters ? state.enter(*events[i].match) : state.leave(*events[i].match);
        }
        if (port <= 65535) append(words, start, state.cell(port));
    }
}

uint64_t other_cell(std::span<const Match> matches) {
    Sweep state;
    for (const Match& match : matches) {
        if (match.portion == Portion::kOther) state.enter(match);
    }
    return state.cell(0);
}

/// The cell that holds at a port.
uint64_t at(std::span<const uint64_t> cells, uint32_t port) {
    const auto it = std::ranges::upper_bound(
        cells, port, {}, [](uint64_t cell) { return uint32_t{WEIR_POLICY_CELL_PORT(cell)}; });
    return it == cells.begin() ? WEIR_POLICY_CELL_EMPTY : *std::prev(it);
}

uint64_t picked(std::span<const Cells> several, Portion portion, uint32_t port, const Pick& pick) {
    std::vector<uint64_t> cells;
    for (const Cells& one : several)
        cells.push_back(at(one.portion(portion), port));
    return WEIR_POLICY_CELL(port, pick(cells), WEIR_POLICY_NO_RULE, WEIR_POLICY_NO_RULE);
}

}  // namespace

std::span<const uint64_t> Cells::portion(Portion which) const {
    size_t start = 0;
    const auto index = static_cast<size_t>(which);
    for (size_t i = 0; i < index && i < counts.size(); ++i)
        start += counts[i];
    return std::span(words).subspan(start, index < counts.size() ? counts[index] : 1);
}

bool Cells::empty() const {
    return std::ranges::all_of(
        words, [](uint64_t cell) { return with_port(cell, 0) == WEIR_POLICY_CELL_EMPTY; });
}

Cells build_cells(std::span<const Match> matches) {
    Cells out;
    for (const Portion portion : kPorts) {
        const size_t before = out.words.size();
        sweep(matches, portion, out.words);
        out.counts[static_cast<size_t>(portion)] = static_cast<uint32_t>(out.words.size() - before);
    }
    out.words.push_back(other_cell(matches));
    return out;
}

Cells merge_cells(std::span<const Cells> several, const Pick& pick) {
    Cells out;
    for (const Portion portion : kPorts) {
        std::set<uint32_t> starts;
        for (const Cells& one : several) {
            for (const uint64_t cell : one.portion(portion))
                starts.insert(WEIR_POLICY_CELL_PORT(cell));
        }
        const size_t before = out.words.size();
        for (const uint32_t port : starts)
            append(out.words, before, picked(several, portion, port, pick));
        out.counts[static_cast<size_t>(portion)] = static_cast<uint32_t>(out.words.size() - before);
    }
    out.words.push_back(picked(several, Portion::kOther, 0, pick));
    return out;
}

}  // namespace weir::policy
