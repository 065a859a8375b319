// SPDX-License-Identifier: Apache-2.0
#include "kube/selector_index.h"

#include <algorithm>
#include <cassert>

namespace weir::kube {
namespace {

bool satisfied(const model::Labels& selector, const model::Labels& labels) {
    return std::ranges::all_of(selector, [&](const auto& wanted) {
        const auto it = labels.find(wanted.first);
        return it != labels.end() && it->second == wanted.second;
    });
}

}  // namespace

size_t SelectorIndex::PlaceHash::operator()(const Place& place) const {
    const std::hash<model::Text> hash;
    const auto& [ns, key, value] = place;
    constexpr size_t kFactor = 0x9e3779b97f4a7c15ULL;
    return (hash(ns) * kFactor + hash(key)) * kFactor + hash(value);
}

void SelectorIndex::add(const model::ObjectName& owner, model::Labels selector) {
    assert(!selector.empty() && !entries_.contains(owner));
    Place best;
    size_t fewest = SIZE_MAX;
    for (const auto& [key, value] : selector) {
        Place place{owner.ns, key, value};
        const auto it = places_.find(place);
        const size_t others = it == places_.end() ? 0 : it->second.size();
        if (others < fewest) {
            fewest = others;
            best = std::move(place);
        }
    }
    places_[best].push_back(owner);
    entries_.emplace(owner, Entry{std::move(selector), std::move(best)});
}

void SelectorIndex::remove(const model::ObjectName& owner) {
    const auto it = entries_.find(owner);
    if (it == entries_.end()) return;
    const auto place = places_.find(it->second.place);
    std::erase(place->second, owner);
    if (place->second.empty()) places_.erase(place);
    entries_.erase(it);
}

const model::Labels* SelectorIndex::selector_of(const model::ObjectName& owner) const {
    const auto it = entries_.find(owner);
    return it == entries_.end() ? nullptr : &it->second.selector;
}

std::vector<model::ObjectName> SelectorIndex::matching(const model::Text& ns,
                                                       const model::Labels& labels) const {
    std::vector<model::ObjectName> owners;
    for (const auto& [key, value] : labels) {
        const auto place = places_.find({ns, key, value});
        if (place == places_.end()) continue;
        for (const auto& owner : place->second) {
            if (satisfied(entries_.at(owner).selector, labels)) owners.push_back(owner);
        }
    }
    return owners;
}

}  // namespace weir::kube
