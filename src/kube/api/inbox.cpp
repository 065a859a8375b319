// SPDX-License-Identifier: Apache-2.0
#include "kube/api/inbox.h"

#include <algorithm>
#include <cerrno>

#include <sys/eventfd.h>
#include <unistd.h>

namespace weir::kube::api {

Result<Inbox> Inbox::open() {
    const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return fail_errno(errno, "eventfd");
    return Inbox(Fd(fd));
}

void Inbox::touch(PerKind& kind) {
    const bool idle = std::ranges::all_of(all_, &PerKind::empty);
    if (kind.empty()) kind.oldest = Clock::now();
    if (!idle) return;
    const uint64_t one = 1;
    // The counter cannot overflow: it is at most one.
    [[maybe_unused]] const auto written = ::write(event_.get(), &one, sizeof one);
}

void Inbox::replace(Kind kind, Listing listing) {
    const std::lock_guard lock(*mutex_);
    PerKind& slot = all_[static_cast<size_t>(kind)];
    touch(slot);
    slot.listing = std::move(listing);
    slot.changes.clear();
}

void Inbox::apply(ObjectKey key, Change change) {
    const std::lock_guard lock(*mutex_);
    PerKind& slot = all_[static_cast<size_t>(key.kind)];
    touch(slot);
    // A state that has mistakes must not hide the good one before it.
    const auto known = slot.changes.find(key);
    if (known != slot.changes.end() && !change.errors.empty() && known->second.object) {
        known->second.errors = std::move(change.errors);
        return;
    }
    slot.changes.insert_or_assign(std::move(key), std::move(change));
}

void Inbox::nameless(Kind kind) {
    const std::lock_guard lock(*mutex_);
    PerKind& slot = all_[static_cast<size_t>(kind)];
    touch(slot);
    ++slot.nameless;
}

Inbox::All Inbox::take() {
    const std::lock_guard lock(*mutex_);
    uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(event_.get(), &count, sizeof count);
    return std::exchange(all_, {});
}

}  // namespace weir::kube::api
