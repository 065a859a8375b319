// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "weir/endpoint.h"
#include "weir/policy.h"

/// Writes to the policy tables as plain values, so that the compiler and the writer of the kernel's
/// maps need not know each other. A writer applies those of a transaction in their order and keeps
/// it visible (stores into mapped arrays are release stores, each system call comes after the
/// stores before it); it stops at the first that fails.
namespace weir::model {

/// Cells [first, ...) that no row refers to.
struct PolicyCellsPut {
    uint32_t first;
    std::vector<uint64_t> words;
};
/// Rules [first, ...) that no set refers to.
struct PolicyRulesPut {
    uint32_t first;
    std::vector<uint64_t> words;
};
/// A whole entry that no endpoint refers to.
struct PolicySetPut {
    uint32_t index;
    weir_policy_set value;
};
/// Inserts a row (BPF_NOEXIST). A key that went may come again with another value.
struct PolicyRowPut {
    weir_policy_row_key key;
    weir_policy_row value;
};
struct PolicyRowErase {
    weir_policy_row_key key;
};
struct PolicyAddrPut {
    weir_addr key;
    weir_policy_ref value;
};
struct PolicyAddrErase {
    weir_addr key;
};
struct PolicyCidrPut {
    weir_cidr_key key;
    weir_policy_ref value;
};
struct PolicyCidrErase {
    weir_cidr_key key;
};
/// One atomic store of an aligned 64-bit word.
struct PolicySlotStore {
    uint32_t slot;
    uint64_t word;
};
/// One atomic store of an endpoint's policy word.
struct PolicyEndpointStore {
    uint32_t endpoint;
    uint64_t word;
};

using PolicyWrite = std::variant<PolicyCellsPut, PolicyRulesPut, PolicySetPut, PolicyRowPut,
                                 PolicyRowErase, PolicyAddrPut, PolicyAddrErase, PolicyCidrPut,
                                 PolicyCidrErase, PolicySlotStore, PolicyEndpointStore>;

/// A number of the hits now counts for this rule; "": for none, and nobody counts by it any more.
struct PolicyCounter {
    uint32_t number;
    std::string rule;  ///< the same for the same rule of the same policy, also of another agent
};

/// Writes in their order. `grace` other than 0: once all of them are in the kernel and every reader
/// that ran meanwhile has finished (an RCU grace period), the compiler is to be told this token.
struct PolicyTransaction {
    std::vector<PolicyWrite> writes;
    std::vector<PolicyCounter> counters;  ///< in their order; of before the writes
    uint64_t grace = 0;
};

}  // namespace weir::model
