// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "agent/cni_counters.h"
#include "agent/cni_queue.h"
#include "agent/keyed_mutex.h"
#include "agent/pod_wirer.h"
#include "common/cni_protocol.h"

namespace weir::agent {

struct CniRequest;
struct CniFailure;

/// HTTP status and JSON body, and the CNI code that the body tells (0: success).
struct CniReply {
    unsigned status = 200;
    unsigned code = 0;
    std::string body;
};

/// The agent's side of CNI, without its transport. Thread-safe: requests for different containers
/// run at the same time, those for one container one after the other. Requests block for as long as
/// wiring takes, so they belong on threads that may.
///
/// ADD writes the addresses as pending, wires, and commits; DEL unwires and then releases. A crash
/// in between leaves a pending record, which start() undoes, or a record of what no longer exists,
/// which it releases.
class CniService {
  public:
    /// The references outlive the service. Until start() it answers "try again later".
    static Result<std::unique_ptr<CniService>> open(ipam::Pools& pools, PodWirer& wirer,
                                                    const std::filesystem::path& queue_dir);

    /// Undoes what a crash left half done, compares records with the host and does queued DELs.
    /// Pools have their ranges by then. On failure call it again.
    Result<ipam::Reconciled> start();

    /// `path` is "/v1/cni/add", del, check, gc or status. Never throws.
    CniReply handle(std::string_view path, std::string_view body);

    /// Called, from whichever thread, when ports of the host lead to other pods than before. Set
    /// before start().
    void on_host_ports(std::function<void()> changed) { host_ports_changed_ = std::move(changed); }

    /// DELs that the plugin could not bring: now, and whenever queue_fd() is readable. What fails
    /// stays for the next time. Returns how many were done.
    size_t drain_queue();
    [[nodiscard]] int queue_fd() const { return queue_.watch_fd(); }

    /// What STATUS answers once started: kNotAvailable or kLimited and why, or nothing if ADDs
    /// work.
    void set_trouble(std::optional<std::pair<cni::Code, std::string>> trouble);

    [[nodiscard]] CniCounters counters() const;

  private:
    CniService(ipam::Pools& pools, PodWirer& wirer, DelQueue queue)
        : pools_(pools), wirer_(wirer), queue_(std::move(queue)) {}

    using Outcome = tl::expected<std::string, CniFailure>;
    Outcome dispatch(size_t operation, std::string_view body);
    Outcome add(const CniRequest& request);
    Outcome del(const ipam::AttachmentKey& key);
    Outcome check(const CniRequest& request);
    Outcome gc(const CniRequest& request);
    Outcome status();
    Outcome make(const CniRequest& request);
    tl::expected<void, CniFailure> clear_stale(const CniRequest& request);
    Result<void> undo(const ipam::AttachmentKey& key);

    ipam::Pools& pools_;
    PodWirer& wirer_;
    std::function<void()> host_ports_changed_ = [] {};
    KeyedMutex containers_;
    std::mutex queue_mutex_;
    DelQueue queue_;
    std::atomic<bool> started_ = false;
    mutable std::mutex mutex_;  // of what follows
    std::optional<std::pair<cni::Code, std::string>> trouble_;
    CniCounters counters_;
};

}  // namespace weir::agent
