// SPDX-License-Identifier: Apache-2.0
// What an earlier agent left in the kernel, made one's own.
#include <algorithm>
#include <utility>

#include "lb/tables.h"

namespace weir::lb {

void Tables::adopt(const model::LbImage& image) {
    adopting_ = true;
    backends_.adopt(std::span(image.backends)
                        .first(std::min<size_t>(image.backends.size(), capacities_.backends)));
    vips_.adopt(image.vips);
    std::vector<bool> reached(image.services.size());
    for (const auto& [key, value] : image.vips) {
        const bool sound = value.check == weir_vip_check(&key, value.service, value.flags);
        if (sound && value.service < reached.size()) reached[value.service] = true;
    }
    size_t top = std::min<size_t>(image.services.size(), capacities_.services);
    const auto blank = [&](size_t index) {
        const weir_service& value = image.services[index];
        return !reached[index] && value.id == 0 && value.generation == 0;
    };
    while (top > 1 && blank(top - 1))
        --top;
    ports_.resize(std::max<size_t>(top, 1));
    std::vector<bool> used(ports_.size());
    // Entries that packets reach come first: where two claim the same, theirs is the live one.
    for (const bool wanted : {true, false}) {
        for (uint32_t index = 1; index < ports_.size(); ++index) {
            if (reached[index] != wanted) continue;
            adopt_service(index, image, wanted);
            used[index] = ports_[index].id != 0;
        }
    }
    service_pool_.restart(used);
    ranges_.adopt(
        image.ranges, [&](uint32_t index) { return index < used.size() && used[index]; }, repairs_);
}

void Tables::adopt_service(uint32_t index, const model::LbImage& image, bool reached) {
    Port& port = ports_[index];
    port.kernel = image.services[index];
    const bool in_use = (port.kernel.flags & WEIR_SVC_IN_USE) != 0 && port.kernel.id != 0;
    if (!in_use && !reached) {
        // Nothing looks at it: its next owner writes it whole.
        const uint32_t generation = port.kernel.generation;
        port.kernel = {};
        port.kernel.generation = generation;
        return;
    }
    // One that packets reach though it is not in use keeps its index until they do not.
    port.id = in_use ? port.kernel.id : ~uint64_t{0};
    if (in_use && index_of(port.id) == 0)
        by_id_.insert(index, [this](uint32_t i) { return ports_[i].id; });
    for (unsigned scope = 0; scope < WEIR_SCOPES; ++scope) {
        const uint64_t extent = port.kernel.extent[scope];
        port.intact[scope] = sound_extent(extent, image) && slots_.adopt(extent, image.slots);
        if (port.intact[scope]) backends_.ref(slots_.backends(extent), repairs_);
    }
}

/// Every slot carries the extent's tag and a known backend, with that one's address and port.
bool Tables::sound_extent(uint64_t extent, const model::LbImage& image) const {
    const uint32_t count = WEIR_EXTENT_COUNT(extent);
    if (count == 0) return extent == 0;
    const uint32_t first = WEIR_EXTENT_FIRST(extent);
    if (first == 0 || uint64_t{first} + count > image.slots.size()) return false;
    return std::ranges::all_of(
        std::span(image.slots).subspan(first, count), [&](const weir_slot& slot) {
            return slot.tag == WEIR_EXTENT_TAG(extent) && backends_.agrees(slot);
        });
}

model::LbTransaction Tables::finish_adoption() {
    Draft draft;
    adopting_ = false;
    for (const uint32_t index : std::exchange(retire_later_, {}))
        retire_ranges(index, draft);
    for (uint32_t index = 1; index < ports_.size(); ++index) {
        if (ports_[index].id != 0 && ports_[index].name.service.name.empty())
            remove_port(index, draft);
    }
    vips_.drop_unclaimed();
    backends_.idle_unreferenced(draft.first);
    retry_waiting(draft);
    return finish(std::move(draft));
}

}  // namespace weir::lb
