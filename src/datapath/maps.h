// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "datapath/bpf_object.h"
#include "datapath/map.h"
#include "datapath/pins.h"
#include "weir/ct.h"
#include "weir/endpoint.h"
#include "weir/event.h"
#include "weir/lb.h"

namespace weir::datapath {

/// Capacities of the tables, elements; 0: as the BPF objects say.
struct TableSizes {
    uint32_t ct_per_shard = 0;  ///< of WEIR_CT_SHARDS shards, for each family
    uint32_t half_open = 0;     ///< for each family
    uint32_t frags = 0;
    uint32_t vips = 0;
    uint32_t services = 0;
    uint32_t slots = 0;
    uint32_t backends = 0;
    uint32_t ranges = 0;
    uint32_t socks = 0;
    uint32_t endpoints = 0;
    uint32_t pods = 0;
    uint32_t devices = 0;
    uint32_t node_addrs = 0;
    uint32_t netns = 0;
    uint32_t cidrs = 0;
    uint32_t event_bytes = 0;  ///< a power of two, at least a page
};

/// What became of one map at start.
struct AdoptedMap {
    std::string name;
    bool created = false;     ///< false: it was pinned already
    uint32_t capacity = 0;    ///< what it has
    uint32_t configured = 0;  ///< what was asked for; an adopted map keeps its capacity
    [[nodiscard]] bool resized() const { return capacity != configured; }
};

/// Every shared map, pinned. A map found pinned is adopted with its content and its capacity: a
/// capacity that differs from the configured one is reported, and takes effect after `weir
/// cleanup`, because moving a table under traffic would lose what is written meanwhile. A pin of
/// another shape is an error that names it. Any thread once made.
class MapSet {
  public:
    /// Adopts what is pinned, creates and pins the rest. After a failure what was made so far stays
    /// pinned, and the next call adopts it.
    static Result<MapSet> adopt(const PinDir& pins, std::span<const ObjectImage> images,
                                const TableSizes& sizes, const StepHook& step);

    [[nodiscard]] const std::vector<AdoptedMap>& adopted() const { return adopted_; }
    /// Null: no object has this map.
    [[nodiscard]] const RawMap* find(std::string_view name) const;
    [[nodiscard]] Result<Fd> duplicate(std::string_view name) const;
    /// Makes an opened object use these maps in place of its own.
    Result<void> lend_to(BpfObject& object) const;

  private:
    Result<void> provide(const PinDir& pins, const ObjectImage& image, const TableSizes& sizes,
                         const StepHook& step);
    Result<void> take_pinned(const PinDir& pins, const bpf_map* definition);
    /// True: all of them are new, and empty.
    Result<bool> fill_shards(std::string_view outer_name, const MapInfo& shape);

    std::map<std::string, RawMap, std::less<>> maps_;
    std::vector<AdoptedMap> adopted_;
};

/// The tables that user space reads or writes, typed.
struct Tables {
    HashMap<weir_vip_key, weir_vip> vips;
    ArrayMap<weir_service> services;
    ArrayMap<weir_slot> slots;
    ArrayMap<weir_backend> backends;
    ArrayMap<uint64_t> node_ports;
    LpmMap<weir_range_key, uint32_t> ranges;
    LruMap<weir_sock_key, weir_sock> socks;
    ArrayMap<weir_endpoint> endpoints;
    HashMap<weir_addr, weir_pod_ref> pods;
    HashMap<uint32_t, weir_device> devices;
    HashMap<weir_addr, uint32_t> node_addrs;
    HashMap<uint64_t, weir_netns> netns;
    LpmMap<weir_cidr_key, uint32_t> cidrs;
    LpmMap<weir_cidr_key, weir_peer> peers;
    PercpuArray<weir_count> drops;
    PercpuArray<uint64_t> counters;

    /// From a running agent's maps, for reading and writing.
    static Result<Tables> of(const MapSet& maps);
    /// From the pins, for reading only; works with no agent alive.
    static Result<Tables> open_read_only(const PinDir& pins);
};

/// Opens a pinned map.
Result<RawMap> open_pinned_map(const PinDir& pins, std::string_view name, bool read_only);

}  // namespace weir::datapath
