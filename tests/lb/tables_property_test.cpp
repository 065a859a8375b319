// SPDX-License-Identifier: Apache-2.0
// Random worlds of Services and endpoints, edited at random: the tables against the rules, after
// every single write.
#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "lb/build.h"
#include "lb/emulated.h"
#include "lb/planner.h"
#include "lb/reference.h"
#include "lb/tables.h"
#include "lb/world.h"

namespace weir::lb::test {
namespace {

using model::Protocol;
using model::TrafficPolicy;

constexpr Capacities kRoomy = {
    .vips = 256, .services = 64, .slots = 512, .backends = 128, .ranges = 256};

NodeContext context(const World& world) {
    return {.name = world.node, .zone = world.zone, .addresses = world.node_addresses};
}

void plan(const World& world, const std::string& name, Planner& planner, Changes& changes) {
    const auto service = world.services.find(name);
    if (service == world.services.end()) {
        planner.remove({.ns = "shop", .name = name}, changes);
        return;
    }
    std::vector<const model::EndpointSlice*> slices;
    if (const auto it = world.slices.find(name); it != world.slices.end()) {
        for (const auto& slice : it->second)
            slices.push_back(&slice);
    }
    planner.update(service->second, slices, changes);
}

using Answers = std::vector<std::string>;

Answers answers(const std::function<std::string(const Question&)>& ask) {
    Answers out;
    for (const Question& question : all_questions())
        out.push_back(ask(question));
    return out;
}

Answers answers(const World& world) {
    return answers([&](const Question& q) { return expected(world, q.probe); });
}

Answers open_answers(const World& world) {
    return answers([&](const Question& q) { return expected_open(world, q.probe); });
}

Answers answers(const Emulated& kernel) {
    return answers(
        [&](const Question& q) { return kernel.lookup(q.key, q.probe.near, q.probe.client); });
}

/// Do keys move in a circle (a to b, b to a)? Then no order of writes is clean.
bool moves_in_a_circle(const World& before, const World& after) {
    std::map<std::string, std::set<std::string>> moves;
    for (const Question& q : all_questions()) {
        const std::string family = q.probe.address.is_v4() ? "/4" : "/6";
        const std::string from = expected_owner(before, q.probe);
        const std::string to = expected_owner(after, q.probe);
        if (!from.empty() && !to.empty() && from != to) moves[from + family].insert(to + family);
    }
    for (bool shrunk = true; shrunk;) {
        shrunk = false;
        for (auto it = moves.begin(); it != moves.end();) {
            std::erase_if(it->second, [&](const auto& to) { return !moves.contains(to); });
            shrunk = shrunk || it->second.empty();
            it = it->second.empty() ? moves.erase(it) : std::next(it);
        }
    }
    return !moves.empty();
}

/// Does one Service turn both policies in opposite directions?
bool turns_both_policies(const World& before, const World& after) {
    return std::ranges::any_of(after.services, [&](const auto& item) {
        const auto old = before.services.find(item.first);
        return old != before.services.end() &&
               (old->second.internal_policy == TrafficPolicy::kLocal ||
                old->second.external_policy == TrafficPolicy::kLocal) &&
               old->second.internal_policy != item.second.internal_policy;
    });
}

/// The tables, the kernel they believe in, and grace periods on their way.
class Rig {
  public:
    explicit Rig(const Capacities& capacities)
        : kernel(capacities), tables_(std::make_unique<Tables>(capacities)) {}

    /// Writes all, or the first `limit` of it, calling `after` at each step.
    void write(
        const model::LbTransaction& transaction, const std::function<void()>& after = [] {},
        size_t limit = SIZE_MAX) {
        for (const model::LbWrite& write : transaction.writes) {
            if (limit-- == 0) return;
            kernel.write(write);
            after();
        }
        if (transaction.grace != 0) pending_.emplace_back(transaction.grace, kernel.now());
    }

    bool grace_pending() const { return !pending_.empty(); }

    /// The oldest `count` grace periods end, as one.
    void grace(size_t count, const std::function<void()>& after = [] {}) {
        const auto [token, moment] = pending_[count - 1];
        pending_.erase(pending_.begin(), pending_.begin() + static_cast<long>(count));
        kernel.grace(moment);
        write(tables_->grace_elapsed(token), after);
    }
    void all_graces() {
        while (grace_pending())
            grace(pending_.size());
    }

    /// A new process: knows nothing, but the kernel lives on. Readers of old are long done.
    void restart(const Capacities& capacities) {
        tables_ = std::make_unique<Tables>(capacities);
        pending_.clear();
        kernel.grace(kernel.now());
        tables_->adopt(kernel.image());
    }

    Tables& tables() { return *tables_; }
    Emulated kernel;

