// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>

#include "common/ip.h"

namespace weir::ipam {

/// Addresses as numbers, so that a /64 is two bounds and not a list.
using Number = unsigned __int128;
Number to_number(const IpAddress& address);
IpAddress to_address(Number number);
/// Decimal.
std::string to_string(Number number);

/// One podCIDR: which of its addresses pods get. The first address is the router's (weir0), the
/// network's own and, for IPv4, the broadcast address are nobody's. Immutable.
class Range {
  public:
    /// Fails if fewer than two host bits are left: no address would remain for a pod.
    static Result<Range> make(const IpPrefix& prefix);

    [[nodiscard]] const IpPrefix& prefix() const { return prefix_; }
    [[nodiscard]] IpAddress router() const { return to_address(first_ - 1); }
    [[nodiscard]] Number first() const { return first_; }  ///< lowest a pod may have
    [[nodiscard]] Number last() const { return last_; }    ///< highest a pod may have
    [[nodiscard]] Number size() const { return last_ - first_ + 1; }
    [[nodiscard]] bool allocatable(Number number) const {
        return number >= first_ && number <= last_;
    }
    [[nodiscard]] bool overlaps(const Range& other) const;

  private:
    Range(const IpPrefix& prefix, Number first, Number last)
        : prefix_(prefix), first_(first), last_(last) {}

    IpPrefix prefix_;
    Number first_;
    Number last_;
};

/// A set of numbers as disjoint, non-adjacent intervals: logarithmic in their count, whatever their
/// length.
class IntervalSet {
  public:
    /// No effect if present.
    void insert(Number number);
    /// No effect if absent.
    void erase(Number number);
    [[nodiscard]] bool contains(Number number) const;
    /// Lowest number in [from, to] that is not in the set.
    [[nodiscard]] std::optional<Number> first_gap(Number from, Number to) const;

  private:
    using Intervals = std::map<Number, Number>;  // first -> last
    [[nodiscard]] Intervals::const_iterator holding(Number number) const;

    Intervals intervals_;
};

}  // namespace weir::ipam
