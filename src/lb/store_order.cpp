// SPDX-License-Identifier: Apache-2.0
#include "lb/store_order.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

namespace weir::lb {
namespace {

constexpr unsigned kConfigWord = 2;  // flags, algorithm, proto, port
static_assert(offsetof(struct weir_service, flags) == kConfigWord * sizeof(uint64_t));

/// What can change apart from the others: each scope's extent, whether any endpoint is usable, and
/// all else of the config word.
enum Step : uint8_t { kCluster, kLocal, kAny, kPolicy };
using Steps = std::array<Step, 4>;

void take(weir_service& state, const weir_service& from, Step step) {
    switch (step) {
        case kCluster:
            state.extent[WEIR_SCOPE_CLUSTER] = from.extent[WEIR_SCOPE_CLUSTER];
            return;
        case kLocal:
            state.extent[WEIR_SCOPE_LOCAL] = from.extent[WEIR_SCOPE_LOCAL];
            return;
        case kAny:
            state.flags = (state.flags & ~uint32_t{WEIR_SVC_ANY_ENDPOINT}) |
                          (from.flags & WEIR_SVC_ANY_ENDPOINT);
            return;
        case kPolicy:
            state.flags = (from.flags & ~uint32_t{WEIR_SVC_ANY_ENDPOINT}) |
                          (state.flags & WEIR_SVC_ANY_ENDPOINT);
            state.algorithm = from.algorithm;
            state.proto = from.proto;
            state.port = from.port;
            return;
    }
}

/// The verdict of one class of lookup: the extent if it has backends, else refuse or drop.
uint64_t verdict(const weir_service& state, uint32_t local_flag) {
    const auto scope = (state.flags & local_flag) != 0 ? WEIR_SCOPE_LOCAL : WEIR_SCOPE_CLUSTER;
    if (WEIR_EXTENT_COUNT(state.extent[scope]) != 0) return state.extent[scope];
    return (state.flags & WEIR_SVC_ANY_ENDPOINT) != 0 ? 1 : 0;
}

/// How many (class, state) pairs on the way are neither old nor new.
unsigned faults(const weir_service& before, const weir_service& after, const Steps& steps,
                bool external) {
    constexpr std::array<uint32_t, 3> kClasses = {WEIR_SVC_INTERNAL_LOCAL, WEIR_SVC_EXTERNAL_LOCAL,
                                                  0};
    const size_t classes = external ? kClasses.size() : 1;
    unsigned count = 0;
    weir_service state = before;
    for (const Step step : steps) {
        take(state, after, step);
        for (size_t i = 0; i < classes; ++i) {
            const uint64_t now = verdict(state, kClasses[i]);
            if (now != verdict(before, kClasses[i]) && now != verdict(after, kClasses[i])) ++count;
        }
    }
    return count;
}

Steps best_steps(const weir_service& before, const weir_service& after, bool external) {
    Steps steps = {kCluster, kLocal, kAny, kPolicy};
    Steps best = steps;
    unsigned least = faults(before, after, steps, external);
    while (least > 0 && std::ranges::next_permutation(steps).found) {
        const unsigned count = faults(before, after, steps, external);
        if (count >= least) continue;
        least = count;
        best = steps;
    }
    return best;
}

void store_rest(const weir_service& before, const weir_service& after,
                std::vector<WordStore>& stores) {
    for (unsigned word = kConfigWord + 1; word < kServiceWords; ++word) {
        const uint64_t value = service_word(after, word);
        if (value != service_word(before, word)) stores.push_back({.word = word, .value = value});
    }
}

}  // namespace

uint64_t service_word(const weir_service& service, unsigned word) {
    uint64_t value = 0;
    std::memcpy(&value, reinterpret_cast<const char*>(&service) + word * sizeof value,
                sizeof value);
    return value;
}

std::vector<WordStore> order_stores(const weir_service& before, const weir_service& after,
                                    bool external) {
    std::vector<WordStore> stores;
    // Parameters of affinity stand before it is switched on and until it is off.
    const bool rest_first = (after.flags & WEIR_SVC_AFFINITY) != 0;
    if (rest_first) store_rest(before, after, stores);
    weir_service state = before;
    for (const Step step : best_steps(before, after, external)) {
        const weir_service previous = state;
        take(state, after, step);
        for (unsigned word = 0; word <= kConfigWord; ++word) {
            const uint64_t value = service_word(state, word);
            if (value != service_word(previous, word)) {
                stores.push_back({.word = word, .value = value});
            }
        }
    }
    if (!rest_first) store_rest(before, after, stores);
    return stores;
}

}  // namespace weir::lb
