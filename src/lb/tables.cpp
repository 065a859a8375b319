// SPDX-License-Identifier: Apache-2.0
#include "lb/tables.h"

#include <algorithm>
#include <cassert>
#include <tuple>

#include <arpa/inet.h>

#include "lb/store_order.h"

namespace weir::lb {
namespace {

/// The VIPs of `from` whose keys, or values, are not in `other`. Both ascending.
std::vector<PlanVip> difference(const std::vector<PlanVip>& from, const std::vector<PlanVip>& other,
                                bool by_value) {
    std::vector<PlanVip> out;
    for (const PlanVip& vip : from) {
        const auto it = std::ranges::lower_bound(other, vip.key, key_less, &PlanVip::key);
        const bool same_key = it != other.end() && key_equal(it->key, vip.key);
        if (!same_key || (by_value && it->flags != vip.flags)) out.push_back(vip);
    }
    return out;
}

bool has_external(const std::vector<PlanVip>& vips) {
    return std::ranges::any_of(
        vips, [](const PlanVip& vip) { return (vip.flags & WEIR_VIP_EXTERNAL) != 0; });
}

}  // namespace

Tables::Tables(Capacities capacities)
    : capacities_(capacities),
      service_pool_(capacities.services),
      ports_(1),
      slots_(capacities.slots),
      backends_(capacities.backends),
      vips_(capacities.vips, [this](uint32_t a, uint32_t b) { return senior(a, b); }),
      ranges_(capacities.ranges) {}

/// Oldest Service first; an unknown age is the youngest; then by name, which no two share.
bool Tables::senior(uint32_t a, uint32_t b) const {
    const Port& first = ports_[a];
    const Port& second = ports_[b];
    if (first.created.empty() != second.created.empty()) return second.created.empty();
    return std::tie(first.created, first.name) < std::tie(second.created, second.name);
}

auto Tables::id_hash() const {
    return [this](uint32_t index) { return ports_[index].id; };
}

uint32_t Tables::index_of(uint64_t id) const {
    return by_id_.find(id, [&](uint32_t index) { return ports_[index].id == id; });
}

model::LbTransaction Tables::apply(Changes changes) {
    Draft draft;
    const uint32_t vips_before = vips_.used();
    for (const uint64_t id : changes.removed) {
        waiting_.erase(id);
        if (const uint32_t index = index_of(id)) remove_port(index, draft);
    }
    for (ServicePortPlan& plan : changes.upserts)
        upsert(std::move(plan), draft);
    if (vips_.used() < vips_before) retry_waiting(draft);
    return finish(std::move(draft));
}

void Tables::upsert(ServicePortPlan plan, Draft& draft) {
    const uint64_t id = plan.id;
    Waiting port{.plan = std::move(plan), .why = {}};
    upsert_or_wait(port, draft);
    if (!port.why.empty()) {
        waiting_[id] = std::move(port);
    } else if (!waiting_.empty()) {
        waiting_.erase(id);
    }
}

void Tables::retry_waiting(Draft& draft) {
    for (auto it = waiting_.begin(); it != waiting_.end();) {
        upsert_or_wait(it->second, draft);
        it = it->second.why.empty() ? waiting_.erase(it) : std::next(it);
    }
}

/// Leaves `why` empty if all is done.
void Tables::upsert_or_wait(Waiting& port, Draft& draft) {
    const auto done = try_upsert(port.plan, draft);
    port.closed = done && !*done;
    port.why.clear();
    if (!done) {
        port.why = done.error().message();
    } else if (port.closed) {
        port.why = fmt::format("the table of source ranges is full: {} of {}, {} needed in all",
                               ranges_.used(), ranges_.capacity(), port.plan.ranges.size());
    }
}

Result<bool> Tables::try_upsert(const ServicePortPlan& plan, Draft& draft) {
    uint32_t index = index_of(plan.id);
    const Port* current = index != 0 ? &ports_[index] : nullptr;
    if (current != nullptr && !current->name.service.name.empty() && current->name != plan.name) {
        return fail(Errc::kExists, "its id {:#x} is also that of {}; rename the port of one",
                    plan.id, current->name.to_string());
    }
    WEIR_CHECK(check_vips(plan, current));
    if (current == nullptr && service_pool_.in_use() + 1 >= capacities_.services) {
        return fail(Errc::kExhausted,
                    "the table of Service ports is full: {} of {}, 1 needed (see --max-services)",
                    service_pool_.in_use(), capacities_.services - 1);
    }
    const Placement placement = WEIR_TRY(place(plan, current, draft));
    if (index == 0) index = create_port(plan.id, draft);
    commit(plan, index, placement, draft);
    return commit_ranges(plan, index, draft);
}

Result<void> Tables::check_vips(const ServicePortPlan& plan, const Port* current) const {
    uint32_t need = 0;
    uint32_t leaving = 0;
    if (current == nullptr) {
        need = vips_.missing(plan.vips);
    } else {
        need = vips_.missing(difference(plan.vips, current->vips, false));
        leaving = vips_.sole(difference(current->vips, plan.vips, false));
    }
    if (vips_.used() + need <= vips_.capacity() + leaving) return {};
    return fail(Errc::kExhausted,
                "the table of Service addresses is full: {} of {}, {} needed (see --max-services)",
                vips_.used(), vips_.capacity(), need);
}

Result<Tables::Placement> Tables::place(const ServicePortPlan& plan, const Port* current,
                                        Draft& draft) {
    const size_t mark = draft.first.size();
    Placement placement;
    for (unsigned scope = 0; scope < WEIR_SCOPES; ++scope) {
        auto placed = place_scope(plan, current, scope, placement, draft);
        if (placed) continue;
        undo(placement);
        draft.first.resize(mark);
        return Failure(std::move(placed).error());
    }
    return placement;
}

Result<std::vector<uint32_t>> Tables::resolve(const std::vector<PlanBackend>& wanted,
                                              model::Protocol protocol, Placement& placement,
                                              Draft& draft) {
    std::vector<uint32_t> ids;
    ids.reserve(wanted.size());
    for (const PlanBackend& backend : wanted) {
        const BackendKey key = backend_key(backend, protocol);
        uint32_t id = backends_.find(key);
        if (id == 0) {
            id = backends_.create(key, draft.first);
            if (id == 0) {
                return fail(Errc::kExhausted,
                            "the table of backends is full: {} of {}, {} needed in all (see "
                            "--max-backends)",
                            backends_.used(), capacities_.backends - 1, wanted.size());
            }
            placement.created.push_back(id);
        }
        ids.push_back(id);
    }
    std::ranges::sort(ids);
    return ids;
}

Result<void> Tables::place_scope(const ServicePortPlan& plan, const Port* current, unsigned scope,
                                 Placement& placement, Draft& draft) {
    const std::vector<PlanBackend>& wanted = plan.backends[scope];
    if (wanted.size() > kMaxExtent) {
        return fail(Errc::kExhausted, "{} endpoints; a Service port has {} at most", wanted.size(),
                    kMaxExtent);
    }
    const auto ids = WEIR_TRY(resolve(wanted, plan.protocol, placement, draft));
    if (current != nullptr && current->intact[scope] &&
        std::ranges::equal(ids, slots_.backends(current->kernel.extent[scope]))) {
        placement.extent[scope] = current->kernel.extent[scope];
        return {};
    }
    const auto extent = slots_.place(ids);
    if (!extent) {
        return fail(Errc::kExhausted,
                    "the table of slots has no room: {} of {} used, a block of {} needed",
                    slots_.used(), slots_.capacity(),
                    1U << Buddy::order_for(static_cast<uint32_t>(ids.size())));
    }
    placement.extent[scope] = *extent;
    placement.fresh[scope] = true;
    return {};
}

void Tables::undo(const Placement& placement) {
    for (unsigned scope = 0; scope < WEIR_SCOPES; ++scope) {
        if (placement.fresh[scope]) slots_.release(placement.extent[scope]);
    }
    for (auto id = placement.created.rbegin(); id != placement.created.rend(); ++id) {
        backends_.uncreate(*id);
    }
}

uint32_t Tables::create_port(uint64_t id, Draft& draft) {
    const uint32_t index = service_pool_.allocate();
    if (index >= ports_.size()) ports_.resize(size_t{index} + 1);
    Port& port = ports_[index];
    const uint32_t generation = port.kernel.generation + 1;
    port = Port();
    port.id = id;
    port.kernel.generation = generation;
    by_id_.insert(index, id_hash());
    draft.created.push_back(index);
    if (draft.listed.size() <= index) draft.listed.resize(size_t{index} + 1);
    draft.listed[index] = true;
    return index;
}

void Tables::note_change(uint32_t index, Draft& draft) {
    if (draft.listed.size() <= index) draft.listed.resize(size_t{index} + 1);
    if (draft.listed[index]) return;
    draft.listed[index] = true;
    draft.changed.push_back({.index = index,
                             .before = ports_[index].kernel,
                             .external = has_external(ports_[index].vips)});
}

void Tables::commit(const ServicePortPlan& plan, uint32_t index, const Placement& placement,
                    Draft& draft) {
    Port& port = ports_[index];
    weir_service next{};
    next.extent[WEIR_SCOPE_CLUSTER] = placement.extent[WEIR_SCOPE_CLUSTER];
    next.extent[WEIR_SCOPE_LOCAL] = placement.extent[WEIR_SCOPE_LOCAL];
    next.flags = plan.flags;
    next.algorithm = static_cast<uint8_t>(plan.algorithm);
    next.proto = static_cast<uint8_t>(plan.protocol);
    next.port = htons(plan.port);
    next.affinity_seconds = plan.affinity_seconds;
    next.generation = port.kernel.generation;
    next.id = plan.id;
    for (unsigned word = 0; word < kServiceWords; ++word) {
        if (service_word(next, word) != service_word(port.kernel, word)) {
            note_change(index, draft);
            break;
        }
    }
    for (unsigned scope = 0; scope < WEIR_SCOPES; ++scope) {
        if (placement.fresh[scope]) commit_extent(port, scope, placement.extent[scope], draft);
    }
    port.kernel = next;
    commit_vips(plan, index);
}

void Tables::commit_extent(Port& port, unsigned scope, uint64_t extent, Draft& draft) {
    const std::span<const uint32_t> ids = slots_.backends(extent);
    backends_.ref(ids, draft.first);
    if (!ids.empty()) {
        model::SlotsPut put{.first = WEIR_EXTENT_FIRST(extent), .slots = {}};
        put.slots.reserve(ids.size());
        for (const uint32_t id : ids)
            put.slots.push_back(backends_.slot(id, WEIR_EXTENT_TAG(extent)));
        draft.first.emplace_back(std::move(put));
    }
    const uint64_t old = port.kernel.extent[scope];
    if (port.intact[scope] && WEIR_EXTENT_COUNT(old) != 0) {
        backends_.unref(slots_.backends(old));
        draft.left.extents.push_back(old);
    }
    port.intact[scope] = true;
}

void Tables::commit_vips(const ServicePortPlan& plan, uint32_t index) {
    Port& port = ports_[index];
    // Seniority is part of a claim: it does not change while one is held.
    const bool same_rank = port.name == plan.name && port.created == plan.created;
    const auto release = same_rank ? difference(port.vips, plan.vips, true) : port.vips;
    const auto claim = same_rank ? difference(plan.vips, port.vips, true) : plan.vips;
    for (const PlanVip& vip : release)
        vips_.release(vip.key, index);
    port.name = plan.name;
    port.created = plan.created;
    for (const PlanVip& vip : claim)
        vips_.claim(vip, index);
    port.vips = plan.vips;
}

bool Tables::commit_ranges(const ServicePortPlan& plan, uint32_t index, Draft& draft) {
    if (plan.ranges.empty()) {
        retire_ranges(index, draft);
        return true;
    }
    std::erase(retire_later_, index);
    return ranges_.set(index, plan.ranges, draft.first, draft.last);
}

void Tables::retire_ranges(uint32_t index, Draft& draft) {
    if (adopting_) {
        retire_later_.push_back(index);
    } else if (const auto retired = ranges_.retire(index)) {
        draft.left.ranges.push_back(*retired);
    }
}

void Tables::remove_port(uint32_t index, Draft& draft) {
    Port& port = ports_[index];
    retire_ranges(index, draft);
    for (const PlanVip& vip : port.vips)
        vips_.release(vip.key, index);
    for (unsigned scope = 0; scope < WEIR_SCOPES; ++scope) {
        const uint64_t extent = port.kernel.extent[scope];
        if (!port.intact[scope] || WEIR_EXTENT_COUNT(extent) == 0) continue;
        backends_.unref(slots_.backends(extent));
        draft.left.extents.push_back(extent);
    }
    by_id_.erase(index, id_hash());
    draft.left.services.push_back(index);
    const weir_service kernel = port.kernel;
    port = Port();
    port.kernel = kernel;
}

model::LbTransaction Tables::age(uint64_t now, uint64_t linger, const AddressUseOf& use) {
    Draft draft;
    draft.left.freed_backends = backends_.age(now, linger, use, draft.first);
    return finish(std::move(draft));
}

std::vector<Problem> Tables::problems() const {
    std::vector<Problem> out;
    for (const auto& [id, waiting] : waiting_) {
        const bool old = index_of(id) != 0;
        if (waiting.closed) {
            out.push_back({.cause = Problem::Cause::kRangesNoRoom,
                           .name = waiting.plan.name,
                           .text = fmt::format("its load-balancer addresses admit nobody but who "
                                               "was admitted before: {}; tried again when room is "
                                               "made",
                                               waiting.why)});
            continue;
        }
        out.push_back(
            {.cause = Problem::Cause::kNoRoom,
             .name = waiting.plan.name,
             .text = fmt::format("not programmed{}: {}; tried again when room is made",
                                 old ? ", its former state stays in force" : "", waiting.why)});
    }
    for (const VipTable::Conflict& conflict : vips_.conflicts()) {
        out.push_back({.cause = Problem::Cause::kAddressTaken,
                       .name = ports_[conflict.waiting].name,
                       .text = fmt::format("does not answer on {}: {} is older and has it",
                                           describe(conflict.key),
                                           ports_[conflict.holder].name.to_string())});
    }
    return out;
}

std::vector<TableUse> Tables::usage() const {
    return {
        {.table = "vips", .used = vips_.used(), .capacity = vips_.capacity()},
        {.table = "services", .used = service_pool_.in_use(), .capacity = capacities_.services - 1},
        {.table = "slots", .used = slots_.used(), .capacity = slots_.capacity()},
        {.table = "backends", .used = backends_.used(), .capacity = capacities_.backends - 1},
        {.table = "ranges", .used = ranges_.used(), .capacity = ranges_.capacity()}};
}

std::optional<PortName> Tables::name_of(uint32_t service) const {
    if (service >= ports_.size() || ports_[service].name.service.name.empty()) return std::nullopt;
    return ports_[service].name;
}

void Tables::for_each_name(const std::function<void(uint32_t, const PortName&)>& visit) const {
    for (uint32_t index = 1; index < ports_.size(); ++index) {
        if (!ports_[index].name.service.name.empty()) visit(index, ports_[index].name);
    }
}

}  // namespace weir::lb
