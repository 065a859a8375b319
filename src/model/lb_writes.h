// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "weir/lb.h"

/// Writes to the load-balancing tables as plain values, so that the planner and the writer of the
/// kernel's maps need not know each other.
///
/// A writer applies the writes of a transaction one after the other and keeps their order visible:
/// stores into mapped arrays are release stores, each system call comes after the stores before it.
/// After every prefix each lookup gives the old or the new answer. It stops at the first write that
/// fails; the tables must then be adopted again from what the kernel holds.
namespace weir::model {

/// Inserts the key, or replaces its element (BPF_ANY: the kernel links a new element before it
/// unlinks the old one; a value is never rewritten in place). While that happens a reader of the
/// same chain may, rarely, find neither.
struct VipPut {
    weir_vip_key key;
    weir_vip value;
};

/// Deletes the key; that it is absent already is no failure.
struct VipErase {
    weir_vip_key key;
};

/// Writes a whole entry that no reader reaches: no address points to it.
struct ServicePut {
    uint32_t index;
    weir_service value;
};

/// Replaces one aligned 64-bit word of a live entry by one atomic store.
struct ServiceStore {
    uint32_t index;
    uint32_t word;  ///< offset / 8 in weir_service
    uint64_t value;
};

/// Writes slots [first, first + slots.size()) of an extent that is not live yet: of each the word
/// {backend, tag} is cleared first and written last.
struct SlotsPut {
    uint32_t first;
    std::vector<weir_slot> slots;
};

/// Writes a whole entry that no slot refers to; `state` last.
struct BackendPut {
    uint32_t id;
    weir_backend value;
};

/// Replaces the state byte of an entry.
struct BackendState {
    uint32_t id;
    weir_backend_state state;
};

/// Admits clients of a prefix to a Service port's restricted addresses, or not. Replaces the
/// element if there is one.
struct RangePut {
    weir_range_key key;
    weir_range_verdict verdict;
};

/// Deletes the key; that it is absent already is no failure.
struct RangeErase {
    weir_range_key key;
};

using LbWrite = std::variant<VipPut, VipErase, ServicePut, ServiceStore, SlotsPut, BackendPut,
                             BackendState, RangePut, RangeErase>;

/// Names a grace period to wait for; later ones are greater. 0: none.
using GraceToken = uint64_t;

/// Writes in their order. `grace` other than 0: once all of them are in the kernel and every reader
/// that ran meanwhile has finished (an RCU grace period), the planner is to be told this token, and
/// may then reuse what the writes made unreachable. Nobody blocks for it.
struct LbTransaction {
    std::vector<LbWrite> writes;
    GraceToken grace = 0;
};

/// What the kernel's maps hold: copies of the arrays from index 0, every VIP and source range.
struct LbImage {
    std::vector<std::pair<weir_vip_key, weir_vip>> vips;
    std::vector<weir_service> services;
    std::vector<weir_slot> slots;
    std::vector<weir_backend> backends;
    std::vector<std::pair<weir_range_key, uint32_t>> ranges;
};

}  // namespace weir::model
