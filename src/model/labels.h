// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "model/list.h"
#include "model/text.h"

namespace weir::model {

/// Labels or annotations: a map from key to value, held as one sorted list (16 bytes an entry).
class Labels {
  public:
    using value_type = std::pair<Text, Text>;
    using const_iterator = List<value_type>::const_iterator;

    Labels() = default;
    /// Of equal keys the first one stays.
    Labels(std::initializer_list<value_type> entries) {
        for (const auto& [key, value] : entries)
            emplace(key, value);
    }

    [[nodiscard]] const_iterator begin() const { return entries_.begin(); }
    [[nodiscard]] const_iterator end() const { return entries_.end(); }
    [[nodiscard]] size_t size() const { return entries_.size(); }
    [[nodiscard]] bool empty() const { return entries_.empty(); }

    [[nodiscard]] const_iterator find(std::string_view key) const {
        const auto it = position(key);
        return it != end() && it->first == key ? it : end();
    }
    [[nodiscard]] bool contains(std::string_view key) const { return find(key) != end(); }
    [[nodiscard]] size_t count(std::string_view key) const { return contains(key) ? 1 : 0; }
    /// The value of `key`; "" if there is none.
    [[nodiscard]] std::string_view get(std::string_view key) const {
        const auto it = find(key);
        return it == end() ? std::string_view() : it->second.view();
    }

    /// Adds the entry unless the key is there already.
    std::pair<const_iterator, bool> emplace(Text key, Text value) {
        const auto it = position(key);
        if (it != end() && it->first == key) return {it, false};
        return {entries_.insert(it, {std::move(key), std::move(value)}), true};
    }
    Text& operator[](const Text& key) {
        const auto index = emplace(key, Text()).first - begin();
        return entries_[static_cast<size_t>(index)].second;
    }
    void insert_or_assign(const Text& key, Text value) { (*this)[key] = std::move(value); }
    size_t erase(std::string_view key) {
        const auto it = find(key);
        if (it == end()) return 0;
        entries_.erase(it);
        return 1;
    }
    void reserve(size_t entries) { entries_.reserve(entries); }

    bool operator==(const Labels&) const = default;

  private:
    [[nodiscard]] const_iterator position(std::string_view key) const {
        return std::lower_bound(
            entries_.begin(), entries_.end(), key,
            [](const value_type& entry, std::string_view wanted) { return entry.first < wanted; });
    }

    List<value_type> entries_;
};

}  // namespace weir::model
