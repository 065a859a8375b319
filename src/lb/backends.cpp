// SPDX-License-Identifier: Apache-2.0
#include "lb/backends.h"

#include <cassert>
#include <cstring>

#include <arpa/inet.h>

#include "lb/hash.h"

namespace weir::lb {

BackendKey backend_key(const PlanBackend& backend, model::Protocol protocol) {
    return {.addr = backend.address.abi(),
            .port = htons(backend.port),
            .proto = static_cast<uint8_t>(protocol),
            .pad = 0};
}

auto BackendTable::hash_of() const {
    return [this](uint32_t id) { return lb::hash_of(entries_[id].key); };
}

uint32_t BackendTable::find(const BackendKey& key) const {
    return index_.find(lb::hash_of(key), [&](uint32_t id) {
        return std::memcmp(&entries_[id].key, &key, sizeof key) == 0;
    });
}

uint32_t BackendTable::create(const BackendKey& key, std::vector<model::LbWrite>& writes) {
    const uint32_t id = pool_.allocate();
    if (id == 0) return 0;
    if (id >= entries_.size()) entries_.resize(size_t{id} + 1);
    Entry& entry = entries_[id];
    entry = {.key = key, .generation = entry.generation + 1, .state = WEIR_BACKEND_READY};
    index_.insert(id, hash_of());
    const weir_backend value{.addr = key.addr,
                             .port = key.port,
                             .proto = key.proto,
                             .state = WEIR_BACKEND_READY,
                             .generation = entry.generation};
    writes.emplace_back(model::BackendPut{.id = id, .value = value});
    return id;
}

void BackendTable::uncreate(uint32_t id) {
    Entry& entry = entries_[id];
    assert(entry.refs == 0);
    index_.erase(id, hash_of());
    --entry.generation;
    entry.state = WEIR_BACKEND_FREE;
    pool_.release(id);
}

void BackendTable::ref(std::span<const uint32_t> ids, std::vector<model::LbWrite>& writes) {
    for (const uint32_t id : ids) {
        ++entries_[id].refs;
        set_state(id, WEIR_BACKEND_READY, writes);
    }
}

void BackendTable::unref(std::span<const uint32_t> ids) {
    for (const uint32_t id : ids) {
        assert(entries_[id].refs > 0);
        if (--entries_[id].refs == 0) unreferenced_.push_back(id);
    }
}

std::vector<uint32_t> BackendTable::drain(std::vector<model::LbWrite>& writes) {
    std::vector<uint32_t> drained;
    for (const uint32_t id : unreferenced_) {
        if (entries_[id].refs != 0 || entries_[id].state != WEIR_BACKEND_READY) continue;
        set_state(id, WEIR_BACKEND_DRAINING, writes);
        drained.push_back(id);
    }
    unreferenced_.clear();
    return drained;
}

void BackendTable::begin_idle(std::span<const uint32_t> ids) {
    for (const uint32_t id : ids) {
        Entry& entry = entries_[id];
        if (entry.idle || entry.refs != 0 || entry.state == WEIR_BACKEND_FREE) continue;
        entry.idle = true;
        idle_.push_back({.id = id, .gone_since = 0});
    }
}

std::vector<uint32_t> BackendTable::age(uint64_t now, uint64_t linger, const AddressUseOf& use,
                                        std::vector<model::LbWrite>& writes) {
    std::vector<uint32_t> freed;
    std::erase_if(idle_, [&](Idle& idle) {
        Entry& entry = entries_[idle.id];
        const bool back = entry.refs != 0;
        if (!back && !expire(idle, now, linger, use, writes)) return false;
        entry.idle = false;
        if (!back) freed.push_back(idle.id);
        return true;
    });
    return freed;
}

/// True if the backend became FREE.
bool BackendTable::expire(Idle& idle, uint64_t now, uint64_t linger, const AddressUseOf& use,
                          std::vector<model::LbWrite>& writes) {
    const Entry& entry = entries_[idle.id];
    if (entry.state == WEIR_BACKEND_GONE) {
        // An adopted one, and one that came and went in between, begins its time anew.
        if (idle.gone_since == 0) idle.gone_since = now;
        if (now - idle.gone_since < linger) return false;
        index_.erase(idle.id, hash_of());
        set_state(idle.id, WEIR_BACKEND_FREE, writes);
        return true;
    }
    idle.gone_since = 0;
    switch (use(IpAddress(entry.key.addr), ntohs(entry.key.port),
                static_cast<model::Protocol>(entry.key.proto))) {
        case AddressUse::kEndpoint:
            set_state(idle.id, WEIR_BACKEND_DRAINING, writes);
            break;
        case AddressUse::kOwned:
            set_state(idle.id, WEIR_BACKEND_REMOVED, writes);
            break;
        case AddressUse::kNobody:
            set_state(idle.id, WEIR_BACKEND_GONE, writes);
            idle.gone_since = now;
            break;
    }
    return false;
}

void BackendTable::adopt(std::span<const weir_backend> image) {
    std::vector<bool> used(image.size());
    entries_.resize(std::max<size_t>(image.size(), 1));
    size_t top = 1;
    for (uint32_t id = 1; id < image.size(); ++id) {
        const weir_backend& value = image[id];
        if (value.state == WEIR_BACKEND_FREE && value.generation == 0) continue;
        top = size_t{id} + 1;
        Entry& entry = entries_[id];
        entry.generation = value.generation;
        if (value.state == WEIR_BACKEND_FREE || value.state > WEIR_BACKEND_GONE) continue;
        entry.key = {.addr = value.addr, .port = value.port, .proto = value.proto, .pad = 0};
        entry.state = value.state;
        used[id] = true;
        // Of two with one key the first is found by it; the other serves its extents and idles out.
        if (find(entry.key) == 0) index_.insert(id, hash_of());
    }
    entries_.resize(top);
    entries_.shrink_to_fit();
    used.resize(top);
    pool_.restart(used);
}

weir_slot BackendTable::slot(uint32_t id, uint32_t tag) const {
    const BackendKey& key = entries_[id].key;
    return {.addr = key.addr, .port = key.port, .pad = 0, .spare = 0, .backend = id, .tag = tag};
}

bool BackendTable::agrees(const weir_slot& slot) const {
    const uint32_t id = slot.backend;
    if (id == 0 || id >= entries_.size() || entries_[id].state == WEIR_BACKEND_FREE) return false;
    const weir_slot expected = this->slot(id, slot.tag);
    return std::memcmp(&slot, &expected, sizeof slot) == 0;
}

void BackendTable::idle_unreferenced(std::vector<model::LbWrite>& writes) {
    std::vector<uint32_t> ids;
    for (uint32_t id = 1; id < entries_.size(); ++id) {
        const Entry& entry = entries_[id];
        if (entry.refs != 0 || entry.state == WEIR_BACKEND_FREE || entry.idle) continue;
        if (entry.state == WEIR_BACKEND_READY) set_state(id, WEIR_BACKEND_DRAINING, writes);
        ids.push_back(id);
    }
    begin_idle(ids);
}

void BackendTable::set_state(uint32_t id, weir_backend_state state,
                             std::vector<model::LbWrite>& writes) {
    Entry& entry = entries_[id];
    if (entry.state == state) return;
    entry.state = static_cast<uint8_t>(state);
    writes.emplace_back(model::BackendState{.id = id, .state = state});
}

}  // namespace weir::lb
