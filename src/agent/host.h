// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "agent/config.h"
#include "agent/peer_routes.h"
#include "datapath/datapath.h"
#include "datapath/netlink/devices.h"
#include "datapath/netlink/host_link.h"
#include "datapath/netlink/sysctl.h"

namespace weir::agent {

/// This host as the datapath has to know it: weir0, external devices, addresses, ranges, and the
/// kernel settings that go with them. One thread, the agent's loop, in the host's namespace.
class Host {
  public:
    static Result<std::unique_ptr<Host>> open(const Config& config,
                                              const std::vector<IpPrefix>& pod_ranges,
                                              const std::vector<IpAddress>& node_addresses);

    /// Those of this node and, behind them, those that pods still have addresses of. Takes effect
    /// with ensure_link(), write_tables() and, if routers() are others now, a load of the programs.
    void set_pod_ranges(std::vector<IpPrefix> ranges) { pod_ranges_ = std::move(ranges); }
    /// The cluster's other Nodes, as they are now: their pods are routed to where they share a link
    /// with this one. True: that makes other routes; as set_pod_ranges().
    bool set_peers(const std::vector<const model::Node*>& nodes);
    /// What came of it; none before the first time.
    [[nodiscard]] const std::optional<PeerRoutes>& peers() const { return peers_; }
    /// weir0's own addresses by family: the first range's.
    [[nodiscard]] std::array<IpAddress, 2> routers() const;

    /// weir0 exists after this; its index goes into the programs' configuration.
    Result<netlink::HostLinkState> ensure_link();
    /// What the programs are loaded with.
    [[nodiscard]] Result<weir_config> program_config() const;
    /// Small tables about this host, by difference.
    Result<void> write_tables(const datapath::Datapath& datapath) const;
    /// Attaches to devices that have come, forgets those that have gone.
    Result<void> attach_devices(const datapath::Datapath& datapath) const;

    [[nodiscard]] netlink::HostLink& link() { return link_; }
    [[nodiscard]] netlink::HostLinkSpec link_spec() const;
    [[nodiscard]] netlink::DeviceFollower& devices() { return devices_; }
    [[nodiscard]] const netlink::DeviceFollower& devices() const { return devices_; }
    /// What this host sends from: the addresses of its external devices.
    [[nodiscard]] std::vector<IpAddress> addresses() const;
    /// MTU of pods wired from now on.
    [[nodiscard]] uint32_t pod_mtu() const;

  private:
    Host(const Config& config, std::vector<IpPrefix> pod_ranges,
         std::unique_ptr<netlink::SysctlJournal> journal, netlink::DeviceFollower devices);

    const Config& config_;
    std::vector<IpPrefix> pod_ranges_;
    std::unique_ptr<netlink::SysctlJournal> journal_;
    netlink::HostLink link_;
    netlink::DeviceFollower devices_;
    uint32_t link_index_ = 0;
    std::optional<PeerRoutes> peers_;
};

}  // namespace weir::agent
