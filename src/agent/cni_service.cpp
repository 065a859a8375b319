// SPDX-License-Identifier: Apache-2.0
#include "agent/cni_service.h"

#include <algorithm>

#include "agent/cni_message.h"
#include "common/log.h"

namespace weir::agent {
namespace {

using cni::Code;
using ipam::AttachmentKey;

constexpr std::string_view kPathPrefix = "/v1/cni/";
// How many failures a GC answer names.
constexpr size_t kNamedFailures = 5;

CniFailure failure(Code code, const Error& error) {
    return {code, error.message()};
}

Code allocation_code(const Error& error) {
    switch (error.code()) {
        case Errc::kExhausted:
            return Code::kExhausted;
        case Errc::kExists:
            return Code::kAddressInUse;
        case Errc::kInvalid:
            return Code::kConfig;
        case Errc::kUnavailable:
            return Code::kTryLater;
        default:
            return Code::kIo;
    }
}

Code wiring_code(const Error& error) {
    switch (error.code()) {
        case Errc::kExists:
            return Code::kDuplicate;
        case Errc::kNotFound:
            return Code::kNoContainer;
        case Errc::kUnavailable:
            return Code::kTryLater;
        case Errc::kExhausted:
            return Code::kExhausted;
        default:
            return Code::kFailed;
    }
}

unsigned http_status(Code code) {
    switch (code) {
        case Code::kVersion:
        case Code::kUnsupported:
        case Code::kNoContainer:
        case Code::kEnvironment:
        case Code::kDecode:
        case Code::kConfig:
            return 400;
        case Code::kDuplicate:
        case Code::kAddressInUse:
        case Code::kCheckFailed:
            return 409;
        case Code::kTryLater:
        case Code::kNotAvailable:
        case Code::kLimited:
        case Code::kExhausted:
            return 503;
        default:
            return 500;
    }
}

std::optional<size_t> operation_of(std::string_view path) {
    if (!path.starts_with(kPathPrefix)) return std::nullopt;
    const auto* const at = std::ranges::find(kCniOperations, path.substr(kPathPrefix.size()));
    if (at == kCniOperations.end()) return std::nullopt;
    return static_cast<size_t>(at - kCniOperations.begin());
}

bool is_complete(const AttachmentKey& key) {
    return !key.container.empty() && !key.ifname.empty();
}

}  // namespace

Result<std::unique_ptr<CniService>> CniService::open(ipam::Pools& pools, PodWirer& wirer,
                                                     const std::filesystem::path& queue_dir) {
    DelQueue queue = WEIR_TRY(DelQueue::open(queue_dir));
    return std::unique_ptr<CniService>(new CniService(pools, wirer, std::move(queue)));
}

Result<ipam::Reconciled> CniService::start() {
    for (const ipam::Record& record : pools_.list()) {
        if (record.state != ipam::RecordState::kPending) continue;
        // Its ADD was never answered, so the runtime counts on nothing.
        if (auto undone = undo(record.key); !undone) {
            log::warn("CNI: undo the interrupted ADD of {}: {}", record.key.to_string(),
                      undone.error().message());
        }
    }
    const auto existing = WEIR_TRY(wirer_.list());
    ipam::Reconciled report = WEIR_TRY(pools_.reconcile(existing));
    for (const std::string& conflict : report.conflicts) {
        log::error("CNI: address conflict: {}: remove one of the pods", conflict);
    }
    drain_queue();
    started_ = true;
    return report;
}

CniReply CniService::handle(std::string_view path, std::string_view body) {
    const auto operation = operation_of(path);
    if (!operation) {
        const CniFailure unknown{Code::kDecode, fmt::format("no operation {}", path)};
        return {.status = 404,
                .code = static_cast<unsigned>(unknown.code),
                .body = encode_cni_failure(unknown)};
    }
    const auto begin = std::chrono::steady_clock::now();
    Outcome outcome;
    try {
        outcome = dispatch(*operation, body);
    } catch (const std::exception& error) {
        outcome = refuse(Code::kFailed, "internal error: {}", error.what());
    }
    const unsigned code = outcome ? 0 : static_cast<unsigned>(outcome.error().code);
    {
        const std::scoped_lock lock(mutex_);
        counters_.operations[*operation].count(code, std::chrono::steady_clock::now() - begin);
    }
    if (outcome) return {.status = 200, .code = 0, .body = std::move(*outcome)};
    log::warn("CNI {}: code {}: {}", kCniOperations[*operation], code, outcome.error().message);
    return {.status = http_status(outcome.error().code),
            .code = code,
            .body = encode_cni_failure(outcome.error())};
}

CniService::Outcome CniService::dispatch(size_t operation, std::string_view body) {
    const std::string_view name = kCniOperations[operation];
    if (body.size() > cni::kMaxMessage) {
        return refuse(Code::kDecode, "the request is longer than {} bytes", cni::kMaxMessage);
    }
    const auto request = decode_cni_request(body);
    if (!request) return tl::unexpected(request.error());
    if (name == "status") return status();
    if (!started_) return refuse(Code::kTryLater, "the Weir agent is starting");
    if (name == "gc") return gc(*request);
    const AttachmentKey& key = request->claim.key;
    if (!is_complete(key)) return refuse(Code::kDecode, "containerId or ifname is missing");
    const KeyedMutex::Lock lock(containers_, key.container);
    if (name == "add") return add(*request);
    if (name == "del") return del(key);
    return check(*request);
}

CniService::Outcome CniService::add(const CniRequest& request) {
    if (auto cleared = clear_stale(request); !cleared) return tl::unexpected(cleared.error());
    auto made = make(request);
    if (made) return made;
    const AttachmentKey& key = request.claim.key;
    if (auto undone = undo(key); !undone) {
        log::error("CNI: undo the failed ADD of {}: {}", key.to_string(), undone.error().message());
        // "No DEL is needed" would not be true.
        if (made.error().code == Code::kNoContainer) made.error().code = Code::kFailed;
    }
    return made;
}

// CNI spec 1.1.0, ADD: an interface that exists is an error. A record whose interface is gone, or
// whose ADD was not finished, is not in the way of a new ADD.
tl::expected<void, CniFailure> CniService::clear_stale(const CniRequest& request) {
    const AttachmentKey& key = request.claim.key;
    const auto known = pools_.find(key);
    if (!known) return {};
    if (known->state == ipam::RecordState::kCommitted) {
        const auto checked = wirer_.check(*known);
        if (checked || checked.error().code() != Errc::kNotFound) {
            return refuse(Code::kDuplicate, "{} exists already in {}: DEL must come first",
                          key.to_string(), known->netns);
        }
    }
    if (auto undone = undo(key); !undone) {
        return tl::unexpected(failure(Code::kFailed, undone.error()));
    }
    return {};
}

CniService::Outcome CniService::make(const CniRequest& request) {
    const auto record = pools_.allocate(request.claim);
    if (!record) {
        return tl::unexpected(failure(allocation_code(record.error()), record.error()));
    }
    const auto wired = wirer_.wire(*record);
    if (!wired) return tl::unexpected(failure(wiring_code(wired.error()), wired.error()));
    if (auto committed = pools_.commit(record->key); !committed) {
        return tl::unexpected(failure(Code::kIo, committed.error()));
    }
    if (!record->host_ports.empty()) host_ports_changed_();
    return encode_cni_result(*record, *wired, request.dns);
}

// Addresses go back only when nothing has them any more.
Result<void> CniService::undo(const AttachmentKey& key) {
    WEIR_CHECK(wirer_.unwire(key));
    const auto known = pools_.find(key);
    WEIR_CHECK(pools_.release(key));
    if (known && !known->host_ports.empty()) host_ports_changed_();
    return {};
}

CniService::Outcome CniService::del(const AttachmentKey& key) {
    if (auto undone = undo(key); !undone) {
        return tl::unexpected(failure(Code::kFailed, undone.error()));
    }
    return "{}";
}

CniService::Outcome CniService::check(const CniRequest& request) {
    const AttachmentKey& key = request.claim.key;
    const auto record = pools_.find(key);
    if (!record || record->state != ipam::RecordState::kCommitted) {
        return refuse(Code::kCheckFailed, "{} is not known: it was never added, or deleted",
                      key.to_string());
    }
    if (!request.previous) return refuse(Code::kConfig, "CHECK needs prevResult");
    if (auto same = compare_with_previous(*record, *request.previous); !same) {
        return tl::unexpected(same.error());
    }
    ipam::Record asked = *record;
    asked.netns = request.claim.netns;
    if (auto checked = wirer_.check(asked); !checked) {
        return tl::unexpected(failure(Code::kCheckFailed, checked.error()));
    }
    return "{}";
}

// CNI spec 1.1.0, GC: other networks are not touched, and one failure does not keep the rest.
CniService::Outcome CniService::gc(const CniRequest& request) {
    if (!request.valid_attachments) {
        return refuse(Code::kConfig, "GC without cni.dev/valid-attachments: nothing is removed");
    }
    const BootTime asked = boot_now();
    std::vector<std::string> failures;
    for (const ipam::Record& record : pools_.list()) {
        if (record.network != request.claim.network || record.created > asked) continue;
        if (request.valid_attachments->contains(record.key)) continue;
        const KeyedMutex::Lock lock(containers_, record.key.container);
        auto undone = undo(record.key);
        if (!undone) failures.push_back(record.key.to_string() + ": " + undone.error().message());
    }
    if (failures.empty()) return "{}";
    const size_t count = failures.size();
    failures.resize(std::min(count, kNamedFailures));
    return refuse(Code::kGcIncomplete, "{} attachments could not be removed: {}", count,
                  fmt::join(failures, "; "));
}

CniService::Outcome CniService::status() {
    if (!started_) return refuse(Code::kNotAvailable, "the Weir agent is starting");
    const std::scoped_lock lock(mutex_);
    if (trouble_) return tl::unexpected(CniFailure{trouble_->first, trouble_->second});
    return "{}";
}

size_t CniService::drain_queue() {
    const std::scoped_lock one_at_a_time(queue_mutex_);
    auto entries = queue_.list();
    if (!entries) {
        log::error("CNI queue: {}", entries.error().message());
        return 0;
    }
    size_t done = 0;
    size_t skipped = entries->unreadable;
    for (const DelQueue::Entry& entry : entries->sound) {
        const KeyedMutex::Lock lock(containers_, entry.key.container);
        const auto known = pools_.find(entry.key);
        const bool newer = known && known->created > entry.queued;
        if (!newer) {
            if (auto undone = undo(entry.key); !undone) {
                log::warn("CNI queue: DEL {}: {}", entry.key.to_string(), undone.error().message());
                continue;
            }
        }
        if (auto removed = queue_.remove(entry); !removed) {
            log::warn("CNI queue: {}", removed.error().message());
        }
        ++(newer ? skipped : done);
    }
    const std::scoped_lock lock(mutex_);
    counters_.queued_dels_done += done;
    counters_.queued_dels_skipped += skipped;
    return done;
}

void CniService::set_trouble(std::optional<std::pair<Code, std::string>> trouble) {
    const std::scoped_lock lock(mutex_);
    trouble_ = std::move(trouble);
}

CniCounters CniService::counters() const {
    const std::scoped_lock lock(mutex_);
    return counters_;
}

}  // namespace weir::agent
