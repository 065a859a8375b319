// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/ip.h"
#include "common/result.h"
#include "datapath/maps.h"
#include "datapath/pins.h"
#include "datapath/shards.h"
#include "weir/config.h"
#include "weir/event.h"

namespace weir::datapath {

/// One end of a flow. The port is in host byte order.
struct FlowEnd {
    IpAddress address;
    uint16_t port = 0;
    auto operator<=>(const FlowEnd&) const = default;
};

/// A tracked flow's entry. A translated flow has two (weir/ct.h): one seen from each side.
struct TrackedFlow {
    bool established = false;  ///< false: no reply yet, in the table of half-open flows
    uint8_t proto = 0;
    FlowEnd source;  ///< the originator, as this entry's side sees the packets
    FlowEnd destination;
    FlowEnd nat_source;  ///< as rewritten; zero if `flags` name no rewriting
    FlowEnd nat_destination;
    uint8_t flags = 0;  ///< enum weir_ct_flags
    uint8_t kind = 0;   ///< enum weir_ct_kind
    std::array<uint8_t, 2> tcp_flags{};
    std::array<uint32_t, 2> endpoint{};
    uint32_t service = 0;
    uint32_t backend = 0;
    uint32_t ifindex = 0;
    uint32_t created = 0;  ///< ticks (WEIR_TICK_SHIFT), as the next two
    uint32_t seen = 0;
    uint32_t expires = 0;
};

struct IndexedService {
    uint32_t index;
    weir_service service;
};
struct IndexedBackend {
    uint32_t id;
    weir_backend backend;
};
struct IndexedEndpoint {
    uint32_t id;
    weir_endpoint endpoint;
};
struct DropCount {
    weir_drop_reason reason;
    weir_direction direction;
    weir_count count;  ///< of all CPUs
};
struct TableUse {
    std::string name;
    uint64_t entries = 0;
    uint64_t capacity = 0;
    uint64_t memory = 0;  ///< bytes the kernel charges
};

/// The present, in the unit of stored times.
uint32_t current_tick();

/// What the kernel's tables say, read-only, with or without an agent alive. Any thread.
class Reader {
  public:
    /// kNotFound: nothing is pinned there: no agent has run since boot or cleanup.
    static Result<Reader> open(const PinDir& pins);
    /// Over maps of the agent's own, which it may map: arrays are read without a system call.
    static Result<Reader> of(const PinDir& pins, const MapSet& maps);

    [[nodiscard]] const Tables& tables() const { return tables_; }
    /// Calls `visit` for every entry that has not expired, until it returns false.
    [[nodiscard]] Result<void> flows(const std::function<bool(const TrackedFlow&)>& visit) const;
    [[nodiscard]] Result<std::vector<std::pair<weir_vip_key, weir_vip>>> vips() const;
    [[nodiscard]] Result<std::vector<std::pair<weir_range_key, uint32_t>>> ranges() const;
    [[nodiscard]] Result<std::vector<IndexedService>> services() const;
    /// The backends of one scope's extent of a Service, by id, as the slots say.
    [[nodiscard]] Result<std::vector<uint32_t>> backends_of(const weir_service& service,
                                                            weir_extent_scope scope) const;
    [[nodiscard]] Result<std::vector<IndexedBackend>> backends() const;
    [[nodiscard]] Result<std::vector<IndexedEndpoint>> endpoints() const;
    /// Those that are not zero.
    [[nodiscard]] Result<std::vector<DropCount>> drops() const;
    /// By enum weir_counter.
    [[nodiscard]] Result<std::array<uint64_t, WEIR_COUNTERS>> counters() const;
    [[nodiscard]] Result<std::vector<TableUse>> table_use() const;
    /// The configuration of the programs in force; kNotFound: none are.
    [[nodiscard]] Result<weir_config> config() const;

  private:
    Reader(PinDir pins, Tables tables) : pins_(std::move(pins)), tables_(std::move(tables)) {}
    [[nodiscard]] Result<uint64_t> entries_of(const RawMap& map) const;
    [[nodiscard]] Result<TableUse> use_of(const RawMap& map) const;
    using Shards = std::shared_ptr<const std::vector<Shard>>;
    [[nodiscard]] Result<Shards> shards_of(const RawMap& outer) const;

    /// Opened when first asked for.
    struct OpenShards {
        std::mutex mutex;
        std::map<std::string, Shards> by_name;
    };
    PinDir pins_;
    Tables tables_;
    std::unique_ptr<OpenShards> shards_ = std::make_unique<OpenShards>();
};

}  // namespace weir::datapath
