// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>
#include <unordered_map>
#include <vector>

#include "model/types.h"

namespace weir::kube {

/// Finds the selectors that match some labels without trying all: each selector is kept under one
/// of its labels, the one that fewest others are kept under, so a lookup tries only those kept
/// under a label that is there.
class SelectorIndex {
  public:
    /// `selector` is not empty; `owner` is not in the index yet.
    void add(const model::ObjectName& owner, model::Labels selector);
    void remove(const model::ObjectName& owner);
    [[nodiscard]] const model::Labels* selector_of(const model::ObjectName& owner) const;
    [[nodiscard]] bool empty() const { return entries_.empty(); }
    /// Owners in the namespace whose selector the labels satisfy, in no certain order.
    [[nodiscard]] std::vector<model::ObjectName> matching(const model::Text& ns,
                                                          const model::Labels& labels) const;

  private:
    using Place = std::tuple<model::Text, model::Text, model::Text>;  ///< namespace, key, value
    struct PlaceHash {
        size_t operator()(const Place& place) const;
    };
    struct Entry {
        model::Labels selector;
        Place place;
    };
    std::unordered_map<model::ObjectName, Entry> entries_;
    std::unordered_map<Place, std::vector<model::ObjectName>, PlaceHash> places_;
};

}  // namespace weir::kube
