// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "ipam/pool.h"
#include "ipam/store.h"

namespace weir::ipam {

struct Options {
    std::filesystem::path dir = "/run/weir/ipam";
    Rest rest;
    std::function<BootTime()> clock = boot_now;
};

/// Who wants addresses.
struct Claim {
    AttachmentKey key;
    std::string network;
    std::string netns;
    std::string pod_namespace;
    std::string pod_name;
    std::string pod_uid;
    /// At most one a family; a family not named here gets the pool's next.
    std::vector<IpAddress> requested;
    std::vector<model::HostPort> host_ports;
};

/// An attachment that really exists on this host.
struct Found {
    AttachmentKey key;
    std::vector<IpAddress> addresses;
    std::string pod_namespace = {};  ///< as far as the host tells, for records that were lost
    std::string pod_name = {};
};

/// What reconcile() did.
struct Reconciled {
    size_t kept = 0;
    std::vector<AttachmentKey> adopted;   ///< existed without a sound record
    std::vector<AttachmentKey> released;  ///< had a record and did not exist
    std::vector<std::string> conflicts;   ///< an address that two existing attachments have
    size_t damaged = 0;                   ///< files that were not sound records
};

/// The node's pod addresses, durable. An address is on disk before allocate() returns it, and its
/// record is gone from there (or marked released) before it can be given again: at no point of a
/// crash do two attachments have one address, and reconcile() finds what a crash left over.
/// Thread-safe; calls are short (a file on a tmpfs is written under the lock).
class Pools {
  public:
    /// Reads the records of `options.dir`. Nothing is allocated before set_ranges() and
    /// reconcile().
    static Result<std::unique_ptr<Pools>> open(Options options);

    /// The node's podCIDRs, any number of each family; may change while pods run. Those keep their
    /// addresses, new ones get theirs from these ranges. Fails, changing nothing, if one is
    /// unusable.
    Result<void> set_ranges(const std::vector<IpPrefix>& pod_cidrs);

    /// Makes records agree with what exists: it wins. Call once at start, before ADDs are served.
    Result<Reconciled> reconcile(std::span<const Found> existing);

    /// An address of every family that has ranges, as a pending record. kExists if the attachment
    /// has a record or a requested address is in use, kInvalid for a requested address that pods
    /// cannot have, kExhausted naming the pool, kUnavailable before ranges and reconcile().
    Result<Record> allocate(const Claim& claim);
    /// The attachment is wired: its record survives a restart. kNotFound without one.
    Result<void> commit(const AttachmentKey& key);
    /// No error if there is no record.
    Result<void> release(const AttachmentKey& key);

    [[nodiscard]] std::optional<Record> find(const AttachmentKey& key) const;
    /// Pending and committed, by key.
    [[nodiscard]] std::vector<Record> list() const;
    [[nodiscard]] PoolStats stats(Family family) const;
    /// The first address of each range, for weir0.
    [[nodiscard]] std::vector<IpAddress> routers() const;

  private:
    Pools(Options options, Store store);

    Pool& pool(Family family) { return pools_[family_index(family)]; }
    void admit(Store::Loaded loaded);
    Result<std::vector<IpAddress>> take_all(const Claim& claim, BootTime now);
    Result<IpAddress> take_requested(const IpAddress& address);
    void undo(std::span<const IpAddress> addresses);
    Result<void> release_locked(const AttachmentKey& key);
    Result<void> adopt(const Found& found, Reconciled& report);
    [[nodiscard]] const Record* holder(const IpAddress& address, const AttachmentKey& except) const;
    [[nodiscard]] const Record* newest(Family family) const;
    [[nodiscard]] bool is_newest(const Record& record) const;
    void forget_rested(BootTime now);

    mutable std::mutex mutex_;
    Options options_;
    Store store_;
    std::array<Pool, 2> pools_;
    std::map<AttachmentKey, Record> records_;
    std::deque<AttachmentKey> released_;  // in the order of their release
    std::array<std::optional<AttachmentKey>, 2> newest_;
    std::vector<std::string> damaged_;
    uint64_t next_serial_ = 1;
    bool reconciled_ = false;
};

}  // namespace weir::ipam
