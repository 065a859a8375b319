// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "agent/cni_service.h"
#include "agent/config.h"
#include "agent/host.h"
#include "agent/pods.h"

namespace weir::agent {

/// What wires pods: their links and the watch over them, their addresses, and the service that
/// runtimes ask, each with what a former agent left of it. On the agent's loop; the parts say
/// themselves which of them other threads may use.
class Wiring {
  public:
    /// `host` has its link by now; it and `datapath` outlive this object.
    static Result<std::unique_ptr<Wiring>> open(const Config& config, Host& host,
                                                datapath::Datapath& datapath,
                                                const std::vector<IpPrefix>& pod_ranges);
    Wiring(const Wiring&) = delete;
    Wiring& operator=(const Wiring&) = delete;

    [[nodiscard]] Pods& pods() { return *pods_; }
    [[nodiscard]] ipam::Pools& ipam() { return *ipam_; }
    [[nodiscard]] CniService& cni() { return *cni_; }

    /// The host's devices, addresses or ranges are others now.
    void host_changed();
    /// Readable when on_readable() has something to do.
    [[nodiscard]] int fd() const { return watcher_->fd(); }
    void on_readable();
    /// Everything is looked at with the next mend().
    void mark_all();
    /// Puts back what others removed of ours, if it is time to. The host's links, if one of them
    /// was made anew.
    std::optional<netlink::HostLinkState> mend();

  private:
    Wiring(Host& host, netlink::HomeNetNs home);
    Result<void> open_pods(datapath::Datapath& datapath);
    Result<void> open_cni(const Config& config, const std::vector<IpPrefix>& pod_ranges);
    Result<void> adopt();

    Host& host_;
    netlink::HomeNetNs home_;
    netlink::PodLinks links_;
    std::optional<netlink::Watcher> watcher_;  ///< with_watcher() of pods_ once there is one
    std::unique_ptr<Pods> pods_;
    std::unique_ptr<ipam::Pools> ipam_;
    std::unique_ptr<CniService> cni_;
};

}  // namespace weir::agent
