// SPDX-License-Identifier: Apache-2.0
#include "lb/id_index.h"

#include <set>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace weir::lb {
namespace {

RC_GTEST_PROP(IdIndexProperty, IsASet, (const std::vector<std::pair<bool, uint8_t>>& steps)) {
    IdIndex index;
    std::set<uint32_t> model;
    const auto hash = [](uint32_t id) { return uint64_t{id} / 7; };  // many meet in one cell
    for (const auto& [insert, number] : steps) {
        const uint32_t id = uint32_t{number} + 1;
        if (insert && model.insert(id).second) index.insert(id, hash);
        if (!insert) {
            model.erase(id);
            index.erase(id, hash);
        }
        RC_ASSERT(index.size() == model.size());
        for (uint32_t wanted = 1; wanted <= 256; ++wanted) {
            const uint32_t found =
                index.find(hash(wanted), [&](uint32_t other) { return other == wanted; });
            RC_ASSERT(found == (model.contains(wanted) ? wanted : 0));
        }
    }
}

}  // namespace
}  // namespace weir::lb
