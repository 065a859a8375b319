// SPDX-License-Identifier: Apache-2.0
#include "datapath/reader.h"

#include <cerrno>
#include <cstring>
#include <ctime>

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include "datapath/conntrack_decode.h"
#include "datapath/programs.h"
#include "weir/limits.h"
#include "weir/maps.h"

namespace weir::datapath {
namespace {

/// False: the visitor wants no more.
Result<bool> visit_flows(const RawMap& map, bool established,
                         const std::function<bool(const TrackedFlow&)>& visit) {
    const uint32_t now = current_tick();
    bool more = true;
    WEIR_CHECK(map.for_each([&](const void* key, const void* value) {
        weir_ct entry;
        std::memcpy(&entry, value, sizeof entry);
        if (static_cast<int32_t>(entry.expires - now) <= 0) return true;
        more = visit(decode_flow(key, map.info().key_size, entry, established));
        return more;
    }));
    return more;
}

bool in_use(const weir_service& service) {
    return (service.flags & WEIR_SVC_IN_USE) != 0;
}
bool in_use(const weir_backend& backend) {
    return backend.state != WEIR_BACKEND_FREE;
}
bool in_use(const weir_endpoint& endpoint) {
    return (endpoint.flags & WEIR_EP_IN_USE) != 0;
}
bool in_use(const weir_slot& slot) {
    return slot.backend != 0;
}

template <typename Value>
Result<uint64_t> count_used(const ArrayMap<Value>& array) {
    uint64_t n = 0;
    WEIR_CHECK(array.for_each(
        [&](uint32_t index, const Value& value) { n += index != 0 && in_use(value) ? 1 : 0; }));
    return n;
}

/// {index, value} of every element in use; index 0 never is.
template <typename Found, typename Value>
Result<std::vector<Found>> elements_in_use(const ArrayMap<Value>& array) {
    std::vector<Found> found;
    WEIR_CHECK(array.for_each([&](uint32_t index, const Value& value) {
        if (index != 0 && in_use(value)) found.push_back({index, value});
    }));
    return found;
}

bool is_table(uint32_t type) {
    return type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_LRU_HASH ||
           type == BPF_MAP_TYPE_LPM_TRIE;
}

constexpr std::array kMapNames = {
#define WEIR_MAP_NAME(name, text) std::string_view(#name),
    WEIR_MAP_LIST(WEIR_MAP_NAME)
#undef WEIR_MAP_NAME
};

}  // namespace

uint32_t current_tick() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const auto ns =
        static_cast<uint64_t>(now.tv_sec) * 1'000'000'000ULL + static_cast<uint64_t>(now.tv_nsec);
    return static_cast<uint32_t>(ns >> WEIR_TICK_SHIFT);
}

Result<Reader> Reader::open(const PinDir& pins) {
    auto tables = Tables::open_read_only(pins);
    if (tables) return Reader(pins, std::move(*tables));
    if (tables.error().code() != Errc::kNotFound) return Failure(std::move(tables).error());
    return fail(Errc::kNotFound,
                "no tables are pinned below {}: no agent has run here since boot or cleanup; start "
                "weir-agent",
                pins.root().string());
}

Result<Reader> Reader::of(const PinDir& pins, const MapSet& maps) {
    return Reader(pins, WEIR_TRY(Tables::of(maps)));
}

Result<void> Reader::flows(const std::function<bool(const TrackedFlow&)>& visit) const {
    for (const char* name : {"weir_ct4", "weir_ct6"}) {
        const auto outer = WEIR_TRY(open_pinned_map(pins_, name, true));
        for (const Shard& shard : *WEIR_TRY(shards_of(outer))) {
            if (!WEIR_TRY(visit_flows(shard.map, true, visit))) return {};
        }
    }
    for (const char* name : {"weir_half4", "weir_half6"}) {
        const auto half = WEIR_TRY(open_pinned_map(pins_, name, true));
        if (!WEIR_TRY(visit_flows(half, false, visit))) return {};
    }
    return {};
}

Result<std::vector<std::pair<weir_vip_key, weir_vip>>> Reader::vips() const {
    return tables_.vips.all();
}

Result<std::vector<std::pair<weir_range_key, uint32_t>>> Reader::ranges() const {
    return tables_.ranges.all();
}

Result<std::vector<IndexedService>> Reader::services() const {
    return elements_in_use<IndexedService>(tables_.services);
}

