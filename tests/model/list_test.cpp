// SPDX-License-Identifier: Apache-2.0
#include "model/list.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "model/text.h"

namespace weir::model {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(List, IsOnePointerAndTheEmptyOneHasNoAllocation) {
    static_assert(sizeof(List<Text>) == sizeof(void*));
    const List<Text> empty;
    EXPECT_THAT(empty, IsEmpty());
    EXPECT_EQ(empty.capacity(), 0U);
    EXPECT_EQ(empty.begin(), empty.end());
}

TEST(List, CopiesHoldWhatIsThereAndNoMore) {
    List<Text> list;
    for (const char* item : {"a", "b", "c"})
        list.push_back(item);
    EXPECT_EQ(list.capacity(), 4U);
    const List<Text> copy = list;
    EXPECT_EQ(copy.capacity(), 3U);
    EXPECT_EQ(copy, list);
    list[0] = "z";
    EXPECT_THAT(copy, ElementsAre("a", "b", "c"));
}

TEST(List, AnItemOfTheListItselfMayBeAdded) {
    List<std::string> list = {std::string(40, 'x')};
    for (int i = 0; i < 5; ++i)
        list.push_back(list.front());
    EXPECT_EQ(list, List<std::string>(std::vector<std::string>(6, std::string(40, 'x'))));
}

TEST(List, MovingLeavesTheOtherEmpty) {
    List<Text> from = {"a", "b"};
    List<Text> to = {"c"};
    to = std::move(from);
    EXPECT_THAT(to, ElementsAre("a", "b"));
    EXPECT_THAT(from, IsEmpty());  // NOLINT(bugprone-use-after-move)
}

/// Whatever is done to it, it holds what a std::vector would.
RC_GTEST_PROP(ListProperty, DoesAsAVectorDoes, ()) {
    List<std::string> list;
    std::vector<std::string> model;
    const auto steps = *rc::gen::inRange(0, 60);
    for (int i = 0; i < steps; ++i) {
        const auto at = *rc::gen::inRange<size_t>(0, model.size() + 1);
        const auto item = *rc::gen::arbitrary<std::string>();
        switch (*rc::gen::inRange(0, 5)) {
            case 0:
                RC_ASSERT(*list.insert(list.begin() + at, item) == item);
                model.insert(model.begin() + static_cast<std::ptrdiff_t>(at), item);
                break;
            case 1:
                if (at == model.size()) break;
                list.erase(list.begin() + at);
                model.erase(model.begin() + static_cast<std::ptrdiff_t>(at));
                break;
            case 2:
                list.reserve(at);
                RC_ASSERT(list.capacity() >= at);
                break;
            case 3:
                list = List<std::string>(list.begin(), list.end());
                break;
            default:
                list.push_back(item);
                model.push_back(item);
        }
        RC_ASSERT(std::vector<std::string>(list.begin(), list.end()) == model);
    }
}

}  // namespace
}  // namespace weir::model
