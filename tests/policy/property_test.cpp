// SPDX-License-Identifier: Apache-2.0
// Random clusters, edited at random: the tables, read by the datapath's own lookup, against the
// reference; an incrementally kept compiler against a fresh one; every single write against both
// its neighbours. Each case asks hundreds of questions; RC_PARAMS="max_success=..." runs more of
// them.
#include <cstdlib>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "policy/random_world.h"
#include "policy/rig.h"

namespace weir::policy::test {
namespace {

/// A case is small and names its seed: no time is spent on making it smaller.
[[maybe_unused]] const int kDefaults = ::setenv("RC_PARAMS", "max_success=1000 noshrink=1", 0);

constexpr int kSteps = 5;
constexpr int kQuestions = 24;

std::string show(const Answer& answer) {
    return fmt::format("{} by {} [{}]", answer.allowed ? "allowed" : "denied", answer.by,
                       answer.rule);
}

std::string show(const Question& q) {
    return fmt::format("{} {} {}{} proto {} port {}", q.pod.to_string(), q.egress ? "->" : "<-",
                       q.peer.to_string(), q.self ? " (itself)" : "", q.protocol, q.port);
}

std::string show(const std::vector<TableUse>& usage) {
    std::string out;
    for (const TableUse& use : usage)
        out += fmt::format("{} {}, ", use.table, use.used);
    return out;
}

struct Asked {
    uint32_t endpoint;
    Question question;
};

std::vector<Asked> questions(const World& world, int count) {
    std::vector<Asked> out;
    for (const auto& [id, local] : world.local) {
        if (!world.pods.contains(local.pod)) continue;
        for (int i = 0; i < count; ++i)
            out.push_back({id, random_question(world, id)});
    }
    return out;
}

/// Of several owners only the verdict is told apart: which of their rules is named is a choice.
void compare(const World& world, const Rig& rig, const std::vector<Asked>& asked) {
    for (const auto& [endpoint, q] : asked) {
        const Answer want = judge(world, q);
        const Answer got = rig.ask(endpoint, q);
        if (want.allowed != got.allowed) RC_FAIL(show(q) + ": " + show(want) + " / " + show(got));
        RC_ASSERT(got.by != "RACE");
        if (rig.audited(endpoint, q) != would_deny(world, q)) RC_FAIL("audit: " + show(q));
    }
}

RC_GTEST_PROP(PolicyProperty, TablesAnswerAsTheApiSays, ()) {
    Rig rig;
    World world = random_world();
    rig.tell({}, world);
    rig.flush();
    compare(world, rig, questions(world, 2 * kQuestions));
    for (int step = 0; step < kSteps; ++step) {
        const World before = world;
        for (int edits = 1 + below(3); edits > 0; --edits)
            one_in(2) ? edit_policy(world) : edit_cluster(world);
        rig.tell(before, world);
        rig.flush();
        compare(world, rig, questions(world, kQuestions));
        while (rig.grace_pending() && !one_in(3))
            rig.grace();
        compare(world, rig, questions(world, kQuestions / 2));
    }
}

RC_GTEST_PROP(PolicyProperty, TheDecidingRuleIsTheReferences, ()) {
    Rig rig;
    const World world = random_world();
    rig.tell({}, world);
    rig.flush();
    for (const auto& [endpoint, q] : questions(world, 2 * kQuestions)) {
        int owners = 0;
        for (const auto& [name, pod] : world.pods)
            owners += std::ranges::find(pod.ips, q.peer) != pod.ips.end() ? 1 : 0;
        if (owners > 1) continue;
        const Answer want = judge(world, q);
        const Answer got = rig.ask(endpoint, q);
        if (show(want) != show(got)) RC_FAIL(show(q) + ": " + show(want) + " / " + show(got));
    }
}

RC_GTEST_PROP(PolicyProperty, IncrementsEndWhereAFreshStartDoes, ()) {
    Rig rig;
    World world = random_world();
    rig.tell({}, world);
    rig.flush();
    for (int step = 0; step < kSteps; ++step) {
        const World before = world;
        one_in(2) ? edit_policy(world) : edit_cluster(world);
        rig.tell(before, world);
        rig.flush();
        rig.all_graces();
        Rig fresh;
        fresh.tell({}, world);
        fresh.flush();
        fresh.all_graces();
        for (const auto& [endpoint, q] : questions(world, kQuestions))
            RC_ASSERT(show(rig.ask(endpoint, q)) == show(fresh.ask(endpoint, q)));
        RC_ASSERT(rig.kernel.rows() == fresh.kernel.rows());
        RC_ASSERT(rig.kernel.addresses() == fresh.kernel.addresses());
        RC_ASSERT(show(rig.compiler.usage()) == show(fresh.compiler.usage()));
    }
}

RC_GTEST_PROP(PolicyProperty, EveryWriteLeavesTheOldAnswerOrTheNew, ()) {
    Rig rig;
    World world = random_world();
    rig.tell({}, world);
    rig.flush();
    for (int step = 0; step < kSteps; ++step) {
        const World before = world;
        edit_policy(world);
        const auto asked = questions(world, kQuestions / 3);
        const auto check = [&] {
            for (const auto& [endpoint, q] : asked) {
                const Answer now = rig.ask(endpoint, q);
                const Answer old = judge(before, q);
                const Answer next = judge(world, q);
                if (now.allowed != old.allowed && now.allowed != next.allowed)
                    RC_FAIL(show(q) + ": " + show(old) + " or " + show(next) + " / " + show(now));
            }
        };
        rig.tell(before, world);
        rig.flush(check);
        while (rig.grace_pending()) {
            rig.grace([&] {
                for (const auto& [endpoint, q] : asked)
                    RC_ASSERT(rig.ask(endpoint, q).allowed == judge(world, q).allowed);
            });
        }
    }
}

/// What does not fit closes whom it concerns: nobody is ever let through who should not be, and who
/// is not closed is judged exactly.
RC_GTEST_PROP(PolicyProperty, OverflowFailsClosed, ()) {
    Capacities small = kRoomy;
    small.addrs = static_cast<uint32_t>(1 + below(6));
    small.cidrs = static_cast<uint32_t>(1 + below(6));
    small.rows = static_cast<uint32_t>(1 + below(20));
    small.cells = static_cast<uint32_t>(20 + below(120));
    small.rules = static_cast<uint32_t>(8 + below(30));
    small.sets = static_cast<uint32_t>(3 + below(3));
    Rig rig(small);
    World world;
    for (int step = 0; step < kSteps; ++step) {
        const World before = world;
        if (step == 0) {
            world = random_world();
        } else {
            one_in(2) ? edit_policy(world) : edit_cluster(world);
        }
        rig.tell(before, world);
        rig.flush();
        for (const auto& [endpoint, q] : questions(world, kQuestions)) {
            const Answer got = rig.ask(endpoint, q);
            if (got.by == "closed") {
                RC_ASSERT(!got.allowed);
                RC_ASSERT(!rig.compiler.problems().empty());
                continue;
            }
            const Answer want = judge(world, q);
            if (want.allowed != got.allowed)
                RC_FAIL(show(q) + ": " + show(want) + " / " + show(got));
        }
        if (one_in(2)) rig.all_graces();
    }
}

}  // namespace
}  // namespace weir::policy::test
