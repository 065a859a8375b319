// SPDX-License-Identifier: Apache-2.0
#include "model/labels.h"

#include <map>
#include <string>

#include <rapidcheck.h>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace weir::model {
namespace {

TEST(Labels, FindsWhatWasPutIn) {
    const Labels labels{{"tier", "web"}, {"app", "shop"}};
    EXPECT_EQ(labels.get("app"), "shop");
    EXPECT_EQ(labels.get("tier"), "web");
    EXPECT_EQ(labels.get("none"), "");
    EXPECT_EQ(labels.find("none"), labels.end());
    EXPECT_EQ(labels.begin()->first, "app");
}

TEST(Labels, EqualWhateverTheOrderOfInsertion) {
    EXPECT_EQ((Labels{{"a", "1"}, {"b", "2"}}), (Labels{{"b", "2"}, {"a", "1"}}));
    EXPECT_NE((Labels{{"a", "1"}}), (Labels{{"a", "2"}}));
}

RC_GTEST_PROP(Labels, BehavesAsAMap, (const std::vector<std::pair<uint8_t, uint8_t>>& edits)) {
    std::map<std::string, std::string> model;
    Labels labels;
    for (const auto& [raw_key, value] : edits) {
        const std::string key = std::to_string(raw_key % 16);
        if (value % 4 == 0) {
            RC_ASSERT(labels.erase(key) == model.erase(key));
        } else if (value % 4 == 1) {
            RC_ASSERT(labels.emplace(key, std::to_string(value)).second ==
                      model.emplace(key, std::to_string(value)).second);
        } else {
            labels[key] = std::to_string(value);
            model[key] = std::to_string(value);
        }
    }
    RC_ASSERT(labels.size() == model.size());
    auto it = labels.begin();
    for (const auto& [key, value] : model) {
        RC_ASSERT(it->first == key);
        RC_ASSERT(it->second == value);
        ++it;
    }
}

}  // namespace
}  // namespace weir::model
