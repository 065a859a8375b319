// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <set>

#include <rapidcheck.h>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "ipam/pools.h"
#include "support/temp_dir.h"

namespace weir::ipam {
namespace {

using std::chrono::seconds;

AttachmentKey key(int container) {
    return {.container = "c" + std::to_string(container), .ifname = "eth0"};
}

std::vector<IpPrefix> ranges_of(int variant) {
    const std::vector<std::vector<std::string_view>> variants = {
        {"10.0.0.0/28"}, {"10.0.0.0/29", "10.0.1.0/30", "fd00::/124"},
        {"fd00::/64"},   {"10.0.0.0/28", "fd00::/125", "fd01::/127"},  // unusable as a whole
        {"10.0.0.0/27"},
    };
    std::vector<IpPrefix> prefixes;
    for (const auto text : variants[static_cast<size_t>(variant)]) {
        prefixes.push_back(IpPrefix::parse(text).value());
    }
    return prefixes;
}

/// What must be true, said plainly: who has which address.
struct Model {
    std::map<int, std::vector<IpAddress>> live;
    [[nodiscard]] bool holds(const IpAddress& address) const {
        return std::ranges::any_of(live, [&](const auto& entry) {
            return std::ranges::find(entry.second, address) != entry.second.end();
        });
    }
};

/// The pools, their directory and a clock.
struct System {
    test::TempDir dir;
    BootTime now = seconds(100);
    int variant = 1;
    std::unique_ptr<Pools> pools;
    std::map<IpAddress, BootTime> released;

    System() { start({}); }
    void start(const std::vector<Found>& existing) {
        pools = nullptr;
        pools =
            Pools::open({.dir = dir.path(), .rest = {}, .clock = [this] { return now; }}).value();
        RC_ASSERT(pools->set_ranges(ranges_of(variant)).has_value());
        const auto report = pools->reconcile(existing);
        RC_ASSERT(report.has_value());
        RC_ASSERT(report->conflicts.empty());
    }
    void check(const Model& model) const {
        const auto records = pools->list();
        RC_ASSERT(records.size() == model.live.size());
        for (const auto& [container, addresses] : model.live) {
            const auto record = pools->find(key(container));
            RC_ASSERT(record.has_value());
            RC_ASSERT(record->addresses == addresses);
        }
    }
};

void allocate(Model& model, System& system) {
    const int container = *rc::gen::inRange(0, 20);
    Claim claim;
    claim.key = key(container);
    const bool wish = *rc::gen::arbitrary<bool>();
    if (wish) claim.requested.push_back(IpAddress::v4(0x0a000000U + *rc::gen::inRange(0U, 20U)));
    const auto record = system.pools->allocate(claim);
    if (model.live.contains(container)) {
        RC_ASSERT(!record);
        RC_ASSERT(record.error().code() == Errc::kExists);
        return;
    }
    if (!record) {
        const bool exhausted = record.error().code() == Errc::kExhausted;
        RC_ASSERT((exhausted || wish));
        return;
    }
    for (const IpAddress& address : record->addresses) {
        RC_ASSERT(!model.holds(address));
        const auto ranges = ranges_of(system.variant);
        RC_ASSERT(
            std::ranges::any_of(ranges, [&](const IpPrefix& r) { return r.contains(address); }));
        const auto routers = system.pools->routers();
        RC_ASSERT(std::ranges::find(routers, address) == routers.end());
        const auto rested = system.released.find(address);
        const bool asked = std::ranges::find(claim.requested, address) != claim.requested.end();
        const bool had_rest =
            asked || rested == system.released.end() || rested->second + Rest{}.least <= system.now;
        RC_ASSERT(had_rest);
    }
    if (wish)
        RC_ASSERT(std::ranges::find(record->addresses, claim.requested[0]) !=
                  record->addresses.end());
    model.live.emplace(container, record->addresses);
}

void release(Model& model, System& system) {
    const int container = *rc::gen::inRange(0, 20);
    RC_ASSERT(system.pools->release(key(container)).has_value());
    const auto at = model.live.find(container);
    if (at == model.live.end()) return;
    for (const IpAddress& address : at->second)
        system.released[address] = system.now;
    model.live.erase(at);
}

void damage(const System& system, const std::vector<int>& containers) {
    for (const int container : containers) {
        const auto path = system.dir.path() / record_file_name(key(container));
        if (std::filesystem::exists(path)) {
            std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
        }
    }
}

// Some pods vanish and some records are torn while no agent runs.
void restart(Model& model, System& system) {
    const auto vanished = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 20));
    const auto torn = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 20));
    for (const int container : vanished)
        model.live.erase(container);
    system.pools = nullptr;
    damage(system, torn);
    std::vector<Found> existing;
    for (const auto& [container, addresses] : model.live)
        existing.push_back({key(container), addresses});
    system.start(existing);
    system.released.clear();  // a torn record does not remember
}

void change_ranges(System& system) {
    const int variant = *rc::gen::inRange(0, 4);
    const bool done = system.pools->set_ranges(ranges_of(variant)).has_value();
    RC_ASSERT(done == (variant != 3));
    if (done) system.variant = variant;
}

RC_GTEST_PROP(IpamProperty, NeitherDoubleNorLeaked, ()) {
    Model model;
    System system;
    const int steps = *rc::gen::inRange(1, 120);
    for (int i = 0; i < steps; ++i) {
        switch (*rc::gen::weightedElement<int>({{12, 0}, {8, 1}, {1, 2}, {2, 3}, {1, 4}})) {
            case 0:
                allocate(model, system);
                break;
            case 1:
                release(model, system);
                break;
            case 2:
                restart(model, system);
                break;
            case 3:
                system.now += seconds(*rc::gen::inRange(1, 40));
                break;
            default:
                change_ranges(system);
                break;
        }
        system.check(model);
    }
}

// With nothing released, a pool gives exactly its size.
RC_GTEST_PROP(IpamProperty, GivesAllItHas, ()) {
    System system;
    const unsigned length = *rc::gen::inRange(24U, 31U);
    RC_ASSERT(system.pools->set_ranges({IpPrefix::make(IpAddress::v4(0x0a010000), length).value()})
                  .has_value());
    std::set<IpAddress> seen;
    for (int i = 0;; ++i) {
        Claim claim;
        claim.key = key(i);
        const auto record = system.pools->allocate(claim);
        if (!record) break;
        RC_ASSERT(seen.insert(record->addresses.front()).second);
    }
    RC_ASSERT(seen.size() == (1U << (32 - length)) - 3);
}

// No address comes again before the others had their turn.
RC_GTEST_PROP(IpamProperty, ReusesLate, ()) {
    System system;
    system.variant = 4;
    system.start({});
    std::vector<IpAddress> given;
    for (int i = 0; i < 60; ++i) {
        Claim claim;
        claim.key = key(0);
        const IpAddress address = system.pools->allocate(claim).value().addresses.front();
        const auto last = std::find(given.rbegin(), given.rend(), address);
        const bool late = last == given.rend() || last - given.rbegin() == 28;
        RC_ASSERT(late);
        given.push_back(address);
        RC_ASSERT(system.pools->release(claim.key).has_value());
        system.now += seconds(*rc::gen::inRange(2, 20));
        if (*rc::gen::weightedElement<bool>({{1, true}, {9, false}})) system.start({});
    }
}

}  // namespace
}  // namespace weir::ipam
