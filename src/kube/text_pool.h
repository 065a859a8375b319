// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "model/text.h"

namespace weir::kube {

/// Gives equal strings one allocation. Forgets what nobody else holds each time it has doubled, so
/// its size is bounded by twice what is alive. Eight bytes a cell, open addressing, at most three
/// quarters full. Not thread-safe.
class TextPool {
  public:
    model::Text intern(std::string_view text) {
        if (text.empty()) return {};
        if ((size_ + 1) * 4 > cells_.size() * 3) rehash();
        model::Text& cell = cell_of(text);
        if (cell.empty()) {
            cell = model::Text(text);
            ++size_;
        }
        return cell;
    }
    [[nodiscard]] size_t size() const { return size_; }

  private:
    /// The cell that holds the text, or the free one where it belongs.
    model::Text& cell_of(std::string_view text) {
        const size_t mask = cells_.size() - 1;
        size_t at = std::hash<std::string_view>()(text) & mask;
        while (!cells_[at].empty() && cells_[at] != text)
            at = (at + 1) & mask;
        return cells_[at];
    }
    void rehash() {
        auto old = std::exchange(cells_, {});
        std::erase_if(old, [](const model::Text& text) { return text.unique(); });
        size_t capacity = kMinimum;
        while (capacity < old.size() * 2)
            capacity *= 2;
        cells_.resize(capacity);
        size_ = old.size();
        for (model::Text& text : old)
            cell_of(text) = std::move(text);
    }

    static constexpr size_t kMinimum = 1024;
    std::vector<model::Text> cells_;  ///< a power of two of them; empty: free
    size_t size_ = 0;
};

}  // namespace weir::kube
