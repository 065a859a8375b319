// SPDX-License-Identifier: Apache-2.0
#include "datapath/maps.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include "datapath/shards.h"
#include "weir/limits.h"
#include "weir/maps.h"

namespace weir::datapath {
namespace {

constexpr std::array kSharedMaps = {
#define WEIR_MAP_NAME(name, text) std::string_view(#name),
    WEIR_MAP_LIST(WEIR_MAP_NAME)
#undef WEIR_MAP_NAME
};

bool is_shared(std::string_view name) {
    return std::ranges::find(kSharedMaps, name) != kSharedMaps.end();
}

/// Each load of the programs makes these anew (policy_tables.h).
bool is_policy(std::string_view name) {
    return name.starts_with("weir_policy_");
}

bool is_sharded(std::string_view name) {
    return name == "weir_ct4" || name == "weir_ct6";
}

/// The configured capacity of a map; 0: leave it.
uint32_t configured_size(std::string_view name, const TableSizes& sizes) {
    const std::pair<std::string_view, uint32_t> table[] = {
        {"weir_half4", sizes.half_open},
        {"weir_half6", sizes.half_open},
        {"weir_frags", sizes.frags},
        {"weir_vips", sizes.vips},
        {"weir_services", sizes.services},
        {"weir_slots", sizes.slots},
        {"weir_backends", sizes.backends},
        {"weir_socks", sizes.socks},
        {"weir_ranges", sizes.ranges},
        {"weir_endpoints", sizes.endpoints},
        {"weir_pods", sizes.pods},
        {"weir_devices", sizes.devices},
        {"weir_node_addrs", sizes.node_addrs},
        {"weir_netns", sizes.netns},
        {"weir_cidrs", sizes.cidrs},
        {"weir_events", sizes.event_bytes},
    };
    for (const auto& [known, size] : table) {
        if (known == name) return size;
    }
    return 0;
}

Result<void> set_size(bpf_map* map, const TableSizes& sizes) {
    const std::string_view name = bpf_map__name(map);
    const uint32_t size = configured_size(name, sizes);
    if (size == 0) return {};
    if (const int error = bpf_map__set_max_entries(map, size); error != 0) {
        return fail_errno(-error, "map {}: set its capacity to {}", name, size);
    }
    return {};
}

/// A pinned map must be what this build expects, but for its capacity.
Result<void> check_shape(const RawMap& map, const bpf_map* definition,
                         const std::filesystem::path& pin) {
    const MapInfo& info = map.info();
    const bool fixed_size = bpf_map__type(definition) == BPF_MAP_TYPE_PROG_ARRAY ||
                            bpf_map__type(definition) == BPF_MAP_TYPE_ARRAY_OF_MAPS;
    const bool fits = info.type == bpf_map__type(definition) &&
                      info.key_size == bpf_map__key_size(definition) &&
                      info.value_size == bpf_map__value_size(definition) &&
                      info.flags == bpf_map__map_flags(definition) &&
                      (!fixed_size || info.max_entries == bpf_map__max_entries(definition));
    if (fits) return {};
    return fail(
        Errc::kInvalid,
        "the map pinned at {} is not Weir's: it has type {}, keys of {}, values of {} bytes, "
        "flags {:#x}, {} elements, where type {}, {}, {}, {:#x}, {} is expected; run `weir "
        "cleanup`, or remove the pin, and start again",
        pin.string(), info.type, info.key_size, info.value_size, info.flags, info.max_entries,
        static_cast<int>(bpf_map__type(definition)), bpf_map__key_size(definition),
        bpf_map__value_size(definition), bpf_map__map_flags(definition),
        bpf_map__max_entries(definition));
}

MapInfo shape_of_shards(bpf_map* outer, const TableSizes& sizes) {
    const bpf_map* inner = bpf_map__inner_map(outer);
    return {
        .type = bpf_map__type(inner),
        .key_size = bpf_map__key_size(inner),
        .value_size = bpf_map__value_size(inner),
        .max_entries = sizes.ct_per_shard != 0 ? sizes.ct_per_shard : bpf_map__max_entries(inner),
        .flags = bpf_map__map_flags(inner)};
}

Result<Fd> duplicate_fd(int fd) {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return fail_errno(errno, "duplicate a descriptor");
    return Fd(copy);
}

Result<RawMap> duplicate_map(int fd) {
    return RawMap::from(WEIR_TRY(duplicate_fd(fd)));
}

}  // namespace

const RawMap* MapSet::find(std::string_view name) const {
    const auto it = maps_.find(name);
    return it == maps_.end() ? nullptr : &it->second;
}

Result<Fd> MapSet::duplicate(std::string_view name) const {
    const RawMap* map = find(name);
    if (map == nullptr) return fail(Errc::kNotFound, "no BPF object has the map {}", name);
    return duplicate_fd(map->fd());
}

Result<void> MapSet::lend_to(BpfObject& object) const {
    for (bpf_map* map : object.maps()) {
        const RawMap* ours = find(bpf_map__name(map));
        if (ours == nullptr) continue;
        if (const int error = bpf_map__reuse_fd(map, ours->fd()); error != 0) {
            return fail_errno(-error, "BPF object {}: use the map {}", object.name(),
                              bpf_map__name(map));
        }
    }
    return {};
}

Result<void> MapSet::take_pinned(const PinDir& pins, const bpf_map* definition) {
    const std::string name = bpf_map__name(definition);
    auto fd = open_pin(pins.map(name));
    if (!fd && fd.error().code() == Errc::kNotFound) return {};
    if (!fd) {
        return fail(fd.error().code(), "{}; what is pinned there is not a map of Weir's: remove it",
                    fd.error().message());
    }
    auto map = WEIR_TRY(RawMap::from(std::move(*fd)));
    WEIR_CHECK(check_shape(map, definition, pins.map(name)));
    adopted_.push_back({.name = name,
                        .created = false,
                        .capacity = map.info().max_entries,
                        .configured = bpf_map__max_entries(definition)});
    maps_.emplace(name, std::move(map));
    return {};
}

// Loading an object without its programs lets libbpf make the maps with all they need (type
// information for timers, templates of inner maps), before any program is there.
Result<void> MapSet::provide(const PinDir& pins, const ObjectImage& image, const TableSizes& sizes,
                             const StepHook& step) {
    auto object = WEIR_TRY(BpfObject::open(image));
    WEIR_CHECK(object.keep_programs([](std::string_view) { return false; }));
    std::vector<bpf_map*> missing;
    std::vector<std::pair<std::string, MapInfo>> shards;  // libbpf forgets the template at load
    for (bpf_map* map : object.maps()) {
        const std::string_view name = bpf_map__name(map);
        if (is_policy(name)) bpf_map__set_autocreate(map, false);
        if (!is_shared(name)) continue;
        WEIR_CHECK(set_size(map, sizes));
        if (is_sharded(name)) shards.emplace_back(name, shape_of_shards(map, sizes));
        if (find(name) == nullptr) WEIR_CHECK(take_pinned(pins, map));
        if (find(name) == nullptr) missing.push_back(map);
    }
    if (!missing.empty()) {
        WEIR_CHECK(lend_to(object));
        WEIR_CHECK(object.load());
    }
    for (bpf_map* map : missing) {
        const std::string name = bpf_map__name(map);
        auto made = WEIR_TRY(duplicate_map(bpf_map__fd(map)));
        step("pin " + name);
        WEIR_CHECK(pin(made.fd(), pins.map(name)));
        const uint32_t capacity = made.info().max_entries;
        adopted_.push_back(
            {.name = name, .created = true, .capacity = capacity, .configured = capacity});
        maps_.emplace(name, std::move(made));
    }
    for (const auto& [name, shape] : shards) {
        step("fill " + name);
        const bool empty = WEIR_TRY(fill_shards(name, shape));
        if (empty) WEIR_CHECK(count_no_flows(*find("weir_ct_counts"), name == "weir_ct6"));
    }
    return {};
}

// The template in the object has another capacity, which the kernel does not compare for hashes.
// All missing shards go in by one call: each call waits for a grace period.
Result<bool> MapSet::fill_shards(std::string_view outer_name, const MapInfo& shape) {
    const RawMap& outer = *find(outer_name);
    const auto there = WEIR_TRY(open_shards(outer, true));
    std::vector<Fd> made;
    std::vector<uint32_t> indices;
    std::vector<uint32_t> fds;
    for (uint32_t shard = 0; shard < outer.info().max_entries; ++shard) {
        if (std::ranges::find(there, shard, &Shard::index) != there.end()) continue;
        LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = shape.flags);
        const int fd = bpf_map_create(static_cast<bpf_map_type>(shape.type),
                                      fmt::format("{}_s", outer_name).c_str(), shape.key_size,
                                      shape.value_size, shape.max_entries, &opts);
        if (fd < 0) return fail_errno(-fd, "map {}: make shard {}", outer_name, shard);
        made.emplace_back(fd);
        indices.push_back(shard);
        fds.push_back(static_cast<uint32_t>(fd));
    }
    WEIR_CHECK(outer.put_batch(indices.data(), fds.data(), indices.size()));
    for (AdoptedMap& entry : adopted_) {
        if (entry.name != outer_name) continue;
        entry.capacity = outer.info().max_entries *
                         (there.empty() ? shape : there.front().map.info()).max_entries;
        entry.configured = outer.info().max_entries * shape.max_entries;
    }
    return there.empty();
}