  private:
    std::unique_ptr<Tables> tables_;
    std::vector<std::pair<model::GraceToken, uint64_t>> pending_;
};

/// What a client meets that source ranges admit before an edit or after it, not both: either of
/// these, too.
struct OpenAnswers {
    Answers before;
    Answers after;
};

const OpenAnswers kClosed;

/// Checks every state between `before` and `after`; all three outlive the check.
std::function<void()> between(const Emulated& kernel, const Answers& before, const Answers& after,
                              bool strict, const OpenAnswers& open = kClosed) {
    return [&kernel, &before, &after, strict, &open] {
        for (size_t i = 0; i < all_questions().size(); ++i) {
            const Question& q = all_questions()[i];
            const std::string now = kernel.lookup(q.key, q.probe.near, q.probe.client);
            if (now == before[i] || now == after[i]) continue;
            const bool changes_sides = (before[i] == "RANGES") != (after[i] == "RANGES");
            if (changes_sides && !open.before.empty() &&
                (now == open.before[i] || now == open.after[i])) {
                continue;
            }
            // Even where no clean order exists, what answers before and after answers meanwhile.
            const bool answered = now != "MISS" && now != "REFUSE" && !now.starts_with("CORRUPT");
            if (!strict && answered) continue;
            RC_FAIL(fmt::format("{} {}: {}\n  before: {}\n  after: {}", describe(q.key),
                                q.probe.near ? "near" : "far", now, before[i], after[i]));
        }
    };
}

void check_final(const World& world, const Emulated& kernel) {
    for (const Question& q : all_questions()) {
        const std::string answer = kernel.lookup(q.key, q.probe.near, q.probe.client);
        if (answer != expected(world, q.probe)) {
            RC_FAIL(fmt::format("{} for {}: {}, not {}", describe(q.key),
                                q.probe.client.to_string(), answer, expected(world, q.probe)));
        }
        RC_ASSERT(kernel.details(q.key) == expected_details(world, q.probe));
    }
}

void remove_everything(Rig& rig, Planner& planner) {
    Changes changes;
    for (const char* name : kServices)
        planner.remove({.ns = "shop", .name = name}, changes);
    rig.write(rig.tables().apply(std::move(changes)));
    rig.all_graces();
    const auto nobody = [](const IpAddress&, uint16_t, Protocol) { return AddressUse::kNobody; };
    for (const uint64_t now : {1000, 1060, 1120}) {
        rig.write(rig.tables().age(now, 60, nobody));
        rig.all_graces();
    }
}

void check_empty(Rig& rig) {
    RC_ASSERT(rig.kernel.vips() == 0U);
    RC_ASSERT(rig.kernel.ranges() == 0U);
    for (const weir_service& service : rig.kernel.services()) {
        RC_ASSERT(service.id == 0U);
        RC_ASSERT(service.flags == 0U);
    }
    for (const TableUse& use : rig.tables().usage())
        RC_ASSERT(use.used == 0U);
    RC_ASSERT(rig.tables().problems().empty());
}

RC_GTEST_PROP(TablesProperty, EveryPrefixOfEveryEditIsOldOrNewAndTheEndIsKubernetes, ()) {
    World world;
    Planner planner(context(world));
    Rig rig(kRoomy);
    const int steps = 1 + below(12);
    int lenient = 0;
    for (int step = 0; step < steps; ++step) {
        const World old = world;
        Changes changes;
        for (const std::string& name : edit(world))
            plan(world, name, planner, changes);
        const Answers before = answers(rig.kernel);
        const Answers after = answers(world);
        const bool strict = !moves_in_a_circle(old, world) && !turns_both_policies(old, world);
        const OpenAnswers open{.before = open_answers(old), .after = open_answers(world)};
        rig.write(rig.tables().apply(std::move(changes)),
                  between(rig.kernel, before, after, strict, open));
        check_final(world, rig.kernel);
        if (one_in(2) && rig.grace_pending()) {
            rig.grace(1, between(rig.kernel, after, after, true));
        }
        if (one_in(4)) {
            const auto use = [](const IpAddress& a, uint16_t, Protocol) {
                return static_cast<AddressUse>(a.low32() % 3);
            };
            rig.write(rig.tables().age(static_cast<uint64_t>(step) * 50, 60, use),
                      between(rig.kernel, after, after, true));
        }
        lenient += strict ? 0 : 1;
    }
    RC_CLASSIFY(lenient == 0, "every step strict");
    remove_everything(rig, planner);
    check_empty(rig);
    for (const weir_backend& backend : rig.kernel.backends()) {
        RC_ASSERT(backend.state == WEIR_BACKEND_FREE);
    }
}

/// What flows cache, by what it stands for.
struct Numbers {
    std::map<uint64_t, uint32_t> services;
    std::map<std::string, uint32_t> backends;
};

Numbers numbers(const Emulated& kernel) {
    Numbers out;
    for (uint32_t i = 1; i < kernel.services().size(); ++i) {
        const uint64_t id = kernel.services()[i].id;
        if (const uint32_t index = kernel.index_of(id); id != 0 && index != 0) {
            out.services[id] = index;
        }
    }
    for (uint32_t i = 1; i < kernel.backends().size(); ++i) {
        const weir_backend& b = kernel.backends()[i];
        if (b.state == WEIR_BACKEND_FREE) continue;
        out.backends.try_emplace(
            fmt::format("{} {} {}", IpAddress(b.addr).to_string(), b.port, b.proto), i);
    }
    return out;
}

void check_kept(const Numbers& before, const Numbers& after) {
    for (const auto& [id, index] : before.services) {
        const auto now = after.services.find(id);
        if (now != after.services.end()) RC_ASSERT(now->second == index);
    }
    for (const auto& [name, id] : before.backends) {
        const auto now = after.backends.find(name);
        RC_ASSERT(now != after.backends.end());
        RC_ASSERT(now->second == id);
    }
}

Changes everything(const World& world, Planner& planner) {
    Changes changes;
    for (const char* name : kServices)
        plan(world, name, planner, changes);
    return changes;
}

RC_GTEST_PROP(TablesProperty, AnAgentThatDiesAnywhereIsTakenOverFrom, ()) {
    World world;
    auto planner = std::make_unique<Planner>(context(world));
    Rig rig(kRoomy);
    const int lives = 1 + below(4);
    for (int life = 0; life < lives; ++life) {
        const int steps = below(4);
        for (int step = 0; step < steps; ++step) {
            Changes changes;
            for (const std::string& name : edit(world))
                plan(world, name, *planner, changes);
            rig.write(rig.tables().apply(std::move(changes)));
            if (one_in(2) && rig.grace_pending()) rig.grace(1);
        }
        // The last edit of this life gets as far as it gets.
        Changes changes;
        for (const std::string& name : edit(world))
            plan(world, name, *planner, changes);
        const auto last = rig.tables().apply(std::move(changes));
        rig.write(
            last, [] {}, static_cast<size_t>(below(static_cast<int>(last.writes.size()) + 1)));

        // The world may have moved on before the next agent has read it.
        if (one_in(2)) edit(world);
        const Numbers kept = numbers(rig.kernel);
        const Answers before = answers(rig.kernel);
        const Answers after = answers(world);
        planner = std::make_unique<Planner>(context(world));
        rig.restart(kRoomy);
        const auto check = between(rig.kernel, before, after, false);
        rig.write(rig.tables().apply(everything(world, *planner)), check);
        rig.write(rig.tables().finish_adoption(), check);
        check_final(world, rig.kernel);
        check_kept(kept, numbers(rig.kernel));
        rig.all_graces();
        check_final(world, rig.kernel);
        // Nothing is left to do: the same again writes nothing.
        RC_ASSERT(rig.tables().apply(everything(world, *planner)).writes.empty());
    }
    remove_everything(rig, *planner);
    check_empty(rig);
}

void damage(Emulated& kernel) {
    const auto word = [] { return static_cast<uint32_t>(below(1 << 20)); };
    for (int i = below(6); i > 0; --i) {
        switch (below(7)) {
            case 0:
                kernel.slots()[1 + word() % 40].tag = word();
                break;
            case 1:
                kernel.slots()[1 + word() % 40].backend = word() % 200;
                break;
            case 2:
                kernel.services()[1 + word() % 8].extent[word() % 2] =
                    WEIR_EXTENT(word() % 600, word() % 20, word() % 30);
                break;
            case 3:
                kernel.services()[1 + word() % 8].id = word();
                break;
            case 4:
                kernel.backends()[1 + word() % 10].state = static_cast<uint8_t>(word() % 7);
                break;
            case 5:
                kernel.slots()[1 + word() % 40].addr.w[3] = word();
                break;
            default:
                kernel.services()[1 + word() % 8].flags = word();
        }
    }
}

RC_GTEST_PROP(TablesProperty, TablesThatContradictThemselvesAreMended, ()) {
    World world;
    Rig rig(kRoomy);
    {
        Planner planner(context(world));
        for (int step = 0; step < 4; ++step) {
            Changes changes;
            for (const std::string& name : edit(world))
                plan(world, name, planner, changes);
            rig.write(rig.tables().apply(std::move(changes)));
            rig.all_graces();
        }
    }
    damage(rig.kernel);
    rig.restart(kRoomy);
    Planner planner(context(world));
    // Readers of damaged entries are beyond saving; the tables afterwards are not.
    rig.kernel.forgive();
    rig.write(rig.tables().apply(everything(world, planner)));
    rig.write(rig.tables().finish_adoption());
    check_final(world, rig.kernel);
}

}  // namespace
}  // namespace weir::lb::test
