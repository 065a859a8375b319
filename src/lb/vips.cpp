// SPDX-License-Identifier: Apache-2.0
#include "lb/vips.h"

#include <algorithm>
#include <cassert>

#include "lb/hash.h"

namespace weir::lb {

auto VipTable::hash_of() const {
    return [this](uint32_t id) { return lb::hash_of(entries_[id].key); };
}

uint32_t VipTable::find(const weir_vip_key& key) const {
    return index_.find(lb::hash_of(key),
                       [&](uint32_t id) { return key_equal(entries_[id].key, key); });
}

uint32_t VipTable::create(const weir_vip_key& key) {
    uint32_t id = 0;
    if (free_.empty()) {
        id = static_cast<uint32_t>(entries_.size());
        entries_.emplace_back();
    } else {
        id = free_.back();
        free_.pop_back();
    }
    entries_[id] = {.key = key};
    index_.insert(id, hash_of());
    return id;
}

void VipTable::discard(uint32_t id) {
    index_.erase(id, hash_of());
    entries_[id] = {};
    free_.push_back(id);
}

void VipTable::touch(uint32_t id) {
    if (entries_[id].touched) return;
    entries_[id].touched = true;
    touched_.push_back(id);
}

void VipTable::claim(const PlanVip& vip, uint32_t service) {
    uint32_t id = find(vip.key);
    if (id == 0) id = create(vip.key);
    Entry& entry = entries_[id];
    if (entry.touched && entry.claims == 0) --vacating_;
    touch(id);
    ++entry.claims;
    const Claim claim{.service = service, .flags = vip.flags};
    if (is_marker(vip.key)) {
        entry.owner = {.service = 0, .flags = vip.flags};
    } else if (entry.owner.service == 0) {
        entry.owner = claim;
    } else if (senior_(service, entry.owner.service)) {
        waiting_[id].push_back(std::exchange(entry.owner, claim));
    } else {
        waiting_[id].push_back(claim);
    }
}

void VipTable::release(const weir_vip_key& key, uint32_t service) {
    const uint32_t id = find(key);
    Entry& entry = entries_[id];
    assert(id != 0 && entry.claims > 0);
    touch(id);
    if (--entry.claims == 0) ++vacating_;
    if (is_marker(key)) return;
    if (entry.owner.service == service) {
        promote(id);
        return;
    }
    const auto waiting = waiting_.find(id);
    assert(waiting != waiting_.end());
    std::erase_if(waiting->second, [&](const Claim& c) { return c.service == service; });
    if (waiting->second.empty()) waiting_.erase(waiting);
}

/// The owner has gone: the most senior of those who wait is next.
void VipTable::promote(uint32_t id) {
    entries_[id].owner = {};
    const auto waiting = waiting_.find(id);
    if (waiting == waiting_.end()) return;
    std::vector<Claim>& claims = waiting->second;
    const auto next = std::ranges::min_element(
        claims, [&](const Claim& a, const Claim& b) { return senior_(a.service, b.service); });
    entries_[id].owner = *next;
    claims.erase(next);
    if (claims.empty()) waiting_.erase(waiting);
}

uint32_t VipTable::missing(std::span<const PlanVip> vips) const {
    return static_cast<uint32_t>(std::ranges::count_if(vips, [&](const PlanVip& vip) {
        const uint32_t id = find(vip.key);
        return id == 0 || (entries_[id].touched && entries_[id].claims == 0);
    }));
}

uint32_t VipTable::sole(std::span<const PlanVip> vips) const {
    return static_cast<uint32_t>(std::ranges::count_if(
        vips, [&](const PlanVip& vip) { return entries_[find(vip.key)].claims == 1; }));
}

std::vector<VipTable::Change> VipTable::flush() {
    std::vector<Change> changes;
    for (const uint32_t id : touched_) {
        Entry& entry = entries_[id];
        entry.touched = false;
        const bool wanted = entry.claims > 0;
        const bool right = entry.present && entry.sound && wanted &&
                           entry.kernel.service == entry.owner.service &&
                           entry.kernel.flags == entry.owner.flags;
        if (right || (!wanted && !entry.present)) {
            if (!wanted) discard(id);
            continue;
        }
        changes.push_back({.key = entry.key,
                           .present = entry.present,
                           .before = entry.sound ? entry.kernel : Claim{},
                           .wanted = wanted,
                           .after = wanted ? entry.owner : Claim{}});
        entry.kernel = entry.owner;
        entry.present = entry.sound = true;
        if (!wanted) discard(id);
    }
    touched_.clear();
    vacating_ = 0;
    return changes;
}

void VipTable::adopt(std::span<const std::pair<weir_vip_key, weir_vip>> image) {
    for (const auto& [key, value] : image) {
        Entry& entry = entries_[create(key)];
        entry.present = true;
        entry.sound = value.check == weir_vip_check(&key, value.service, value.flags);
        entry.kernel = {.service = value.service, .flags = value.flags};
    }
}

void VipTable::drop_unclaimed() {
    for (uint32_t id = 1; id < entries_.size(); ++id) {
        const Entry& entry = entries_[id];
        if (!entry.present || entry.claims > 0 || entry.touched) continue;
        touch(id);
        ++vacating_;
    }
}

std::vector<VipTable::Conflict> VipTable::conflicts() const {
    std::vector<Conflict> out;
    for (const auto& [id, claims] : waiting_) {
        for (const Claim& claim : claims) {
            out.push_back({.key = entries_[id].key,
                           .holder = entries_[id].owner.service,
                           .waiting = claim.service});
        }
    }
    return out;
}

}  // namespace weir::lb