Result<MapSet> MapSet::adopt(const PinDir& pins, std::span<const ObjectImage> images,
                             const TableSizes& sizes, const StepHook& step) {
    WEIR_CHECK(pins.create());
    MapSet set;
    for (const ObjectImage& image : images)
        WEIR_CHECK(set.provide(pins, image, sizes, step));
    return set;
}

namespace {

using GetMap = std::function<Result<Fd>(std::string_view)>;

template <typename Map, typename... Options>
Result<Map> open_as(const GetMap& get, std::string_view name, Options... options) {
    return Map::from(WEIR_TRY(get(name)), options...);
}

Result<Tables> make_tables(const GetMap& get, bool writable) {
#define WEIR_TABLE(field, ...) \
    .field =                   \
        WEIR_TRY(open_as<decltype(Tables::field)>(get, "weir_" #field __VA_OPT__(, ) __VA_ARGS__))
    return Tables{
        WEIR_TABLE(vips),
        WEIR_TABLE(services, writable),
        WEIR_TABLE(slots, writable),
        WEIR_TABLE(backends, writable),
        WEIR_TABLE(node_ports, writable),
        WEIR_TABLE(ranges),
        WEIR_TABLE(socks),
        WEIR_TABLE(endpoints, writable),
        WEIR_TABLE(pods),
        WEIR_TABLE(devices),
        WEIR_TABLE(node_addrs),
        WEIR_TABLE(netns),
        WEIR_TABLE(cidrs),
        WEIR_TABLE(peers),
        WEIR_TABLE(drops),
        WEIR_TABLE(counters),
    };
#undef WEIR_TABLE
}

}  // namespace

Result<Tables> Tables::of(const MapSet& maps) {
    return make_tables([&](std::string_view name) { return maps.duplicate(name); }, true);
}

Result<Tables> Tables::open_read_only(const PinDir& pins) {
    return make_tables([&](std::string_view name) { return open_pin(pins.map(name), true); },
                       false);
}

Result<RawMap> open_pinned_map(const PinDir& pins, std::string_view name, bool read_only) {
    return RawMap::from(WEIR_TRY(open_pin(pins.map(name), read_only)));
}

}  // namespace weir::datapath
