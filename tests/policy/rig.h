// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <set>

#include "policy/compiler.h"
#include "policy/emulated.h"
#include "policy/reference.h"
#include "policy/world.h"

namespace weir::policy::test {

inline constexpr Capacities kRoomy = {.addrs = 512,
                                      .cidrs = 512,
                                      .slots = 1024,
                                      .rows = 4096,
                                      .cells = 16384,
                                      .rules = 4096,
                                      .sets = 128,
                                      .counters = 1024,
                                      .rows_per_set = 2048,
                                      .cidrs_per_policy = 128};

/// The compiler, the kernel it believes in, and grace periods on their way.
class Rig {
  public:
    explicit Rig(const Capacities& capacities = kRoomy)
        : compiler(capacities), kernel(capacities) {}

    /// Tells the compiler what differs between the worlds.
    void tell(const World& before, const World& after);
    /// Everything that the compiler wants written, with `after` called at each step.
    void flush(const std::function<void()>& after = [] {}) { write(compiler.flush(), after); }
    [[nodiscard]] bool grace_pending() const { return !pending_.empty(); }
    /// The oldest grace period ends.
    void grace(const std::function<void()>& after = [] {});
    void all_graces() {
        while (grace_pending())
            grace();
    }

    /// What the tables answer, in the reference's words; `by` is "closed" for a closed endpoint and
    /// "RACE" if the tables contradict themselves.
    [[nodiscard]] Answer ask(uint32_t endpoint, const Question& question) const;
    /// Accepted, and denied if policies in audit mode were enforced.
    [[nodiscard]] bool audited(uint32_t endpoint, const Question& question) const;

    Compiler compiler;
    Emulated kernel;

  private:
    void write(const model::PolicyTransaction& transaction, const std::function<void()>& after);
    int ask_kernel(uint32_t endpoint, const Question& question, policy_told& told) const;

    std::deque<std::pair<uint64_t, uint64_t>> pending_;  ///< token, moment
};

}  // namespace weir::policy::test
