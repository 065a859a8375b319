// SPDX-License-Identifier: Apache-2.0
#include "lb/ranges.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace weir::lb {
namespace {

model::RangePut put_of(uint32_t service, const PlanRange& range) {
    return {.key = range_key(service, range.prefix),
            .verdict = range.admit ? WEIR_RANGE_ADMIT : WEIR_RANGE_REFUSE};
}

bool has_prefix(const std::vector<PlanRange>& ranges, const IpPrefix& prefix) {
    return std::ranges::binary_search(ranges, prefix, {}, &PlanRange::prefix);
}

/// What of `wanted` the kernel has. An exception that is lacking takes with it what it is made to.
std::vector<PlanRange> common(std::span<const PlanRange> wanted,
                              const std::vector<PlanRange>& kernel) {
    std::vector<PlanRange> out;
    std::ranges::set_intersection(wanted, kernel, std::back_inserter(out));
    for (const PlanRange& exception : wanted) {
        if (exception.admit || std::ranges::binary_search(out, exception)) continue;
        std::erase_if(out, [&](const PlanRange& range) {
            return range.prefix.contains(exception.prefix.address());
        });
    }
    return out;
}

/// The prefix of a key; nullopt: no range of ours has it.
std::optional<IpPrefix> prefix_of(const weir_range_key& key) {
    if (key.prefixlen < WEIR_RANGE_SERVICE_BITS) return std::nullopt;
    const IpAddress address(key.addr);
    const uint32_t length = key.prefixlen - WEIR_RANGE_SERVICE_BITS;
    if (address.is_v4() && length < 96) return std::nullopt;
    const auto prefix = IpPrefix::make(address, address.is_v4() ? length - 96 : length);
    if (!prefix || prefix->address() != address) return std::nullopt;
    return *prefix;
}

}  // namespace

weir_range_key range_key(uint32_t service, const IpPrefix& prefix) {
    return {.prefixlen = WEIR_RANGE_SERVICE_BITS + prefix.mapped_length(),
            .service = service,
            .addr = prefix.address().abi()};
}

bool RangeTable::set(uint32_t service, std::span<const PlanRange> wanted,
                     std::vector<model::LbWrite>& puts, std::vector<model::LbWrite>& erases) {
    Entry& entry = entries_[service];
    entry.retired = false;
    ++entry.stamp;
    const auto coming = static_cast<uint32_t>(std::ranges::count_if(
        wanted, [&](const PlanRange& range) { return !has_prefix(entry.kernel, range.prefix); }));
    const bool fits = used_ + coming <= capacity_;
    std::vector<PlanRange> next =
        fits ? std::vector<PlanRange>(wanted.begin(), wanted.end()) : common(wanted, entry.kernel);
    // An exception comes before the range it is made to.
    for (const bool admit : {false, true}) {
        for (const PlanRange& range : next) {
            if (range.admit != admit || std::ranges::binary_search(entry.kernel, range)) continue;
            puts.emplace_back(put_of(service, range));
        }
    }
    for (const bool admit : {true, false}) {
        for (const PlanRange& range : entry.kernel) {
            if (range.admit != admit || has_prefix(next, range.prefix)) continue;
            erases.emplace_back(model::RangeErase{range_key(service, range.prefix)});
            ++leaving_;
        }
    }
    if (fits) used_ += coming;
    entry.kernel = std::move(next);
    return fits;
}

std::optional<RangeTable::Retired> RangeTable::retire(uint32_t service) {
    const auto it = entries_.find(service);
    if (it == entries_.end() || it->second.retired) return std::nullopt;
    it->second.retired = true;
    return Retired{.service = service, .stamp = ++it->second.stamp};
}

void RangeTable::expire(const Retired& retired, std::vector<model::LbWrite>& writes) {
    const auto it = entries_.find(retired.service);
    if (it == entries_.end() || it->second.stamp != retired.stamp) return;
    for (const PlanRange& range : it->second.kernel)
        writes.emplace_back(model::RangeErase{range_key(retired.service, range.prefix)});
    used_ -= static_cast<uint32_t>(it->second.kernel.size());
    entries_.erase(it);
}

bool RangeTable::settle() {
    used_ -= leaving_;
    return std::exchange(leaving_, 0) > 0;
}

void RangeTable::adopt_one(const weir_range_key& key, uint32_t verdict, bool in_use,
                           std::vector<model::LbWrite>& repairs) {
    const auto prefix = prefix_of(key);
    if (!prefix || !in_use) {
        repairs.emplace_back(model::RangeErase{key});
        return;
    }
    entries_[key.service].kernel.push_back(
        {.prefix = *prefix, .admit = verdict == WEIR_RANGE_ADMIT});
    ++used_;
}

void RangeTable::sort(Entry& entry) {
    std::ranges::sort(entry.kernel);
}

}  // namespace weir::lb
