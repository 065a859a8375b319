// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/ip.h"
#include "common/result.h"
#include "datapath/netlink/host_link.h"
#include "datapath/netlink/pod_link.h"
#include "datapath/netlink/socket.h"

namespace weir::netlink {

/// What one round of mending did.
struct WatchReport {
    std::vector<Problem> repaired;
    /// Host names of pod links that are gone: only a new ADD brings them back.
    std::vector<std::string> lost;
    /// What could not be mended; tried again a second later.
    std::vector<Error> failures;
    /// weir0 as it is now, if it was looked at. If created, its programs have to be attached again.
    std::optional<HostLinkState> host;
};

/// Notices when somebody else removes or changes our links, addresses, routes, neighbours and
/// filters, and puts them back within a second. Changes are gathered for a tenth of a second, which
/// also bounds how fast it fights with a program that keeps removing them. For one thread, in the
/// host's namespace.
class Watcher {
  public:
    using Clock = std::chrono::steady_clock;

    /// Both outlive the watcher.
    static Result<Watcher> open(HostLink& host, const PodLinks& pods);

    void set_host(HostLinkSpec spec);
    /// Replaces a pod of the same host interface.
    void add_pod(const PodLinkSpec& spec, PodPrograms programs, uint32_t host_ifindex);
    /// Before the link is removed.
    void remove_pod(const std::string& host_ifname);
    /// Everything is looked at in the next round.
    void mark_all(Clock::time_point now);

    /// Readable when on_readable() has something to do.
    [[nodiscard]] int fd() const { return events_.fd(); }
    Result<void> on_readable(Clock::time_point now);
    /// When run_due() has something to do; nothing: not before on_readable() finds it.
    [[nodiscard]] std::optional<Clock::time_point> due() const { return due_; }
    WatchReport run_due(Clock::time_point now);

    /// Objects put back since the start, by kind.
    [[nodiscard]] uint64_t repaired(Kind kind) const {
        return repaired_[static_cast<size_t>(kind)];
    }

  private:
    struct Pod {
        PodLinkSpec spec;
        PodPrograms programs;
        uint32_t ifindex = 0;
    };
    Watcher(HostLink& host, const PodLinks& pods, Socket events)
        : host_(&host), pods_(&pods), events_(std::move(events)) {}

    void notice(const nlmsghdr* message, Clock::time_point now);
    void notice_link(const nlmsghdr* message, Clock::time_point now);
    void notice_route(const nlmsghdr* message, Clock::time_point now);
    void mark_ifindex(uint32_t ifindex, Clock::time_point now);
    void mark_host(Clock::time_point now);
    void schedule(Clock::time_point at);
    void mend_host(Clock::time_point now, WatchReport& report);
    void mend_pod(const std::string& name, Clock::time_point now, WatchReport& report);
    void count(const std::vector<Problem>& problems, WatchReport& report);

    HostLink* host_;
    const PodLinks* pods_;
    Socket events_;
    std::optional<HostLinkSpec> host_spec_;
    uint32_t host_ifindex_ = 0;
    std::map<std::string, Pod> watched_;                  ///< by host interface name
    std::unordered_map<uint32_t, std::string> by_index_;  ///< ifindex to host interface name
    std::unordered_map<IpAddress, std::string> by_address_;
    std::set<std::string> dirty_;
    bool host_dirty_ = false;
    std::optional<Clock::time_point> due_;
    std::array<uint64_t, kKinds> repaired_{};
};

}  // namespace weir::netlink
