// SPDX-License-Identifier: Apache-2.0
#include "policy/pools.h"

namespace weir::policy {
namespace {

uint64_t hash_of(const Cells& cells) {
    uint64_t hash =
        cells.counts[0] ^ (uint64_t{cells.counts[1]} << 20) ^ (uint64_t{cells.counts[2]} << 40);
    for (const uint64_t word : cells.words) {
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 29;
    }
    return hash;
}

}  // namespace

RangePool::RangePool(uint32_t capacity) : capacity_(capacity) {
    if (capacity > 1) add_gap(1, capacity - 1);
}

void RangePool::add_gap(uint32_t first, uint32_t length) {
    gaps_.emplace(first, length);
    by_length_.emplace(length, first);
}

void RangePool::drop_gap(std::map<uint32_t, uint32_t>::iterator gap) {
    by_length_.erase({gap->second, gap->first});
    gaps_.erase(gap);
}

uint32_t RangePool::allocate(uint32_t length) {
    const auto fit = by_length_.lower_bound({length, 0});
    if (length == 0 || fit == by_length_.end()) return 0;
    const auto [room, first] = *fit;
    drop_gap(gaps_.find(first));
    if (room > length) add_gap(first + length, room - length);
    used_ += length;
    return first;
}

void RangePool::release(uint32_t first, uint32_t length) {
    used_ -= length;
    const auto after = gaps_.lower_bound(first);
    if (after != gaps_.end() && first + length == after->first) {
        length += after->second;
        drop_gap(after);
    }
    const auto next = gaps_.lower_bound(first);
    if (next != gaps_.begin()) {
        const auto before = std::prev(next);
        if (before->first + before->second == first) {
            first = before->first;
            length += before->second;
            drop_gap(before);
        }
    }
    add_gap(first, length);
}

uint32_t CellPool::acquire(const Cells& cells, std::vector<model::PolicyWrite>& writes) {
    const uint64_t hash = hash_of(cells);
    const auto [begin, end] = by_content_.equal_range(hash);
    for (auto it = begin; it != end; ++it) {
        Block& block = blocks_.at(it->second);
        if (block.cells != cells) continue;
        ++block.references;
        return it->second;
    }
    for (const uint32_t count : cells.counts) {
        if (count > 0xffff) return 0;
    }
    const uint32_t first = ranges_.allocate(static_cast<uint32_t>(cells.words.size()));
    if (first == 0) return 0;
    blocks_.emplace(first, Block{.cells = cells, .references = 1, .hash = hash});
    by_content_.emplace(hash, first);
    writes.emplace_back(model::PolicyCellsPut{.first = first, .words = cells.words});
    return first;
}

void CellPool::release(uint32_t first) {
    const auto it = blocks_.find(first);
    if (it == blocks_.end() || --it->second.references > 0) return;
    const auto [begin, end] = by_content_.equal_range(it->second.hash);
    for (auto entry = begin; entry != end; ++entry) {
        if (entry->second != first) continue;
        by_content_.erase(entry);
        break;
    }
    ranges_.release(first, static_cast<uint32_t>(it->second.cells.words.size()));
    blocks_.erase(it);
}

weir_policy_row CellPool::row(uint32_t block) const {
    const Cells& cells = blocks_.at(block).cells;
    weir_policy_row row{.first = block};
    for (size_t i = 0; i < cells.counts.size(); ++i)
        row.cells[i] = static_cast<uint16_t>(cells.counts[i]);
    return row;
}

}  // namespace weir::policy
