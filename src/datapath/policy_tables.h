// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/result.h"
#include "datapath/bpf_object.h"
#include "datapath/map.h"
#include "datapath/pins.h"
#include "weir/endpoint.h"
#include "weir/policy.h"

namespace weir::datapath {

/// Capacities of the tables of policy, elements; 0: as the BPF objects say.
struct PolicySizes {
    uint32_t addrs = 0;
    uint32_t cidrs = 0;
    uint32_t rows = 0;
    uint32_t cells = 0;
    uint32_t rules = 0;
    uint32_t sets = 0;
    uint32_t counters = 0;
};

/// The maps of policy that one load of the programs has of its own: empty at first. They live as
/// long as the programs, whatever becomes of this object.
class PolicyMaps {
  public:
    /// Sets the capacities in an object that is not loaded yet.
    static Result<void> set_sizes(BpfObject& object, const PolicySizes& sizes);
    /// Those that the object made when it was loaded.
    static Result<PolicyMaps> of(BpfObject& object);
    /// Those of the programs in `bank`, by their pins, for reading only.
    static Result<PolicyMaps> open_read_only(const PinDir& pins, uint32_t bank);

    /// Makes an opened object use these maps in place of its own.
    Result<void> lend_to(BpfObject& object) const;
    /// Pins them as those of `bank`, in place of any that were pinned so.
    Result<void> pin_as(const PinDir& pins, uint32_t bank) const;
    /// True: there were some.
    static Result<bool> unpin(const PinDir& pins, uint32_t bank);

    [[nodiscard]] Result<Fd> duplicate(std::string_view name) const;
    /// Kernel memory charged for one of them, bytes.
    [[nodiscard]] Result<uint64_t> memory(std::string_view name) const;

  private:
    std::map<std::string, RawMap, std::less<>> maps_;
};

/// The same, typed.
struct PolicyTables {
    HashMap<weir_addr, weir_policy_ref> addrs;
    LpmMap<weir_cidr_key, weir_policy_ref> cidrs;
    ArrayMap<uint64_t> slots;
    HashMap<weir_policy_row_key, weir_policy_row> rows;
    ArrayMap<uint64_t> cells;
    ArrayMap<uint64_t> rules;
    ArrayMap<weir_policy_set> sets;
    PercpuArray<weir_policy_hits> hits;

    static Result<PolicyTables> of(const PolicyMaps& maps, bool writable = true);
};

}  // namespace weir::datapath
