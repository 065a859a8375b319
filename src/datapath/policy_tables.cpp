// SPDX-License-Identifier: Apache-2.0
#include "datapath/policy_tables.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <bpf/libbpf.h>
#include <fcntl.h>

#include "weir/maps.h"

namespace weir::datapath {
namespace {

constexpr std::array kPolicyMaps = {
#define WEIR_MAP_NAME(name, text) std::string_view(#name),
    WEIR_POLICY_MAP_LIST(WEIR_MAP_NAME)
#undef WEIR_MAP_NAME
};

std::string pin_name(std::string_view map, uint32_t bank) {
    return fmt::format("{}_{}", map, bank);
}

/// 0: as the object says.
uint32_t size_of(std::string_view name, const PolicySizes& sizes) {
    const std::pair<std::string_view, uint32_t> table[] = {
        {"weir_policy_addrs", sizes.addrs},   {"weir_policy_cidrs", sizes.cidrs},
        {"weir_policy_rows", sizes.rows},     {"weir_policy_cells", sizes.cells},
        {"weir_policy_rules", sizes.rules},   {"weir_policy_sets", sizes.sets},
        {"weir_policy_hits", sizes.counters},
    };
    for (const auto& [known, size] : table) {
        if (known == name) return size;
    }
    // One for each element of both tables that name them, and the one that is not used.
    const bool both = sizes.addrs != 0 && sizes.cidrs != 0;
    return name == "weir_policy_slots" && both ? sizes.addrs + sizes.cidrs + 1 : 0;
}

Result<Fd> duplicate_fd(int fd, std::string_view name) {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return fail_errno(errno, "duplicate the descriptor of {}", name);
    return Fd(copy);
}

bool is_policy_map(std::string_view name) {
    return std::ranges::find(kPolicyMaps, name) != kPolicyMaps.end();
}

template <typename Map, typename... Options>
Result<Map> open_as(const PolicyMaps& maps, std::string_view name, Options... options) {
    return Map::from(WEIR_TRY(maps.duplicate(name)), options...);
}

}  // namespace

Result<void> PolicyMaps::set_sizes(BpfObject& object, const PolicySizes& sizes) {
    for (bpf_map* map : object.maps()) {
        const std::string_view name = bpf_map__name(map);
        const uint32_t size = is_policy_map(name) ? size_of(name, sizes) : 0;
        if (size == 0) continue;
        if (const int error = bpf_map__set_max_entries(map, size); error != 0) {
            return fail_errno(-error, "map {}: set its capacity to {}", name, size);
        }
    }
    return {};
}

Result<PolicyMaps> PolicyMaps::of(BpfObject& object) {
    PolicyMaps out;
    for (bpf_map* map : object.maps()) {
        const std::string_view name = bpf_map__name(map);
        if (!is_policy_map(name)) continue;
        auto fd = WEIR_TRY(duplicate_fd(bpf_map__fd(map), name));
        out.maps_.emplace(name, WEIR_TRY(RawMap::from(std::move(fd))));
    }
    return out;
}

Result<PolicyMaps> PolicyMaps::open_read_only(const PinDir& pins, uint32_t bank) {
    PolicyMaps out;
    for (const std::string_view name : kPolicyMaps) {
        auto fd = WEIR_TRY(open_pin(pins.map(pin_name(name, bank)), true));
        out.maps_.emplace(name, WEIR_TRY(RawMap::from(std::move(fd))));
    }
    return out;
}

Result<void> PolicyMaps::lend_to(BpfObject& object) const {
    for (bpf_map* map : object.maps()) {
        const auto ours = maps_.find(std::string_view(bpf_map__name(map)));
        if (ours == maps_.end()) continue;
        if (const int error = bpf_map__reuse_fd(map, ours->second.fd()); error != 0) {
            return fail_errno(-error, "BPF object {}: use the map {}", object.name(), ours->first);
        }
    }
    return {};
}

Result<void> PolicyMaps::pin_as(const PinDir& pins, uint32_t bank) const {
    for (const auto& [name, map] : maps_)
        WEIR_CHECK(pin_replacing(map.fd(), pins.map(pin_name(name, bank))));
    return {};
}

Result<bool> PolicyMaps::unpin(const PinDir& pins, uint32_t bank) {
    bool any = false;
    for (const std::string_view name : kPolicyMaps)
        any |= WEIR_TRY(datapath::unpin(pins.map(pin_name(name, bank))));
    return any;
}

Result<Fd> PolicyMaps::duplicate(std::string_view name) const {
    const auto it = maps_.find(name);
    if (it == maps_.end()) return fail(Errc::kNotFound, "no BPF object has the map {}", name);
    return duplicate_fd(it->second.fd(), name);
}

Result<uint64_t> PolicyMaps::memory(std::string_view name) const {
    const auto it = maps_.find(name);
    if (it == maps_.end()) return fail(Errc::kNotFound, "no BPF object has the map {}", name);
    return it->second.memory();
}

Result<PolicyTables> PolicyTables::of(const PolicyMaps& maps, bool writable) {
#define WEIR_TABLE(field, ...)                                \
    .field = WEIR_TRY(open_as<decltype(PolicyTables::field)>( \
        maps, "weir_policy_" #field __VA_OPT__(, ) __VA_ARGS__))
    return PolicyTables{
        WEIR_TABLE(addrs),           WEIR_TABLE(cidrs),
        WEIR_TABLE(slots, writable), WEIR_TABLE(rows),
        WEIR_TABLE(cells, writable), WEIR_TABLE(rules, writable),
        WEIR_TABLE(sets, writable),  WEIR_TABLE(hits),
    };
#undef WEIR_TABLE
}

}  // namespace weir::datapath
