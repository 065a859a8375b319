// SPDX-License-Identifier: Apache-2.0
#include "ipam/range.h"

#include <algorithm>

namespace weir::ipam {

Number to_number(const IpAddress& address) {
    Number number = 0;
    for (const uint8_t byte : address.bytes())
        number = number << 8 | byte;
    return number;
}

IpAddress to_address(Number number) {
    std::array<uint8_t, 16> bytes{};
    for (size_t i = bytes.size(); i-- > 0; number >>= 8)
        bytes[i] = static_cast<uint8_t>(number);
    return IpAddress::from_bytes(bytes);
}

std::string to_string(Number number) {
    std::string digits;
    do {
        digits.push_back(static_cast<char>('0' + static_cast<int>(number % 10)));
        number /= 10;
    } while (number != 0);
    std::reverse(digits.begin(), digits.end());
    return digits;
}

Result<Range> Range::make(const IpPrefix& prefix) {
    const unsigned host_bits = 128 - prefix.mapped_length();
    if (host_bits < 2) {
        return fail(Errc::kInvalid,
                    "range {} is too small: with the router's address none is left for a pod; use "
                    "/{} or shorter",
                    prefix.to_string(), prefix.length() + host_bits - 2);
    }
    const Number network = to_number(prefix.address());
    const Number all_ones =
        host_bits == 128 ? ~Number{0} : network | ((Number{1} << host_bits) - 1);
    const bool broadcast = prefix.family() == Family::kIpv4;
    return Range(prefix, network + 2, broadcast ? all_ones - 1 : all_ones);
}

bool Range::overlaps(const Range& other) const {
    return prefix_.contains(other.prefix_.address()) || other.prefix_.contains(prefix_.address());
}

IntervalSet::Intervals::const_iterator IntervalSet::holding(Number number) const {
    auto after = intervals_.upper_bound(number);
    if (after == intervals_.begin()) return intervals_.end();
    const auto candidate = std::prev(after);
    return candidate->second >= number ? candidate : intervals_.end();
}

bool IntervalSet::contains(Number number) const {
    return holding(number) != intervals_.end();
}

void IntervalSet::insert(Number number) {
    if (contains(number)) return;
    Number first = number;
    Number last = number;
    if (const auto left = holding(number - 1); number > 0 && left != intervals_.end()) {
        first = left->first;
        intervals_.erase(left);
    }
    if (const auto right = intervals_.find(number + 1);
        number + 1 != 0 && right != intervals_.end()) {
        last = right->second;
        intervals_.erase(right);
    }
    intervals_.emplace(first, last);
}

void IntervalSet::erase(Number number) {
    const auto at = holding(number);
    if (at == intervals_.end()) return;
    const auto [first, last] = *at;
    intervals_.erase(at);
    if (first < number) intervals_.emplace(first, number - 1);
    if (number < last) intervals_.emplace(number + 1, last);
}

std::optional<Number> IntervalSet::first_gap(Number from, Number to) const {
    if (from > to) return std::nullopt;
    const auto at = holding(from);
    if (at == intervals_.end()) return from;
    // Intervals do not touch, so what follows one is free.
    if (at->second >= to) return std::nullopt;
    return at->second + 1;
}

}  // namespace weir::ipam
