// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lb/id_index.h"
#include "lb/plan.h"
#include "weir/lb.h"

namespace weir::lb {

/// Who answers on which address and port. Several Service ports may claim one key: the most senior
/// has it, the others wait for it. The marker of a ClusterIP belongs to all who claim it.
class VipTable {
  public:
    struct Claim {
        uint32_t service = 0;  ///< index; 0: nobody
        uint32_t flags = 0;    ///< enum weir_vip_flags
    };
    /// True if service index `a` comes before `b`.
    using Senior = std::function<bool(uint32_t a, uint32_t b)>;

    VipTable(uint32_t capacity, Senior senior)
        : capacity_(capacity), senior_(std::move(senior)), entries_(1) {}

    /// The service has no claim on this key yet.
    void claim(const PlanVip& vip, uint32_t service);
    /// It has one.
    void release(const weir_vip_key& key, uint32_t service);

    /// How many of `vips`, all claimed by one service, would need room that is not taken yet.
    [[nodiscard]] uint32_t missing(std::span<const PlanVip> vips) const;
    /// How many of `vips`, all claimed by one service, nobody else claims.
    [[nodiscard]] uint32_t sole(std::span<const PlanVip> vips) const;
    [[nodiscard]] uint32_t used() const { return static_cast<uint32_t>(index_.size()) - vacating_; }
    [[nodiscard]] uint32_t capacity() const { return capacity_; }

    /// A key whose element in the kernel is not what it should be.
    struct Change {
        weir_vip_key key;
        bool present;  ///< the kernel has an element
        Claim before;  ///< its service if present and sound
        bool wanted;   ///< it should have one
        Claim after;   ///< its value then; for a marker service is 0
    };
    /// Everything that changed since the last call; the kernel is taken to follow.
    std::vector<Change> flush();

    /// What the kernel holds and nobody claims yet. Once, on an empty table.
    void adopt(std::span<const std::pair<weir_vip_key, weir_vip>> image);
    /// After adoption: what is still unclaimed is to go.
    void drop_unclaimed();

    struct Conflict {
        weir_vip_key key;
        uint32_t holder;
        uint32_t waiting;
    };
    [[nodiscard]] std::vector<Conflict> conflicts() const;

  private:
    struct Entry {
        weir_vip_key key{};
        Claim kernel;         ///< the element's value
        Claim owner;          ///< who is to have it
        uint32_t claims = 0;  ///< owner and those who wait, or all of a marker
        bool present = false;
        bool sound = false;  ///< the element's check word is right
        bool touched = false;
    };

    [[nodiscard]] uint32_t find(const weir_vip_key& key) const;
    uint32_t create(const weir_vip_key& key);
    void discard(uint32_t id);
    void touch(uint32_t id);
    void promote(uint32_t id);
    [[nodiscard]] auto hash_of() const;

    uint32_t capacity_;
    Senior senior_;
    std::vector<Entry> entries_;
    std::vector<uint32_t> free_;
    IdIndex index_;
    std::unordered_map<uint32_t, std::vector<Claim>> waiting_;  ///< by entry
    std::vector<uint32_t> touched_;
    uint32_t vacating_ = 0;  ///< touched entries without a claim
};

}  // namespace weir::lb
