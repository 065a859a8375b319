// SPDX-License-Identifier: Apache-2.0
#include "lb/buddy.h"

#include <map>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "lb/slots.h"

namespace weir::lb {
namespace {

TEST(Buddy, OrderHoldsTheCount) {
    EXPECT_EQ(Buddy::order_for(1), 0U);
    EXPECT_EQ(Buddy::order_for(2), 1U);
    EXPECT_EQ(Buddy::order_for(3), 2U);
    EXPECT_EQ(Buddy::order_for(4), 2U);
    EXPECT_EQ(Buddy::order_for(5), 3U);
    EXPECT_EQ(Buddy::order_for(kMaxExtent), Buddy::kMaxOrder);
}

TEST(Buddy, UnitZeroIsNeverGivenAway) {
    Buddy buddy(8);
    EXPECT_EQ(buddy.units(), 7U);
    for (int i = 0; i < 7; ++i)
        EXPECT_NE(buddy.allocate(0).value(), 0U);
    EXPECT_FALSE(buddy.allocate(0));
    EXPECT_FALSE(buddy.reserve(0, 0));
}

TEST(Buddy, ReserveTakesExactlyTheBlockOrNothing) {
    Buddy buddy(64);
    EXPECT_TRUE(buddy.reserve(20, 2));
    EXPECT_FALSE(buddy.reserve(20, 2));
    EXPECT_FALSE(buddy.reserve(16, 3));
    EXPECT_FALSE(buddy.reserve(21, 1));
    EXPECT_FALSE(buddy.reserve(64, 0));
    EXPECT_TRUE(buddy.reserve(16, 2));
    EXPECT_EQ(buddy.free_units(), 63U - 8U);
}

/// Blocks that are out, by their first unit.
using Taken = std::map<uint32_t, unsigned>;

void check(const Buddy& buddy, const Taken& taken) {
    std::map<uint32_t, uint32_t> all;  // first -> size, taken and free
    uint32_t free_units = 0;
    for (const auto& [first, order] : taken)
        all[first] = 1U << order;
    for (unsigned order = 0; order <= Buddy::kMaxOrder; ++order) {
        for (const uint32_t first : buddy.free_blocks(order)) {
            RC_ASSERT(first % (1U << order) == 0U);
            RC_ASSERT(all.emplace(first, 1U << order).second);
            free_units += 1U << order;
            // Two free halves of one block are one block.
            RC_ASSERT(order == Buddy::kMaxOrder ||
                      !buddy.free_blocks(order).contains(first ^ (1U << order)));
        }
    }
    RC_ASSERT(free_units == buddy.free_units());
    uint32_t next = 1;
    for (const auto& [first, size] : all) {
        RC_ASSERT(first == next);
        next = first + size;
    }
    RC_ASSERT(next == buddy.units() + 1);
}

RC_GTEST_PROP(BuddyProperty, EveryUnitIsInExactlyOneBlock, ()) {
    const auto capacity = static_cast<uint32_t>(*rc::gen::inRange(2, 700));
    Buddy buddy(capacity);
    RC_ASSERT(buddy.units() == capacity - 1);
    Taken taken;
    const int steps = *rc::gen::inRange(1, 60);
    for (int i = 0; i < steps; ++i) {
        const auto order = static_cast<unsigned>(*rc::gen::inRange(0, 7));
        const int what = *rc::gen::inRange(0, 3);
        if (what == 0) {
            if (const auto first = buddy.allocate(order)) {
                RC_ASSERT(*first % (1U << order) == 0U);
                RC_ASSERT(taken.emplace(*first, order).second);
            }
        } else if (what == 1) {
            const auto first = static_cast<uint32_t>(*rc::gen::inRange(0, 700));
            if (buddy.reserve(first, order)) RC_ASSERT(taken.emplace(first, order).second);
        } else if (!taken.empty()) {
            const auto at =
                std::next(taken.begin(), *rc::gen::inRange(0, static_cast<int>(taken.size())));
            buddy.release(at->first, at->second);
            taken.erase(at);
        }
        check(buddy, taken);
    }
    for (const auto& [first, order] : taken)
        buddy.release(first, order);
    check(buddy, {});
    const Buddy fresh(capacity);
    for (unsigned order = 0; order <= Buddy::kMaxOrder; ++order) {
        RC_ASSERT(buddy.free_blocks(order) == fresh.free_blocks(order));
    }
}

weir_slot slot(uint32_t backend, uint32_t tag) {
    weir_slot out{};
    out.backend = backend;
    out.tag = tag;
    return out;
}

TEST(SlotTable, TagsDifferFromThoseOfAdoptedExtents) {
    std::vector<weir_slot> slots(64);
    slots[8] = slot(1, 41);
    slots[9] = slot(2, 41);
    SlotTable table(64);
    ASSERT_TRUE(table.adopt(WEIR_EXTENT(8, 2, 41), slots));
    EXPECT_EQ(table.backends(WEIR_EXTENT(8, 2, 41)).size(), 2U);
    const uint32_t ids[] = {3};
    EXPECT_EQ(WEIR_EXTENT_TAG(table.place(ids).value()), 42U);
    EXPECT_FALSE(table.adopt(WEIR_EXTENT(9, 1, 41), slots));
    EXPECT_FALSE(table.adopt(WEIR_EXTENT(63, 2, 41), slots));
}

TEST(SlotTable, TagsWrapPastZero) {
    std::vector<weir_slot> slots(64);
    const uint32_t last = (1U << WEIR_EXTENT_TAG_BITS) - 1;
    slots[8] = slot(1, last);
    SlotTable table(64);
    ASSERT_TRUE(table.adopt(WEIR_EXTENT(8, 1, last), slots));
    const uint32_t ids[] = {3};
    EXPECT_EQ(WEIR_EXTENT_TAG(table.place(ids).value()), 1U);
}

TEST(SlotTable, NoBackendsNeedNoRoom) {
    SlotTable table(2);
    EXPECT_EQ(table.place({}), uint64_t{0});
    EXPECT_EQ(table.used(), 0U);
    table.release(0);
}

}  // namespace
}  // namespace weir::lb
