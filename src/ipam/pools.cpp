// SPDX-License-Identifier: Apache-2.0
#include "ipam/pools.h"

#include <algorithm>

#include "common/log.h"

namespace weir::ipam {
namespace {

// Files of rested addresses that one call removes: enough to keep up, little enough to stay short.
constexpr size_t kForgottenAtOnce = 4;

bool is_live(const Record& record) {
    return record.state != RecordState::kReleased;
}

}  // namespace

Pools::Pools(Options options, Store store)
    : options_(std::move(options)),
      store_(std::move(store)),
      pools_{Pool(Family::kIpv4, options_.rest), Pool(Family::kIpv6, options_.rest)} {}

Result<std::unique_ptr<Pools>> Pools::open(Options options) {
    Store store = WEIR_TRY(Store::open(options.dir));
    std::unique_ptr<Pools> pools(new Pools(std::move(options), std::move(store)));
    pools->admit(WEIR_TRY(pools->store_.load()));
    return pools;
}

void Pools::admit(Store::Loaded loaded) {
    const BootTime now = options_.clock();
    damaged_ = std::move(loaded.damaged);
    std::ranges::sort(loaded.records, {}, &Record::serial);
    for (Record& record : loaded.records) {
        // A stamp of an earlier boot, where the directory outlived it.
        record.released = std::min(record.released, now);
        for (const IpAddress& address : record.addresses) {
            newest_[family_index(address.family())] = record.key;
            if (is_live(record)) pool(address.family()).adopt(address);
        }
        next_serial_ = std::max(next_serial_, record.serial + 1);
        records_.insert_or_assign(record.key, record);
    }
    std::ranges::sort(loaded.records, {}, &Record::released);
    for (const Record& record : loaded.records) {
        if (is_live(record)) continue;
        released_.push_back(record.key);
        for (const IpAddress& address : record.addresses) {
            pool(address.family()).rest(address, record.released);
        }
    }
}

Result<void> Pools::set_ranges(const std::vector<IpPrefix>& pod_cidrs) {
    const std::scoped_lock lock(mutex_);
    std::array<std::vector<IpPrefix>, 2> by_family;
    for (const IpPrefix& prefix : pod_cidrs) {
        by_family[family_index(prefix.family())].push_back(prefix);
    }
    // Both or none.
    for (const Family family : kFamilies) {
        WEIR_CHECK(Pool(family, options_.rest).set_ranges(by_family[family_index(family)]));
    }
    for (const Family family : kFamilies) {
        WEIR_CHECK(pool(family).set_ranges(by_family[family_index(family)]));
        const Record* last = newest(family);
        if (last == nullptr) continue;
        for (const IpAddress& address : last->addresses)
            pool(family).resume_after(address);
    }
    return {};
}

Result<Reconciled> Pools::reconcile(std::span<const Found> existing) {
    const std::scoped_lock lock(mutex_);
    Reconciled report{.damaged = damaged_.size()};
    for (const std::string& name : damaged_)
        WEIR_CHECK(store_.discard(name));
    damaged_.clear();

    std::map<AttachmentKey, const Found*> by_key;
    for (const Found& found : existing)
        by_key.emplace(found.key, &found);
    std::vector<AttachmentKey> gone;
    for (const auto& [key, record] : records_) {
        if (is_live(record) && !by_key.contains(key)) gone.push_back(key);
    }
    for (const AttachmentKey& key : gone) {
        WEIR_CHECK(release_locked(key));
        report.released.push_back(key);
    }
    for (const auto& [key, found] : by_key)
        WEIR_CHECK(adopt(*found, report));
    reconciled_ = true;
    return report;
}

Result<void> Pools::adopt(const Found& found, Reconciled& report) {
    for (const IpAddress& address : found.addresses) {
        const Record* other = holder(address, found.key);
        if (other == nullptr) continue;
        report.conflicts.push_back(fmt::format("{} is held by {} and by {}", address.to_string(),
                                               other->key.to_string(), found.key.to_string()));
    }
    const auto known = records_.find(found.key);
    const bool live = known != records_.end() && is_live(known->second);
    std::vector<IpAddress> addresses = found.addresses;
    std::ranges::sort(addresses, {}, [](const IpAddress& a) { return family_index(a.family()); });
    if (live && (addresses.empty() || known->second.addresses == addresses)) {
        ++report.kept;
        return {};
    }
    if (live) WEIR_CHECK(release_locked(found.key));
    Record record = known != records_.end() ? known->second : Record{.key = found.key};
    if (record.pod_name.empty()) {
        record.pod_namespace = found.pod_namespace;
        record.pod_name = found.pod_name;
    }
    record.addresses = std::move(addresses);
    record.state = RecordState::kCommitted;
    record.serial = next_serial_++;
    WEIR_CHECK(store_.put(record));
    for (const IpAddress& address : record.addresses) {
        pool(address.family()).adopt(address);
        newest_[family_index(address.family())] = record.key;
    }
    records_.insert_or_assign(record.key, record);
    report.adopted.push_back(record.key);
    return {};
}

Result<Record> Pools::allocate(const Claim& claim) {
    const std::scoped_lock lock(mutex_);
    if (!reconciled_) {
        return fail(Errc::kUnavailable, "the agent is still comparing its records with this host");
    }
    if (claim.key.container.size() > kMaxContainerIdLength) {
        return fail(Errc::kInvalid, "container id is longer than {} characters",
                    kMaxContainerIdLength);
    }
    if (const auto known = records_.find(claim.key);
        known != records_.end() && is_live(known->second)) {
        return fail(Errc::kExists, "{} has addresses already", claim.key.to_string());
    }
    const BootTime now = options_.clock();
    forget_rested(now);
    Record record{
        .key = claim.key,
        .network = claim.network,
        .netns = claim.netns,
        .pod_namespace = claim.pod_namespace,
        .pod_name = claim.pod_name,
        .pod_uid = claim.pod_uid,
        .addresses = WEIR_TRY(take_all(claim, now)),
        .host_ports = claim.host_ports,
        .serial = next_serial_++,
        .created = now,
    };
    if (auto written = store_.put(record); !written) {
        undo(record.addresses);
        if (auto removed = store_.remove(record.key); !removed) {
            log::error("ipam: {}", removed.error().message());
        }
        return Failure(
            std::move(written).error().with("record addresses of {}", record.key.to_string()));
    }
    for (const IpAddress& address : record.addresses) {
        newest_[family_index(address.family())] = record.key;
    }
    records_.insert_or_assign(record.key, record);
    return record;
}

Result<std::vector<IpAddress>> Pools::take_all(const Claim& claim, BootTime now) {
    std::array<std::optional<IpAddress>, 2> requested;
    for (const IpAddress& address : claim.requested) {
        auto& slot = requested[family_index(address.family())];
        if (slot && *slot != address) {
            return fail(Errc::kInvalid, "addresses {} and {} are requested; a pod has one a family",
                        slot->to_string(), address.to_string());
        }
        slot = address;
    }
    std::vector<IpAddress> taken;
    for (const Family family : kFamilies) {
        const auto& wanted = requested[family_index(family)];
        if (!wanted && !pool(family).has_ranges()) continue;
        auto address = wanted ? take_requested(*wanted) : pool(family).take(now);
        if (!address) {
            undo(taken);
            return Failure(std::move(address).error());
        }
        taken.push_back(*address);
    }
    if (taken.empty()) {
        return fail(Errc::kUnavailable, "the node has no podCIDR yet: see `weir status`");
    }
    return taken;
}

Result<IpAddress> Pools::take_requested(const IpAddress& address) {
    auto taken = pool(address.family()).take_exact(address);
    if (taken) return address;
    const Record* other = holder(address, {});
    if (other == nullptr) return Failure(std::move(taken).error());
    return fail(Errc::kExists, "{} by {} (pod {}/{})", taken.error().message(),
                other->key.to_string(), other->pod_namespace, other->pod_name);
}

void Pools::undo(std::span<const IpAddress> addresses) {
    for (const IpAddress& address : addresses)
        pool(address.family()).undo_take(address);
}

Result<void> Pools::commit(const AttachmentKey& key) {
    const std::scoped_lock lock(mutex_);
    const auto known = records_.find(key);
    if (known == records_.end() || !is_live(known->second)) {
        return fail(Errc::kNotFound, "{} has no addresses", key.to_string());
    }
    Record record = known->second;
    record.state = RecordState::kCommitted;
    WEIR_CHECK(store_.put(record));
    known->second = std::move(record);
    return {};
}

Result<void> Pools::release(const AttachmentKey& key) {
    const std::scoped_lock lock(mutex_);
    forget_rested(options_.clock());
    return release_locked(key);
}

Result<void> Pools::release_locked(const AttachmentKey& key) {
    const auto known = records_.find(key);
    if (known == records_.end() || !is_live(known->second)) return {};
    Record record = known->second;
    record.state = RecordState::kReleased;
    record.released = options_.clock();
    // Removing needs no space; without the mark only the rest is forgotten by a crash.
    if (!store_.put(record)) WEIR_CHECK(store_.remove(key));
    for (const IpAddress& address : record.addresses) {
        if (holder(address, key) == nullptr)
            pool(address.family()).give_back(address, record.released);
    }
    known->second = std::move(record);
    released_.push_back(key);
    return {};
}

// Addresses are few thousands at most on a node and a comparison is cheap: no index to keep right.
const Record* Pools::holder(const IpAddress& address, const AttachmentKey& except) const {
    for (const auto& [key, record] : records_) {
        if (!is_live(record) || key == except) continue;
        if (std::ranges::find(record.addresses, address) != record.addresses.end()) return &record;
    }
    return nullptr;
}

const Record* Pools::newest(Family family) const {
    const auto& key = newest_[family_index(family)];
    if (!key) return nullptr;
    const auto at = records_.find(*key);
    return at == records_.end() ? nullptr : &at->second;
}

bool Pools::is_newest(const Record& record) const {
    return newest(Family::kIpv4) == &record || newest(Family::kIpv6) == &record;
}

// The newest record stays on disk even when its address has rested: it tells the next process where
// the round robin was.
void Pools::forget_rested(BootTime now) {
    for (size_t i = 0; i < kForgottenAtOnce && !released_.empty(); ++i) {
        const AttachmentKey key = released_.front();
        const auto at = records_.find(key);
        const bool released = at != records_.end() && !is_live(at->second);
        if (released && at->second.released + options_.rest.wanted > now) return;
        released_.pop_front();
        if (!released) continue;
        if (is_newest(at->second)) {
            released_.push_back(key);
            return;
        }
        if (auto removed = store_.remove(key); !removed) {
            log::warn("ipam: {}", removed.error().message());
        }
        records_.erase(at);
    }
}

std::optional<Record> Pools::find(const AttachmentKey& key) const {
    const std::scoped_lock lock(mutex_);
    const auto at = records_.find(key);
    if (at == records_.end() || !is_live(at->second)) return std::nullopt;
    return at->second;
}

std::vector<Record> Pools::list() const {
    const std::scoped_lock lock(mutex_);
    std::vector<Record> live;
    for (const auto& [key, record] : records_) {
        if (is_live(record)) live.push_back(record);
    }
    return live;
}

PoolStats Pools::stats(Family family) const {
    const std::scoped_lock lock(mutex_);
    return pools_[family_index(family)].stats();
}

std::vector<IpAddress> Pools::routers() const {
    const std::scoped_lock lock(mutex_);
    std::vector<IpAddress> routers;
    for (const Pool& each : pools_) {
        const auto more = each.routers();
        routers.insert(routers.end(), more.begin(), more.end());
    }
    return routers;
}

}  // namespace weir::ipam
