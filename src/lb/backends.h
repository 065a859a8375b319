// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "lb/id_index.h"
#include "lb/id_pool.h"
#include "lb/plan.h"
#include "model/lb_writes.h"
#include "weir/lb.h"

namespace weir::lb {

struct BackendKey {
    weir_addr addr;
    __be16 port;
    uint8_t proto;
    uint8_t pad;
};
BackendKey backend_key(const PlanBackend& backend, model::Protocol protocol);

/// What is known of an address that stands in no extent any more.
enum class AddressUse : uint8_t {
    kEndpoint,  ///< still an endpoint of some Service, only not selected: it drains
    kOwned,     ///< no endpoint, but a live pod or host has it
    kNobody,
};
using AddressUseOf = std::function<AddressUse(const IpAddress&, uint16_t port, model::Protocol)>;

/// Backend ids. One id for one (address, port, protocol), whichever Services use it; it is kept for
/// as long as a flow may refer to it:
///
///   in an extent                                        READY
///   left its last extent, is still an endpoint          DRAINING  flows live on
///   is no endpoint, a live pod owns the address         REMOVED   flows live on (relabelled pod)
///   nobody owns the address                             GONE      flows are cut
///   GONE for `linger` seconds                           FREE, then the id is given away again
///
/// An address that returns before that gets its id back, READY, from any of these states. GONE does
/// not become REMOVED: who owns the address now is somebody else.
class BackendTable {
  public:
    explicit BackendTable(uint32_t capacity) : pool_(capacity), entries_(1) {}

    /// 0: unknown.
    [[nodiscard]] uint32_t find(const BackendKey& key) const;
    /// A new id for a key that has none, with no references yet, and its write; 0: exhausted.
    [[nodiscard]] uint32_t create(const BackendKey& key, std::vector<model::LbWrite>& writes);
    /// Undoes the last creates, before their writes were handed out.
    void uncreate(uint32_t id);

    /// Backends of an extent that is about to be live; writes READY where they were not.
    void ref(std::span<const uint32_t> ids, std::vector<model::LbWrite>& writes);
    /// Backends of an extent that no new lookup sees.
    void unref(std::span<const uint32_t> ids);
    /// READY backends that have lost their last reference since the last call: writes DRAINING and
    /// returns their ids.
    std::vector<uint32_t> drain(std::vector<model::LbWrite>& writes);

    /// A grace period after drain: their further life may begin.
    void begin_idle(std::span<const uint32_t> ids);
    /// Moves idle backends on by the rule above; returns the ids that became FREE. `now` and
    /// `linger` in seconds.
    std::vector<uint32_t> age(uint64_t now, uint64_t linger, const AddressUseOf& use,
                              std::vector<model::LbWrite>& writes);
    /// A grace period after FREE was written.
    void release(uint32_t id) { pool_.release(id); }

    /// Takes over the kernel's array. Only once, on an empty table.
    void adopt(std::span<const weir_backend> image);
    /// What a slot of an extent with this tag holds for a backend.
    [[nodiscard]] weir_slot slot(uint32_t id, uint32_t tag) const;
    /// True if the id is one that a slot may hold, and the slot says of it what is so.
    [[nodiscard]] bool agrees(const weir_slot& slot) const;
    /// After adoption: what no extent refers to becomes idle.
    void idle_unreferenced(std::vector<model::LbWrite>& writes);

    [[nodiscard]] uint32_t used() const { return pool_.in_use(); }

  private:
    struct Entry {
        BackendKey key{};
        uint32_t generation = 0;
        uint32_t refs = 0;
        uint8_t state = WEIR_BACKEND_FREE;  ///< as in the kernel
        bool idle = false;                  ///< listed in idle_
    };
    struct Idle {
        uint32_t id;
        uint64_t gone_since;
    };

    void set_state(uint32_t id, weir_backend_state state, std::vector<model::LbWrite>& writes);
    [[nodiscard]] bool expire(Idle& idle, uint64_t now, uint64_t linger, const AddressUseOf& use,
                              std::vector<model::LbWrite>& writes);
    [[nodiscard]] auto hash_of() const;

    IdPool pool_;
    std::vector<Entry> entries_;
    IdIndex index_;
    std::vector<uint32_t> unreferenced_;
    std::vector<Idle> idle_;
};

}  // namespace weir::lb
