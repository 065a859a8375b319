// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lb/tables.h"
#include "model/lb_writes.h"

namespace weir::lb::test {

/// The kernel's five maps in memory, with a reader that trusts nothing and a writer that refuses
/// what would hurt readers: these tables hold what is in the kernel after any prefix of writes.
class Emulated {
  public:
    explicit Emulated(const Capacities& capacities);

    /// One write. Throws std::logic_error if a reader could see a mixture because of it: it
    /// overwrites slots, a service or a backend that a reader reaches, or reached less than a grace
    /// period ago.
    void write(const model::LbWrite& write);
    /// Marks the moment between two transactions; what becomes unreachable afterwards dies later.
    uint64_t now() const { return clock_; }
    /// Readers that started before this moment have finished.
    void grace(uint64_t moment);

    /// From now on the writer may hurt readers.
    void forgive() { strict_ = false; }

    /// What a packet to this key meets: "MISS", "REFUSE" (ClusterIP without such a port), "REJECT",
    /// "DROP", "RANGES" or "LB" and the backends in ascending order; "CORRUPT" and why if the
    /// tables contradict themselves. `near`: the client is a pod of this node or the host.
    /// `client` counts for restricted addresses.
    [[nodiscard]] std::string lookup(const weir_vip_key& key, bool near,
                                     const IpAddress& client = {}) const;
    /// Flags, affinity and port of the Service behind the key, "" if none.
    [[nodiscard]] std::string details(const weir_vip_key& key) const;

    [[nodiscard]] model::LbImage image() const;
    [[nodiscard]] size_t vips() const { return vips_.size(); }
    [[nodiscard]] size_t ranges() const { return ranges_.size(); }
    [[nodiscard]] const std::vector<weir_service>& services() const { return services_; }
    [[nodiscard]] const std::vector<weir_slot>& slots() const { return slots_; }
    [[nodiscard]] std::vector<weir_slot>& slots() { return slots_; }
    [[nodiscard]] std::vector<weir_service>& services() { return services_; }
    [[nodiscard]] const std::vector<weir_backend>& backends() const { return backends_; }
    [[nodiscard]] std::vector<weir_backend>& backends() { return backends_; }
    /// Index of the live service with this id; 0: none.
    [[nodiscard]] uint32_t index_of(uint64_t id) const;
    [[nodiscard]] uint32_t backend_of(const BackendKey& key) const;

  private:
    struct KeyLess {
        bool operator()(const weir_vip_key& a, const weir_vip_key& b) const {
            return key_less(a, b);
        }
    };

    void apply(const model::VipPut& write);
    void apply(const model::VipErase& write);
    void apply(const model::ServicePut& write);
    void apply(const model::ServiceStore& write);
    void apply(const model::SlotsPut& write);
    void apply(const model::BackendPut& write);
    void apply(const model::BackendState& write);
    void apply(const model::RangePut& write);
    void apply(const model::RangeErase& write);
    [[nodiscard]] bool admits(uint32_t service, const IpAddress& client) const;
    [[nodiscard]] bool restricted(uint32_t service) const;
    void retire(const weir_vip& vip);
    void require(bool holds, const std::string& what) const;
    void retire(uint64_t extent);
    [[nodiscard]] bool reachable(uint32_t service) const;
    template <typename Visit>
    void each_visible_extent(Visit visit) const;

    struct RangeLess {
        bool operator()(const weir_range_key& a, const weir_range_key& b) const {
            return std::memcmp(&a, &b, sizeof a) < 0;
        }
    };

    size_t vip_capacity_;
    size_t range_capacity_;
    std::map<weir_vip_key, weir_vip, KeyLess> vips_;
    std::map<weir_range_key, uint32_t, RangeLess> ranges_;
    std::vector<weir_service> services_;
    std::vector<weir_slot> slots_;
    std::vector<weir_backend> backends_;
    /// What readers may still hold, with the moment it became unreachable.
    std::vector<std::pair<uint64_t, uint64_t>> dead_extents_;
    std::vector<std::pair<uint64_t, uint32_t>> dead_services_;
    std::vector<std::pair<uint64_t, uint32_t>> dead_restrictions_;  ///< services
    uint64_t clock_ = 1;
    bool strict_ = true;
};

}  // namespace weir::lb::test
