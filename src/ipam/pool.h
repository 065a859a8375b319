// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/boot_time.h"
#include "ipam/range.h"

namespace weir::ipam {

/// How long a released address stays out of use. While other addresses are free it rests for
/// `wanted`; when they are not, for `least`, which is what the tables of this and other nodes need
/// to forget the pod that had it.
struct Rest {
    BootTime wanted = std::chrono::seconds(30);
    BootTime least = std::chrono::seconds(2);
};

struct PoolStats {
    Number size = 0;      ///< addresses that pods can have, over all ranges
    size_t used = 0;      ///< held by pods, inside the present ranges
    size_t resting = 0;   ///< released a short time ago
    size_t stranded = 0;  ///< held by pods, but of a range the node no longer has
};

/// The addresses of one family, in memory: round robin over the ranges in their order, an address
/// comes again only after the others had their turn. Every call is logarithmic in the number of
/// addresses in use. Not thread-safe.
class Pool {
  public:
    Pool(Family family, Rest rest) : family_(family), rest_(rest) {}

    /// Replaces the ranges; addresses in use stay in use. Fails, changing nothing, if two overlap.
    Result<void> set_ranges(const std::vector<IpPrefix>& prefixes);
    [[nodiscard]] bool has_ranges() const { return !ranges_.empty(); }
    [[nodiscard]] std::vector<IpAddress> routers() const;

    /// The next address. kExhausted with the numbers if there is none.
    Result<IpAddress> take(BootTime now);
    /// This address: kInvalid if pods cannot have it, kExists if one has. It need not have rested:
    /// who asks for an address by name wants it now.
    Result<void> take_exact(const IpAddress& address);
    /// A pod has this address, whatever the ranges say. False if it was in use already.
    bool adopt(const IpAddress& address);
    /// Nobody got the address after all: it is free at once.
    void undo_take(const IpAddress& address);
    /// The address rests from `released` on. No effect if not in use.
    void give_back(const IpAddress& address, BootTime released);
    /// The address was released at that time, by a process before this one. No effect if in use.
    void rest(const IpAddress& address, BootTime released);
    /// The round robin goes on after this address, if a range holds it.
    void resume_after(const IpAddress& address);

    [[nodiscard]] PoolStats stats() const;
    /// "IPv4 pool 10.1.0.0/24,10.2.0.0/24".
    [[nodiscard]] std::string describe() const;

  private:
    struct Held {
        Range range;
        IntervalSet occupied;  // in use or resting
        Number cursor;         // where the search goes on
    };
    using Resting = std::multimap<BootTime, IpAddress>;

    Held* holding(const IpAddress& address);
    void occupy(const IpAddress& address);
    void wake(const IpAddress& address);
    void wake_rested(BootTime now);
    std::optional<Number> next_free();

    Family family_;
    Rest rest_;
    std::vector<Held> ranges_;
    size_t current_ = 0;  // the range the round robin is in
    std::unordered_set<IpAddress> used_;
    Resting resting_;  // by time of release
    std::unordered_map<IpAddress, Resting::iterator> resting_index_;
};

}  // namespace weir::ipam
