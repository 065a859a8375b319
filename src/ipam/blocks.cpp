// SPDX-License-Identifier: Apache-2.0
#include "ipam/blocks.h"

#include <algorithm>

namespace weir::ipam {
namespace {

unsigned bits(const IpPrefix& prefix) {
    return prefix.family() == Family::kIpv4 ? 32 : 128;
}

Number first_of(const IpPrefix& prefix) {
    return to_number(prefix.address());
}

Number last_of(const IpPrefix& prefix) {
    const unsigned host = bits(prefix) - prefix.length();
    return host == 128 ? ~Number{0} : first_of(prefix) + ((Number{1} << host) - 1);
}

bool overlap(const IpPrefix& a, const IpPrefix& b) {
    return a.contains(b.address()) || b.contains(a.address());
}

}  // namespace

Result<BlockPool> BlockPool::make(std::vector<IpPrefix> ranges, unsigned block_length) {
    for (size_t i = 0; i < ranges.size(); ++i) {
        const IpPrefix& range = ranges[i];
        if (range.family() != ranges.front().family()) {
            return fail(Errc::kInvalid, "{} and {} are not of one family", range.to_string(),
                        ranges.front().to_string());
        }
        if (range.length() == 0 || range.length() > block_length) {
            return fail(Errc::kInvalid, "{} has no room for a /{}", range.to_string(),
                        block_length);
        }
        // A block must have room for pods.
        WEIR_CHECK(Range::make(WEIR_TRY(IpPrefix::make(range.address(), block_length))));
        for (size_t j = 0; j < i; ++j) {
            if (overlap(range, ranges[j])) {
                return fail(Errc::kInvalid, "{} and {} overlap", range.to_string(),
                            ranges[j].to_string());
            }
        }
    }
    return BlockPool(std::move(ranges), block_length);
}

Number BlockPool::block_size() const {
    return Number{1} << (bits(ranges_.front()) - length_);
}

void BlockPool::taken(const IpPrefix& prefix) {
    if (ranges_.empty() || prefix.family() != ranges_.front().family()) return;
    Number& last = taken_[first_of(prefix)];
    last = std::max(last, last_of(prefix));
}

Result<IpPrefix> BlockPool::pick() const {
    for (const IpPrefix& range : ranges_) {
        Number candidate = first_of(range);
        // What begins earlier may reach into the range.
        for (auto it = taken_.begin(); it != taken_.end(); ++it) {
            const auto& [first, last] = *it;
            if (last < candidate) continue;
            if (first > candidate + (block_size() - 1)) break;
            const Number next = (last / block_size() + 1) * block_size();
            if (next <= candidate || next > last_of(range)) {
                candidate = 0;
                break;
            }
            candidate = next;
        }
        if (candidate != 0) return IpPrefix::make(to_address(candidate), length_);
    }
    return fail(Errc::kExhausted,
                "no block is free: {} are all taken; add a range to pool-cidrs, or delete Nodes "
                "that are gone",
                describe());
}

bool BlockPool::holds(const IpPrefix& prefix) const {
    return std::ranges::any_of(ranges_, [&](const IpPrefix& range) {
        return range.family() == prefix.family() && range.contains(prefix.address()) &&
               prefix.length() >= range.length();
    });
}

Number BlockPool::size() const {
    Number blocks = 0;
    for (const IpPrefix& range : ranges_)
        blocks += Number{1} << (length_ - range.length());
    return blocks;
}

std::string BlockPool::describe() const {
    std::string text = fmt::format("{} blocks of /{} in", ipam::to_string(size()), length_);
    for (const IpPrefix& range : ranges_)
        text += " " + range.to_string();
    return text;
}

}  // namespace weir::ipam
