// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "policy/compiler.h"

namespace weir::policy {

uint32_t Compiler::identify(std::vector<Facts> owners, Draft& draft) {
    bool fresh = false;
    const uint32_t identity = identities_.find_or_add(std::move(owners), fresh);
    if (fresh) make_rows(identity, draft);
    return identity;
}

void Compiler::hold(uint32_t identity) {
    if (identity == 0) return;
    Identity& held = identities_.at(identity);
    ++held.holders;
    held.retired = 0;
}

void Compiler::let_go(uint32_t identity, Draft& draft) {
    if (identity == 0) return;
    Identity& left = identities_.at(identity);
    if (--left.holders > 0) return;
    left.retired = last_token_ + 1;
    draft.left.identities.push_back(identity);
}

/// Sets in which an address that was `before` and is `after` now meets other rules.
void Compiler::touch(uint32_t before, uint32_t after, Draft& draft) const {
    if (before == after) return;
    const auto& a = identities_.at(before).rows;
    const auto& b = identities_.at(after).rows;
    auto one = a.begin();
    auto other = b.begin();
    while (one != a.end() || other != b.end()) {
        if (other == b.end() || (one != a.end() && one->set < other->set)) {
            draft.touched.insert((one++)->set);
        } else if (one == a.end() || other->set < one->set) {
            draft.touched.insert((other++)->set);
        } else {
            if (one->blocks != other->blocks) draft.touched.insert(one->set);
            ++one;
            ++other;
        }
    }
}

void Compiler::make_rows(uint32_t identity, Draft& draft) {
    std::set<uint16_t> sets;
    for (const TermId term : terms_of(identities_.at(identity))) {
        const auto it = sets_with_.find(term);
        if (it != sets_with_.end()) sets.insert(it->second.begin(), it->second.end());
    }
    for (const uint16_t set : sets) {
        if (!sets_[set]->failed.empty()) continue;
        const auto made = make_row(set, identity, draft);
        if (!made) close(set, made.error().message(), draft);
    }
}

Result<void> Compiler::make_row(uint16_t number, uint32_t identity, Draft& draft) {
    SetState& set = *sets_[number];
    Identity& whose = identities_.at(identity);
    const auto at = std::ranges::lower_bound(whose.rows, number, {}, &IdentityRow::set);
    if (at != whose.rows.end() && at->set == number) return {};
    IdentityRow row{.set = number};
    const size_t start = draft.build.size();
    const bool final = whose.owners.size() > 1;
    for (const Direction direction : kDirections) {
        const Cells cells = row_cells(set.rules, direction, whose);
        if (cells.empty()) continue;
        const bool room = row_count_ < capacities_.rows && set.rows < capacities_.rows_per_set;
        const uint32_t block = room ? cells_.acquire(cells, draft.build) : 0;
        if (block == 0) {
            std::vector<model::PolicyWrite> unused;
            erase_row(identity, row, unused);
            draft.build.resize(start);
            return fail(Errc::kExhausted,
                        "its policies tell more peers apart than the tables take: {} rows of {}, "
                        "{} in all of {}, {} cells of {}; use fewer or wider peers",
                        set.rows, capacities_.rows_per_set, row_count_, capacities_.rows,
                        cells_.ranges().in_use(), cells_.ranges().capacity());
        }
        row.blocks[index_of(direction)] = block;
        ++row_count_;
        ++set.rows;
        const weir_policy_row_key key{identity, number, static_cast<uint16_t>(direction)};
        weir_policy_row value = cells_.row(block);
        value.flags = static_cast<uint16_t>(final ? WEIR_POLICY_ROW_FINAL : 0);
        value.check = weir_policy_row_check(&key, &value);
        draft.build.emplace_back(model::PolicyRowPut{.key = key, .value = value});
    }
    if (row.blocks != std::array<uint32_t, 2>{}) whose.rows.insert(at, row);
    return {};
}

void Compiler::erase_row(uint32_t identity, const IdentityRow& row,
                         std::vector<model::PolicyWrite>& removals) {
    for (const Direction direction : kDirections) {
        const uint32_t block = row.blocks[index_of(direction)];
        if (block == 0) continue;
        cells_.release(block);
        --row_count_;
        --sets_[row.set]->rows;
        removals.emplace_back(
            model::PolicyRowErase{.key = {identity, row.set, static_cast<uint16_t>(direction)}});
    }
}

void Compiler::close_sets_with(const TermIds& terms, const std::string& why, Draft& draft) {
    std::set<uint16_t> sets;
    for (const TermId term : terms) {
        const auto it = sets_with_.find(term);
        if (it != sets_with_.end()) sets.insert(it->second.begin(), it->second.end());
    }
    for (const uint16_t set : sets)
        close(set, why, draft);
}

}  // namespace weir::policy
