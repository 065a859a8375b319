// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "lb/plan.h"
#include "model/lb_writes.h"

namespace weir::lb {

/// Which clients the restricted addresses of a Service port admit: owns the table of source ranges.
/// Entries are named by service index. An entry is taken away only when no reader can need it: at
/// once while the port stays restricted, after a grace period once it is not.
class RangeTable {
  public:
    /// `capacity`: max_entries of the kernel's map. One element stays free: kernels before 6.13
    /// want room for two to replace one.
    explicit RangeTable(uint32_t capacity) : capacity_(capacity == 0 ? 0 : capacity - 1) {}

    /// Brings a port's entries to `wanted` (ascending, not empty). `puts` are to be written before
    /// any address is restricted, `erases` after all else; the room of the latter is free once
    /// settle() was called. True: done. False: no room; then only what was there already stays, so
    /// that nobody is admitted who should not be.
    [[nodiscard]] bool set(uint32_t service, std::span<const PlanRange> wanted,
                           std::vector<model::LbWrite>& puts, std::vector<model::LbWrite>& erases);

    /// A port that was restricted and will not be once a transaction is written.
    struct Retired {
        uint32_t service;
        uint64_t stamp;
    };
    /// The port has no ranges any more. Nullopt: it had none, or this is known.
    [[nodiscard]] std::optional<Retired> retire(uint32_t service);
    /// The grace period after retire() has passed: erases, unless the port was restricted again.
    void expire(const Retired& retired, std::vector<model::LbWrite>& writes);

    /// The transaction is complete. True: it makes room.
    bool settle();

    /// What the kernel holds. Entries of indices that `in_use` denies go into `repairs`.
    template <typename InUse>
    void adopt(std::span<const std::pair<weir_range_key, uint32_t>> image, InUse in_use,
               std::vector<model::LbWrite>& repairs) {
        for (const auto& [key, verdict] : image)
            adopt_one(key, verdict, in_use(key.service), repairs);
        for (auto& [service, entry] : entries_)
            sort(entry);
    }

    [[nodiscard]] uint32_t used() const { return used_; }
    [[nodiscard]] uint32_t capacity() const { return capacity_; }

  private:
    struct Entry {
        std::vector<PlanRange> kernel;  ///< ascending; as it is once all is written
        uint64_t stamp = 0;
        bool retired = false;
    };
    void adopt_one(const weir_range_key& key, uint32_t verdict, bool in_use,
                   std::vector<model::LbWrite>& repairs);
    static void sort(Entry& entry);

    uint32_t capacity_;
    uint32_t used_ = 0;
    uint32_t leaving_ = 0;  ///< erased by the transaction in the making
    std::unordered_map<uint32_t, Entry> entries_;
};

/// The key of a range of a Service port.
weir_range_key range_key(uint32_t service, const IpPrefix& prefix);

}  // namespace weir::lb
