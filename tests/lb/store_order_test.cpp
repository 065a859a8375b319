// SPDX-License-Identifier: Apache-2.0
#include "lb/store_order.h"

#include <cstring>

#include <gtest/gtest.h>

namespace weir::lb {
namespace {

constexpr uint64_t kNone = 0;
constexpr uint64_t kA = WEIR_EXTENT(1, 2, 3);
constexpr uint64_t kB = WEIR_EXTENT(8, 3, 4);
constexpr uint32_t kAny = WEIR_SVC_ANY_ENDPOINT;

weir_service entry(uint64_t cluster, uint64_t local, uint32_t flags) {
    return {.extent = {cluster, local}, .flags = flags | WEIR_SVC_IN_USE};
}

std::vector<unsigned> words(const std::vector<WordStore>& stores) {
    std::vector<unsigned> out;
    for (const WordStore& store : stores)
        out.push_back(store.word);
    return out;
}

using Words = std::vector<unsigned>;

TEST(StoreOrder, EndsWithTheNewEntry) {
    weir_service before = entry(kA, kB, kAny);
    weir_service after = entry(kB, kNone, WEIR_SVC_AFFINITY | WEIR_SVC_INTERNAL_LOCAL);
    after.affinity_seconds = 5;
    after.port = 7;
    for (const auto& [word, value] : order_stores(before, after, true)) {
        std::memcpy(reinterpret_cast<char*>(&before) + size_t{word} * 8, &value, 8);
    }
    EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0);
}

TEST(StoreOrder, OneChangedExtentIsOneStore) {
    EXPECT_EQ(words(order_stores(entry(kA, kNone, kAny), entry(kB, kNone, kAny), true)), Words{0});
    EXPECT_TRUE(order_stores(entry(kA, kB, kAny), entry(kA, kB, kAny), true).empty());
}

TEST(StoreOrder, TheFirstEndpointsComeBeforeTheFlagThatTheyExist) {
    // An empty Service refuses; with the flag first it would drop for a moment.
    EXPECT_EQ(words(order_stores(entry(kNone, kNone, 0), entry(kA, kNone, kAny), true)),
              (Words{0, 2}));
}

TEST(StoreOrder, TheFlagGoesBeforeTheLastEndpoints) {
    EXPECT_EQ(words(order_stores(entry(kA, kNone, kAny), entry(kNone, kNone, 0), true)),
              (Words{2, 0}));
}

TEST(StoreOrder, AListIsThereBeforeThePolicyThatReadsItAndGoesAfterIt) {
    EXPECT_EQ(words(order_stores(entry(kA, kNone, kAny),
                                 entry(kNone, kB, kAny | WEIR_SVC_INTERNAL_LOCAL), false)),
              (Words{1, 2, 0}));
}

TEST(StoreOrder, AffinityHasItsSecondsWheneverItIsOn) {
    weir_service off = entry(kA, kNone, kAny);
    weir_service on = entry(kA, kNone, kAny | WEIR_SVC_AFFINITY);
    on.affinity_seconds = 10;
    EXPECT_EQ(words(order_stores(off, on, false)), (Words{3, 2}));
    EXPECT_EQ(words(order_stores(on, off, false)), (Words{2, 3}));
}

}  // namespace
}  // namespace weir::lb
