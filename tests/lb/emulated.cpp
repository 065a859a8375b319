// SPDX-License-Identifier: Apache-2.0
#include "lb/emulated.h"

#include <algorithm>
#include <stdexcept>

#include <arpa/inet.h>

#include "lb/build.h"

namespace weir::lb::test {
namespace {

bool overlaps(uint64_t extent, uint32_t first, uint32_t count) {
    const uint32_t begin = WEIR_EXTENT_FIRST(extent);
    return begin < first + count && first < begin + WEIR_EXTENT_COUNT(extent);
}

}  // namespace

Emulated::Emulated(const Capacities& capacities)
    : vip_capacity_(capacities.vips),
      range_capacity_(capacities.ranges),
      services_(capacities.services),
      slots_(capacities.slots),
      backends_(capacities.backends) {}

void Emulated::require(bool holds, const std::string& what) const {
    if (!holds && strict_) throw std::logic_error(what);
}

void Emulated::write(const model::LbWrite& write) {
    ++clock_;
    std::visit([this](const auto& one) { apply(one); }, write);
}

void Emulated::grace(uint64_t moment) {
    std::erase_if(dead_extents_, [&](const auto& dead) { return dead.first <= moment; });
    std::erase_if(dead_services_, [&](const auto& dead) { return dead.first <= moment; });
    std::erase_if(dead_restrictions_, [&](const auto& dead) { return dead.first <= moment; });
}

bool Emulated::reachable(uint32_t service) const {
    return std::ranges::any_of(vips_,
                               [&](const auto& vip) { return vip.second.service == service; });
}

template <typename Visit>
void Emulated::each_visible_extent(Visit visit) const {
    std::set<uint32_t> seen;
    for (const auto& [key, vip] : vips_)
        seen.insert(vip.service);
    for (const auto& [moment, service] : dead_services_)
        seen.insert(service);
    for (const uint32_t service : seen) {
        if (service == 0 || service >= services_.size()) continue;
        for (const uint64_t extent : services_[service].extent)
            visit(extent);
    }
    for (const auto& [moment, extent] : dead_extents_)
        visit(extent);
}

void Emulated::apply(const model::VipPut& write) {
    const auto old = vips_.find(write.key);
    require(old != vips_.end() || vips_.size() < vip_capacity_, "the VIP map is full");
    const weir_vip before = old != vips_.end() ? old->second : weir_vip{};
    vips_[write.key] = write.value;
    retire(before);
}

void Emulated::apply(const model::VipErase& write) {
    const auto old = vips_.find(write.key);
    if (old == vips_.end()) return;
    retire(old->second);
    vips_.erase(old);
}

/// Readers may hold this value of a VIP until a grace period has passed.
void Emulated::retire(const weir_vip& vip) {
    if (vip.service == 0) return;
    dead_services_.emplace_back(clock_, vip.service);
    if ((vip.flags & WEIR_VIP_SOURCE_RANGES) != 0) {
        dead_restrictions_.emplace_back(clock_, vip.service);
    }
}

bool Emulated::restricted(uint32_t service) const {
    return std::ranges::any_of(vips_, [&](const auto& vip) {
        return vip.second.service == service && (vip.second.flags & WEIR_VIP_SOURCE_RANGES) != 0;
    });
}

void Emulated::apply(const model::RangePut& write) {
    require(ranges_.contains(write.key) || ranges_.size() < range_capacity_,
            "the table of source ranges is full");
    ranges_[write.key] = write.verdict;
}

void Emulated::apply(const model::RangeErase& write) {
    ranges_.erase(write.key);
    const auto of_port = [&](const auto& item) { return item.second == write.key.service; };
    const bool some_left = std::ranges::any_of(
        ranges_, [&](const auto& item) { return item.first.service == write.key.service; });
    require(some_left || restricted(write.key.service) ||
                std::ranges::none_of(dead_restrictions_, of_port),
            "the ranges of a port that readers may still take for restricted are erased");
}

/// As the kernel's longest-prefix tables do it.
bool Emulated::admits(uint32_t service, const IpAddress& client) const {
    uint32_t longest = 0;
    bool admitted = false;
    for (const auto& [key, verdict] : ranges_) {
        if (key.service != service || key.prefixlen < longest) continue;
        const auto own = IpAddress(key.addr).bytes();
        const auto bits = key.prefixlen - WEIR_RANGE_SERVICE_BITS;
        bool covers = true;
        for (uint32_t i = 0; i < bits; ++i) {
            const auto mask = static_cast<uint8_t>(0x80U >> i % 8);
            covers = covers && (own[i / 8] & mask) == (client.bytes()[i / 8] & mask);
        }
        if (!covers) continue;
        longest = key.prefixlen;
        admitted = verdict == WEIR_RANGE_ADMIT;
    }
    return admitted;
}

void Emulated::apply(const model::ServicePut& write) {
    require(write.index != 0 && write.index < services_.size(), "no such service index");
    require(!reachable(write.index), "a service that packets reach is overwritten");
    require(std::ranges::none_of(dead_services_,
                                 [&](const auto& dead) { return dead.second == write.index; }),
            "a service is overwritten before its grace period");
    services_[write.index] = write.value;
}

void Emulated::apply(const model::ServiceStore& write) {
    weir_service& service = services_.at(write.index);
    if (write.word < WEIR_SCOPES) {
        retire(service.extent[write.word]);
        service.extent[write.word] = write.value;
        return;
    }
    std::memcpy(reinterpret_cast<char*>(&service) + write.word * sizeof write.value, &write.value,
                sizeof write.value);
}

void Emulated::retire(uint64_t extent) {
    if (WEIR_EXTENT_COUNT(extent) != 0) dead_extents_.emplace_back(clock_, extent);
}

void Emulated::apply(const model::SlotsPut& write) {
    const auto count = static_cast<uint32_t>(write.slots.size());
    require(write.first != 0 && size_t{write.first} + count <= slots_.size(), "no such slots");
    each_visible_extent([&](uint64_t extent) {
        require(!overlaps(extent, write.first, count),
                "slots that a reader may hold are overwritten");
    });
    std::ranges::copy(write.slots, slots_.begin() + write.first);
}

void Emulated::apply(const model::BackendPut& write) {
    require(write.id != 0 && write.id < backends_.size(), "no such backend id");
    each_visible_extent([&](uint64_t extent) {
        for (uint32_t i = 0; i < WEIR_EXTENT_COUNT(extent); ++i) {
            const size_t at = size_t{WEIR_EXTENT_FIRST(extent)} + i;
            require(at >= slots_.size() || slots_[at].tag != WEIR_EXTENT_TAG(extent) ||
                        slots_[at].backend != write.id,
                    "a backend that a reader may hold is overwritten");
        }
    });
    require(write.value.generation != backends_[write.id].generation, "generation did not change");
    backends_[write.id] = write.value;
}

void Emulated::apply(const model::BackendState& write) {
    backends_.at(write.id).state = static_cast<uint8_t>(write.state);
}

std::string Emulated::lookup(const weir_vip_key& key, bool near, const IpAddress& client) const {
    const auto vip = vips_.find(key);
    if (vip == vips_.end()) {
        const bool known =
            key.scope == WEIR_VIP_SERVICE && vips_.contains(marker_vip(IpAddress(key.addr)).key);
        return known ? "REFUSE" : "MISS";
    }
    const weir_vip& value = vip->second;
    if (value.check != weir_vip_check(&key, value.service, value.flags)) return "CORRUPT check";
    if (value.service == 0 || value.service >= services_.size()) return "CORRUPT service";
    const weir_service& service = services_[value.service];
    if ((service.flags & WEIR_SVC_IN_USE) == 0) return "CORRUPT unused service";
    if ((value.flags & WEIR_VIP_SOURCE_RANGES) != 0 && !admits(value.service, client)) {
        return "RANGES";
    }
    const bool external = (value.flags & WEIR_VIP_EXTERNAL) != 0;
    const uint32_t policy = external ? WEIR_SVC_EXTERNAL_LOCAL : WEIR_SVC_INTERNAL_LOCAL;
    const bool local = (service.flags & policy) != 0 && !(external && near);
    const uint64_t extent = service.extent[local ? WEIR_SCOPE_LOCAL : WEIR_SCOPE_CLUSTER];
    if (WEIR_EXTENT_COUNT(extent) == 0) {
        return (service.flags & WEIR_SVC_ANY_ENDPOINT) != 0 ? "DROP" : "REJECT";
    }
    std::vector<PlanBackend> backends;
    for (uint32_t i = 0; i < WEIR_EXTENT_COUNT(extent); ++i) {
        const size_t at = size_t{WEIR_EXTENT_FIRST(extent)} + i;
        if (at >= slots_.size() || slots_[at].tag != WEIR_EXTENT_TAG(extent)) return "CORRUPT slot";
        const uint32_t id = slots_[at].backend;
        if (id == 0 || id >= backends_.size()) return "CORRUPT backend id";
        const weir_backend& backend = backends_[id];
        if (backend.state == WEIR_BACKEND_FREE) return "CORRUPT free backend";
        if (backend.proto != key.proto) return "CORRUPT protocol";
        const weir_slot& slot = slots_[at];
        if (std::memcmp(&slot.addr, &backend.addr, sizeof slot.addr) != 0 ||
            slot.port != backend.port) {
            return "CORRUPT copy of a backend";
        }
        backends.push_back({.address = IpAddress(slot.addr), .port = ntohs(slot.port)});
    }
    std::ranges::sort(backends);
    return "LB " + show(backends);
}

std::string Emulated::details(const weir_vip_key& key) const {
    const auto vip = vips_.find(key);
    if (vip == vips_.end() || vip->second.service == 0) return "";
    const weir_service& service = services_[vip->second.service];
    return fmt::format("affinity {} {} port {} proto {}", service.flags & WEIR_SVC_AFFINITY,
                       service.affinity_seconds, ntohs(service.port), service.proto);
}

model::LbImage Emulated::image() const {
    return {.vips = {vips_.begin(), vips_.end()},
            .services = services_,
            .slots = slots_,
            .backends = backends_,
            .ranges = {ranges_.begin(), ranges_.end()}};
}

uint32_t Emulated::index_of(uint64_t id) const {
    for (uint32_t i = 1; i < services_.size(); ++i) {
        if (services_[i].id == id && reachable(i)) return i;
    }
    return 0;
}

uint32_t Emulated::backend_of(const BackendKey& key) const {
    for (uint32_t i = 1; i < backends_.size(); ++i) {
        const weir_backend& b = backends_[i];
        if (b.state != WEIR_BACKEND_FREE && std::memcmp(&b.addr, &key.addr, sizeof key.addr) == 0 &&
            b.port == key.port && b.proto == key.proto) {
            return i;
        }
    }
    return 0;
}

}  // namespace weir::lb::test
