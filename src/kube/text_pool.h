// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <string_view>
#include <unordered_set>

#include "model/text.h"

namespace weir::kube {

/// Gives equal strings one allocation. Forgets what nobody else holds each time it has doubled, so
/// its size is bounded by twice what is alive. Not thread-safe.
class TextPool {
  public:
    model::Text intern(std::string_view text) {
        if (text.empty()) return {};
        const auto it = texts_.find(text);
        if (it != texts_.end()) return *it;
        if (texts_.size() >= sweep_at_) sweep();
        return *texts_.emplace(text).first;
    }
    [[nodiscard]] size_t size() const { return texts_.size(); }

  private:
    struct Hash {
        using is_transparent = void;
        size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>()(text);
        }
    };
    void sweep() {
        std::erase_if(texts_, [](const model::Text& text) { return text.unique(); });
        sweep_at_ = std::max<size_t>(kMinimum, texts_.size() * 2);
    }

    static constexpr size_t kMinimum = 1024;
    std::unordered_set<model::Text, Hash, std::equal_to<>> texts_;
    size_t sweep_at_ = kMinimum;
};

}  // namespace weir::kube
