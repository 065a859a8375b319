// SPDX-License-Identifier: Apache-2.0
#include "ipam/pool.h"

#include <algorithm>

namespace weir::ipam {

Result<void> Pool::set_ranges(const std::vector<IpPrefix>& prefixes) {
    std::vector<Held> ranges;
    for (const IpPrefix& prefix : prefixes) {
        Range range = WEIR_TRY(Range::make(prefix));
        for (const Held& other : ranges) {
            if (!range.overlaps(other.range)) continue;
            return fail(Errc::kInvalid, "ranges {} and {} overlap",
                        other.range.prefix().to_string(), prefix.to_string());
        }
        const auto same = std::find_if(ranges_.begin(), ranges_.end(), [&](const Held& held) {
            return held.range.prefix() == prefix;
        });
        const Number cursor = same != ranges_.end() ? same->cursor : range.first();
        ranges.push_back({.range = range, .occupied = {}, .cursor = cursor});
    }
    ranges_ = std::move(ranges);
    current_ = 0;
    for (const IpAddress& address : used_)
        occupy(address);
    for (const auto& [when, address] : resting_)
        occupy(address);
    return {};
}

std::vector<IpAddress> Pool::routers() const {
    std::vector<IpAddress> routers;
    for (const Held& held : ranges_)
        routers.push_back(held.range.router());
    return routers;
}

Pool::Held* Pool::holding(const IpAddress& address) {
    const Number number = to_number(address);
    for (Held& held : ranges_) {
        if (held.range.allocatable(number)) return &held;
    }
    return nullptr;
}

void Pool::occupy(const IpAddress& address) {
    if (Held* held = holding(address)) held->occupied.insert(to_number(address));
}

void Pool::wake(const IpAddress& address) {
    const auto at = resting_index_.find(address);
    if (at == resting_index_.end()) return;
    resting_.erase(at->second);
    resting_index_.erase(at);
    if (Held* held = holding(address)) held->occupied.erase(to_number(address));
}

void Pool::wake_rested(BootTime now) {
    while (!resting_.empty() && resting_.begin()->first + rest_.wanted <= now) {
        wake(IpAddress(resting_.begin()->second));
    }
}

// From where the last search ended to the end of that range, through the other ranges, and what is
// before that place last.
std::optional<Number> Pool::next_free() {
    for (size_t step = 0; step <= ranges_.size(); ++step) {
        const size_t index = (current_ + step) % ranges_.size();
        const Held& held = ranges_[index];
        const Number from = step == 0 ? held.cursor : held.range.first();
        if (!held.range.allocatable(from)) continue;  // the cursor is past the end
        if (const auto found = held.occupied.first_gap(from, held.range.last())) {
            current_ = index;
            return found;
        }
    }
    return std::nullopt;
}

Result<IpAddress> Pool::take(BootTime now) {
    if (ranges_.empty()) {
        return fail(Errc::kUnavailable, "the node has no {} podCIDR",
                    family_ == Family::kIpv4 ? "IPv4" : "IPv6");
    }
    wake_rested(now);
    auto found = next_free();
    if (!found) {
        const auto oldest = std::find_if(resting_.begin(), resting_.end(), [&](const auto& entry) {
            return holding(entry.second) != nullptr;
        });
        if (oldest != resting_.end() && oldest->first + rest_.least <= now) {
            const IpAddress address = oldest->second;
            wake(address);
            found = to_number(address);
        }
    }
    if (!found) {
        const PoolStats now_used = stats();
        return fail(Errc::kExhausted,
                    "{} is exhausted: {} addresses, {} in use, {} released less than "
                    "{} s ago; give the node a larger or a further podCIDR, or remove pods",
                    describe(), to_string(now_used.size), now_used.used, now_used.resting,
                    std::chrono::ceil<std::chrono::seconds>(rest_.least).count());
    }
    const IpAddress address = to_address(*found);
    used_.insert(address);
    occupy(address);
    resume_after(address);
    return address;
}

Result<void> Pool::take_exact(const IpAddress& address) {
    Held* held = holding(address);
    if (held == nullptr) {
        return fail(Errc::kInvalid, "address {} is none a pod can have from the {}",
                    address.to_string(), describe());
    }
    if (used_.contains(address)) {
        return fail(Errc::kExists, "address {} is in use", address.to_string());
    }
    wake(address);
    used_.insert(address);
    held->occupied.insert(to_number(address));
    return {};
}

bool Pool::adopt(const IpAddress& address) {
    if (!used_.insert(address).second) return false;
    wake(address);
    occupy(address);
    return true;
}

void Pool::undo_take(const IpAddress& address) {
    if (used_.erase(address) == 0) return;
    if (Held* held = holding(address)) held->occupied.erase(to_number(address));
}

void Pool::give_back(const IpAddress& address, BootTime released) {
    if (used_.erase(address) == 0) return;
    rest(address, released);
}

void Pool::rest(const IpAddress& address, BootTime released) {
    if (used_.contains(address)) return;
    wake(address);
    resting_index_[address] = resting_.emplace(released, address);
    occupy(address);
}

void Pool::resume_after(const IpAddress& address) {
    Held* held = holding(address);
    if (held == nullptr) return;
    current_ = static_cast<size_t>(held - ranges_.data());
    held->cursor = to_number(address) + 1;  // one past the last: the search goes to the next range
}

PoolStats Pool::stats() const {
    PoolStats stats;
    for (const Held& held : ranges_)
        stats.size += held.range.size();
    for (const IpAddress& address : used_) {
        const bool inside = std::any_of(ranges_.begin(), ranges_.end(), [&](const Held& held) {
            return held.range.allocatable(to_number(address));
        });
        ++(inside ? stats.used : stats.stranded);
    }
    stats.resting = resting_.size();
    return stats;
}

std::string Pool::describe() const {
    std::string text = family_ == Family::kIpv4 ? "IPv4 pool" : "IPv6 pool";
    for (size_t i = 0; i < ranges_.size(); ++i) {
        text += (i == 0 ? " " : ",") + ranges_[i].range.prefix().to_string();
    }
    return text;
}

}  // namespace weir::ipam