Result<std::vector<uint32_t>> Reader::backends_of(const weir_service& service,
                                                  weir_extent_scope scope) const {
    const uint64_t extent = service.extent[scope];
    std::vector<uint32_t> ids;
    for (uint32_t i = 0; i < WEIR_EXTENT_COUNT(extent); ++i) {
        const weir_slot slot = WEIR_TRY(tables_.slots.get(WEIR_EXTENT_FIRST(extent) + i));
        if (slot.tag == WEIR_EXTENT_TAG(extent)) ids.push_back(slot.backend);
    }
    return ids;
}

Result<std::vector<IndexedBackend>> Reader::backends() const {
    return elements_in_use<IndexedBackend>(tables_.backends);
}

Result<std::vector<IndexedEndpoint>> Reader::endpoints() const {
    return elements_in_use<IndexedEndpoint>(tables_.endpoints);
}

Result<std::vector<DropCount>> Reader::drops() const {
    std::vector<DropCount> found;
    for (uint32_t reason = 0; reason < WEIR_DROP_REASONS; ++reason) {
        for (uint32_t direction = 0; direction < WEIR_DIRECTIONS; ++direction) {
            weir_count sum{};
            for (const weir_count& cpu :
                 WEIR_TRY(tables_.drops.get(reason * WEIR_DIRECTIONS + direction))) {
                sum.packets += cpu.packets;
                sum.bytes += cpu.bytes;
            }
            if (sum.packets == 0) continue;
            found.push_back({static_cast<weir_drop_reason>(reason),
                             static_cast<weir_direction>(direction), sum});
        }
    }
    return found;
}

Result<std::array<uint64_t, WEIR_COUNTERS>> Reader::counters() const {
    std::array<uint64_t, WEIR_COUNTERS> sums{};
    for (uint32_t i = 0; i < WEIR_COUNTERS; ++i) {
        for (const uint64_t cpu : WEIR_TRY(tables_.counters.get(i)))
            sums[i] += cpu;
    }
    return sums;
}

Result<uint64_t> Reader::entries_of(const RawMap& map) const {
    const std::string& name = map.info().name;
    if (name == "weir_services") return count_used(tables_.services);
    if (name == "weir_slots") return count_used(tables_.slots);
    if (name == "weir_backends") return count_used(tables_.backends);
    if (name == "weir_endpoints") return count_used(tables_.endpoints);
    if (is_table(map.info().type)) return WEIR_TRY(map.count());
    if (map.info().type != BPF_MAP_TYPE_ARRAY_OF_MAPS) return uint64_t{map.info().max_entries};
    uint64_t n = 0;
    for (const Shard& shard : *WEIR_TRY(shards_of(map)))
        n += WEIR_TRY(shard.map.count());
    return n;
}

Result<TableUse> Reader::use_of(const RawMap& map) const {
    TableUse use{.name = map.info().name,
                 .entries = WEIR_TRY(entries_of(map)),
                 .capacity = map.info().max_entries,
                 .memory = WEIR_TRY(map.memory())};
    if (map.info().type != BPF_MAP_TYPE_ARRAY_OF_MAPS) return use;
    use.capacity = 0;
    for (const Shard& shard : *WEIR_TRY(shards_of(map))) {
        use.capacity += shard.map.info().max_entries;
        use.memory += WEIR_TRY(shard.map.memory());
    }
    return use;
}

Result<Reader::Shards> Reader::shards_of(const RawMap& outer) const {
    const std::lock_guard lock(shards_->mutex);
    Shards& shards = shards_->by_name[outer.info().name];
    if (!shards) {
        shards = std::make_shared<const std::vector<Shard>>(WEIR_TRY(open_shards(outer, true)));
    }
    return shards;
}

Result<std::vector<TableUse>> Reader::table_use() const {
    std::vector<TableUse> uses;
    for (const std::string_view name : kMapNames) {
        auto fd = open_pin(pins_.map(name), true);
        // A program array cannot be opened for reading only, and its size is fixed.
        if (!fd) continue;
        const auto map = WEIR_TRY(RawMap::from(std::move(*fd)));
        uses.push_back(WEIR_TRY(use_of(map)));
    }
    return uses;
}

Result<weir_config> Reader::config() const {
    const auto array = WEIR_TRY(open_pinned_map(pins_, "weir_progs", false));
    const ProgramArray programs(array, pins_);
    const uint32_t id = WEIR_TRY(programs.program_id(WEIR_HOOK_POD_FROM));
    if (id == 0) return fail(Errc::kNotFound, "no programs are in force");
    const int fd = bpf_prog_get_fd_by_id(id);
    if (fd < 0) return fail_errno(-fd, "open the program in force");
    const Fd program(fd);
    return read_program_config(program.get());
}

}  // namespace weir::datapath
