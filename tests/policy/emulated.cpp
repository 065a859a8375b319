// SPDX-License-Identifier: Apache-2.0
#include "policy/emulated.h"

#include <algorithm>
#include <stdexcept>

namespace weir::policy::test {
namespace {

Emulated* g_reading = nullptr;

bool overlaps(const weir_policy_row& row, uint32_t first, size_t count) {
    const uint32_t length = row.cells[0] + row.cells[1] + row.cells[2] + 1U;
    return row.first != 0 && row.first < first + count && first < row.first + length;
}

}  // namespace

Emulated::Emulated(const Capacities& capacities)
    : capacities_(capacities),
      slots_(capacities.slots),
      cells_(capacities.cells),
      rules_(capacities.rules),
      sets_(capacities.sets) {}

void Emulated::require(bool holds, const std::string& what) {
    if (!holds) throw std::logic_error(what);
}

void Emulated::write(const model::PolicyWrite& write) {
    ++clock_;
    std::visit([this](const auto& one) { apply(one); }, write);
}

void Emulated::grace(uint64_t moment) {
    std::erase_if(dead_sets_, [&](const auto& dead) { return dead.first <= moment; });
    std::erase_if(dead_slots_, [&](const auto& dead) { return dead.first <= moment; });
}

bool Emulated::reachable(uint32_t set) const {
    const auto leads = [&](uint32_t from) { return from == set || sets_[from].audit == set; };
    return std::ranges::any_of(
               endpoints_,
               [&](const auto& one) { return leads(WEIR_POLICY_WORD_SET(one.second)); }) ||
           std::ranges::any_of(dead_sets_, [&](const auto& dead) { return leads(dead.second); });
}

void Emulated::apply(const model::PolicyCellsPut& write) {
    require(write.first != 0 && write.first + write.words.size() <= cells_.size(), "no such cells");
    for (const auto& [key, row] : rows_)
        require(!overlaps(row, write.first, write.words.size()), "cells of a row are overwritten");
    for (uint32_t i = 1; i < sets_.size(); ++i) {
        if (!reachable(i)) continue;
        for (const auto& row : sets_[i].wildcard)
            require(!overlaps(row, write.first, write.words.size()),
                    "cells of a set are overwritten");
    }
    std::ranges::copy(write.words, cells_.begin() + write.first);
}

void Emulated::apply(const model::PolicyRulesPut& write) {
    const size_t end = write.first + write.words.size();
    require(write.first != 0 && end <= rules_.size(), "no such rules");
    for (uint32_t i = 1; i < sets_.size(); ++i) {
        const bool apart =
            sets_[i].rules >= end || sets_[i].rules + sets_[i].rule_count <= write.first;
        require(!reachable(i) || apart, "rules of a set are overwritten");
    }
    std::ranges::copy(write.words, rules_.begin() + write.first);
}

void Emulated::apply(const model::PolicySetPut& write) {
    require(write.index != 0 && write.index < sets_.size(), "no such set");
    require(!reachable(write.index), "a set that packets reach is overwritten");
    require(write.value.audit == 0 || sets_[write.value.audit].rule_count != 0, "no such audit");
    sets_[write.index] = write.value;
}

void Emulated::apply(const model::PolicyRowPut& write) {
    require(rows_.size() < capacities_.rows, "the table of rows is full");
    require(rows_.emplace(bytes_of(write.key), write.value).second, "a row is replaced");
    require(write.value.check == weir_policy_row_check(&write.key, &write.value), "wrong check");
}

void Emulated::apply(const model::PolicyRowErase& write) {
    require(rows_.erase(bytes_of(write.key)) == 1, "a row that is not there is erased");
    const auto held = [&](const auto& element) {
        return WEIR_POLICY_IDENTITY(slots_[element.second.slot]) == write.key.identity;
    };
    const bool any = std::ranges::any_of(addrs_, held) || std::ranges::any_of(cidrs_, held);
    require(!any || !reachable(write.key.set), "a row that packets reach is erased");
}

void Emulated::check_slot(uint32_t slot, uint32_t check, uint32_t wanted) const {
    require(slot != 0 && slot < slots_.size(), "no such slot");
    require(check == wanted, "wrong check");
}

void Emulated::apply(const model::PolicyAddrPut& write) {
    check_slot(write.value.slot, write.value.check,
               weir_policy_ref_check(&write.key, write.value.slot));
    require(addrs_.size() < capacities_.addrs, "the table of addresses is full");
    require(addrs_.emplace(bytes_of(write.key), write.value).second, "an address is replaced");
}

void Emulated::apply(const model::PolicyAddrErase& write) {
    const auto it = addrs_.find(bytes_of(write.key));
    require(it != addrs_.end(), "an address that is not there is erased");
    dead_slots_.emplace_back(clock_, it->second.slot);
    addrs_.erase(it);
}

Emulated::Cidr Emulated::cidr_of(const weir_cidr_key& key) {
    return {128 - key.prefixlen, bytes_of(key.addr)};
}

void Emulated::apply(const model::PolicyCidrPut& write) {
    check_slot(write.value.slot, write.value.check,
               weir_policy_ref_check(nullptr, write.value.slot));
    require(cidrs_.size() < capacities_.cidrs, "the table of CIDRs is full");
    require(cidrs_.emplace(cidr_of(write.key), write.value).second, "a CIDR is replaced");
}

void Emulated::apply(const model::PolicyCidrErase& write) {
    const auto it = cidrs_.find(cidr_of(write.key));
    require(it != cidrs_.end(), "a CIDR that is not there is erased");
    dead_slots_.emplace_back(clock_, it->second.slot);
    cidrs_.erase(it);
}

void Emulated::apply(const model::PolicySlotStore& write) {
    require(write.slot != 0 && write.slot < slots_.size(), "no such slot");
    require(std::ranges::none_of(dead_slots_,
                                 [&](const auto& dead) { return dead.second == write.slot; }),
            "a slot is given away before its grace period");
    slots_[write.slot] = write.word;
}

void Emulated::apply(const model::PolicyEndpointStore& write) {
    require(epochs_.insert(WEIR_POLICY_WORD_EPOCH(write.word)).second, "an epoch is used twice");
    const auto it = endpoints_.find(write.endpoint);
    if (it != endpoints_.end()) dead_sets_.emplace_back(clock_, WEIR_POLICY_WORD_SET(it->second));
    endpoints_[write.endpoint] = write.word;
}

void Emulated::forget(uint32_t endpoint) {
    const auto it = endpoints_.find(endpoint);
    if (it == endpoints_.end()) return;
    dead_sets_.emplace_back(++clock_, WEIR_POLICY_WORD_SET(it->second));
    endpoints_.erase(it);
}

uint64_t Emulated::word_of(uint32_t endpoint) const {
    const auto it = endpoints_.find(endpoint);
    return it == endpoints_.end() ? 0 : it->second;
}

int Emulated::ask(const policy_asked& asked, policy_told& told) const {
    g_reading = const_cast<Emulated*>(this);
    const int result = policy_ask(&asked, &told);
    g_reading = nullptr;
    return result;
}

void* Emulated::lookup(const void* map, const void* key) {
    const auto id = std::ranges::find(policy_maps, map) - std::begin(policy_maps);
    const auto element = [&](auto& table) -> void* {
        uint32_t index = 0;
        std::memcpy(&index, key, sizeof index);
        return index < table.size() ? &table[index] : nullptr;
    };
    const auto found = [](auto& table, const auto& wanted) -> void* {
        const auto it = table.find(wanted);
        return it == table.end() ? nullptr : &it->second;
    };
    switch (id) {
        case POLICY_MAP_ADDRS:
            return found(addrs_, bytes_of(*static_cast<const weir_addr*>(key)));
        case POLICY_MAP_ROWS:
            return found(rows_, bytes_of(*static_cast<const weir_policy_row_key*>(key)));
        case POLICY_MAP_SLOTS:
            return element(slots_);
        case POLICY_MAP_CELLS:
            return element(cells_);
        case POLICY_MAP_RULES:
            return element(rules_);
        case POLICY_MAP_SETS:
            return element(sets_);
        case POLICY_MAP_CIDRS:
            break;
        default:
            throw std::logic_error("no such map");
    }
    const auto wanted = bytes_of(static_cast<const weir_cidr_key*>(key)->addr);
    for (auto& [cidr, ref] : cidrs_) {
        const uint32_t length = 128 - cidr.first;
        bool same = std::equal(wanted.begin(), wanted.begin() + length / 8, cidr.second.begin());
        if (same && length % 8 != 0) {
            const auto mask = static_cast<unsigned char>(0xff00U >> (length % 8));
            same = (wanted[length / 8] & mask) == (cidr.second[length / 8] & mask);
        }
        if (same) return &ref;
    }
    return nullptr;
}

extern "C" void* weir_host_bpf_map_lookup_elem(const void* map, const void* key);
extern "C" void* weir_host_bpf_map_lookup_elem(const void* map, const void* key) {
    return g_reading->lookup(map, key);
}

}  // namespace weir::policy::test
