// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "model/policy_writes.h"
#include "policy/compiler.h"
#include "policy/native_policy.h"

namespace weir::policy::test {

/// The kernel's maps in memory, read by the datapath's own lookup, with a writer that refuses what
/// would hurt a reader: these tables hold what is in the kernel after any prefix of writes.
class Emulated {
  public:
    explicit Emulated(const Capacities& capacities);

    /// Throws std::logic_error if a reader could see a mixture because of it.
    void write(const model::PolicyWrite& write);
    [[nodiscard]] uint64_t now() const { return clock_; }
    /// Readers that started before this moment have finished.
    void grace(uint64_t moment);

    /// The endpoint's element goes, by others' hand.
    void forget(uint32_t endpoint);

    /// POLICY_ASK_*, by bpf/lib/policy.h.
    int ask(const policy_asked& asked, policy_told& told) const;
    [[nodiscard]] uint64_t word_of(uint32_t endpoint) const;
    [[nodiscard]] size_t addresses() const { return addrs_.size(); }
    [[nodiscard]] size_t rows() const { return rows_.size(); }

    void* lookup(const void* map, const void* key);

  private:
    using Bytes = std::array<unsigned char, 16>;
    using Cidr = std::pair<uint32_t, Bytes>;  ///< bits that do not count first: longest first
    template <typename T>
    static std::array<unsigned char, sizeof(T)> bytes_of(const T& value) {
        std::array<unsigned char, sizeof(T)> out;
        std::memcpy(out.data(), &value, sizeof value);
        return out;
    }
    static Cidr cidr_of(const weir_cidr_key& key);

    void apply(const model::PolicyCellsPut& write);
    void apply(const model::PolicyRulesPut& write);
    void apply(const model::PolicySetPut& write);
    void apply(const model::PolicyRowPut& write);
    void apply(const model::PolicyRowErase& write);
    void apply(const model::PolicyAddrPut& write);
    void apply(const model::PolicyAddrErase& write);
    void apply(const model::PolicyCidrPut& write);
    void apply(const model::PolicyCidrErase& write);
    void apply(const model::PolicySlotStore& write);
    void apply(const model::PolicyEndpointStore& write);
    static void require(bool holds, const std::string& what);
    [[nodiscard]] bool reachable(uint32_t set) const;
    void check_slot(uint32_t slot, uint32_t check, uint32_t wanted) const;

    Capacities capacities_;
    std::map<Bytes, weir_policy_ref> addrs_;
    std::map<Cidr, weir_policy_ref> cidrs_;
    std::vector<uint64_t> slots_;
    std::map<std::array<unsigned char, sizeof(weir_policy_row_key)>, weir_policy_row> rows_;
    std::vector<uint64_t> cells_;
    std::vector<uint64_t> rules_;
    std::vector<weir_policy_set> sets_;
    std::map<uint32_t, uint64_t> endpoints_;
    std::set<uint32_t> epochs_;
    std::vector<std::pair<uint64_t, uint32_t>> dead_sets_;   ///< moment, set
    std::vector<std::pair<uint64_t, uint32_t>> dead_slots_;  ///< moment, slot
    uint64_t clock_ = 1;
};

}  // namespace weir::policy::test
