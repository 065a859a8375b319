// SPDX-License-Identifier: Apache-2.0
// The order of writes within a transaction:
//
//   1. what no reader reaches: backends, slots, new services (and entries of freed indices); source
//      ranges that come
//   2. keys that go, markers of ClusterIPs before the ports on them
//   3. each changed service: its words, then the keys that come to it. A key that moves from one
//      service to another is written after its new one has changed and before its old one does
//   4. markers that come
//   5. source ranges that go while their port stays restricted
//   6. backends that drain
//
// A client that a range admits before or after, and not both, may for a moment be let in to the old
// endpoints; nobody is who is in neither, and nobody refused who is in both.
//
// A new key is written after everything behind it, a key that goes before anything behind it
// changes.
#include <algorithm>
#include <iterator>
#include <unordered_map>

#include "lb/store_order.h"
#include "lb/tables.h"

namespace weir::lb {
namespace {

using Changes = std::vector<VipTable::Change>;

model::VipPut put_of(const VipTable::Change& change) {
    const uint32_t service = change.after.service;
    const uint32_t flags = change.after.flags;
    return {.key = change.key,
            .value = {.service = service,
                      .flags = flags,
                      .check = weir_vip_check(&change.key, service, flags)}};
}

void write_erased(const Changes& vips, std::vector<model::LbWrite>& writes) {
    for (const bool markers : {true, false}) {
        for (const VipTable::Change& change : vips) {
            if (!change.wanted && is_marker(change.key) == markers) {
                writes.emplace_back(model::VipErase{change.key});
            }
        }
    }
}

void write_markers(const Changes& vips, std::vector<model::LbWrite>& writes) {
    for (const VipTable::Change& change : vips) {
        if (change.wanted && is_marker(change.key)) writes.emplace_back(put_of(change));
    }
}

/// A service whose entry changes, or that gets keys.
struct Step {
    size_t position = 0;  ///< in Draft::changed, plus 1; 0: its entry does not change
    std::vector<const VipTable::Change*> gains;
    std::vector<uint32_t> before;  ///< services that lose keys to it: not before it has them
    uint32_t blockers = 0;         ///< services that must come first
};

/// The services in an order that respects `before`. In a circle, where none can, one goes first:
/// then keys it loses show its new endpoints for a moment.
std::vector<uint32_t> sorted(const std::vector<uint32_t>& services,
                             std::unordered_map<uint32_t, Step>& steps) {
    std::vector<uint32_t> order;
    order.reserve(services.size());
    for (const uint32_t service : services) {
        if (steps[service].blockers == 0) order.push_back(service);
    }
    for (size_t i = 0; i < order.size(); ++i) {
        for (const uint32_t next : steps[order[i]].before) {
            if (--steps[next].blockers == 0) order.push_back(next);
        }
    }
    if (order.size() == services.size()) return order;
    std::vector<uint32_t> done = order;
    std::ranges::sort(done);
    for (const uint32_t service : services) {
        if (!std::ranges::binary_search(done, service)) order.push_back(service);
    }
    return order;
}

}  // namespace

void Tables::write_live(const Draft& draft, const std::vector<VipTable::Change>& vips,
                        std::vector<model::LbWrite>& writes) const {
    std::unordered_map<uint32_t, Step> steps;
    std::vector<uint32_t> services;
    const auto step_of = [&](uint32_t service) -> Step& {
        const auto [it, fresh] = steps.try_emplace(service);
        if (fresh) services.push_back(service);
        return it->second;
    };
    for (size_t i = 0; i < draft.changed.size(); ++i) {
        step_of(draft.changed[i].index).position = i + 1;
    }
    for (const VipTable::Change& change : vips) {
        if (!change.wanted || is_marker(change.key)) continue;
        step_of(change.after.service).gains.push_back(&change);
        const auto loser = steps.find(change.before.service);
        if (loser == steps.end() || loser->second.position == 0 ||
            change.before.service == change.after.service) {
            continue;
        }
        ++loser->second.blockers;
        steps[change.after.service].before.push_back(change.before.service);
    }
    for (const uint32_t service : sorted(services, steps)) {
        const Step& step = steps[service];
        if (step.position != 0) {
            const Changed& changed = draft.changed[step.position - 1];
            const bool external =
                changed.external || std::ranges::any_of(ports_[service].vips, [](const auto& vip) {
                    return (vip.flags & WEIR_VIP_EXTERNAL) != 0;
                });
            for (const WordStore& store :
                 order_stores(changed.before, ports_[service].kernel, external)) {
                writes.emplace_back(model::ServiceStore{
                    .index = service, .word = store.word, .value = store.value});
            }
        }
        for (const VipTable::Change* gain : step.gains)
            writes.emplace_back(put_of(*gain));
    }
}

model::LbTransaction Tables::finish(Draft draft) {
    model::LbTransaction out;
    std::vector<model::LbWrite>& writes = out.writes;
    writes = std::move(draft.first);
    if (!repairs_.empty()) {
        writes.insert(writes.begin(), repairs_.begin(), repairs_.end());
        repairs_.clear();
    }
    for (const uint32_t index : draft.created) {
        writes.emplace_back(model::ServicePut{.index = index, .value = ports_[index].kernel});
    }
    const std::vector<VipTable::Change> vips = vips_.flush();
    write_erased(vips, writes);
    write_live(draft, vips, writes);
    write_markers(vips, writes);
    std::ranges::move(draft.last, std::back_inserter(writes));
    const bool room = ranges_.settle() && !waiting_.empty();
    draft.left.drained = backends_.drain(writes);
    const Batch& left = draft.left;
    if (!left.services.empty() || !left.extents.empty() || !left.drained.empty() ||
        !left.freed_backends.empty() || !left.ranges.empty() || room) {
        out.grace = draft.left.token = ++last_token_;
        batches_.push_back(std::move(draft.left));
    }
    return out;
}

model::LbTransaction Tables::grace_elapsed(model::GraceToken token) {
    Draft draft;
    bool freed = false;
    for (; !batches_.empty() && batches_.front().token <= token; batches_.pop_front()) {
        const Batch& batch = batches_.front();
        for (const RangeTable::Retired& retired : batch.ranges)
            ranges_.expire(retired, draft.first);
        clear_services(batch.services, draft.first);
        for (const uint64_t extent : batch.extents)
            slots_.release(extent);
        for (const uint32_t id : batch.freed_backends)
            backends_.release(id);
        backends_.begin_idle(batch.drained);
        freed = true;
    }
    if (freed) retry_waiting(draft);
    return finish(std::move(draft));
}

void Tables::clear_services(const std::vector<uint32_t>& indices,
                            std::vector<model::LbWrite>& writes) {
    for (const uint32_t index : indices) {
        weir_service& kernel = ports_[index].kernel;
        const uint32_t generation = kernel.generation;
        kernel = {};
        kernel.generation = generation;
        writes.emplace_back(model::ServicePut{.index = index, .value = kernel});
        service_pool_.release(index);
    }
}

}  // namespace weir::lb
