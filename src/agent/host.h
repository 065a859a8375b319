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
    /// The cluster's other Nodes, as they are now, and this one's own addresses as its Node says.
    /// True: that makes other routes; write_tables() and ensure_link(), in this order, put them in
    /// force.
    bool set_peers(const std::vector<const model::Node*>& nodes,
                   const std::vector<IpAddress>& own_addresses);
    /// What came of it; none before the first time.
    [[nodiscard]] const std::optional<PeerRoutes>& peers() const { return peers_; }
    /// weir0's own addresses by family: the first range's.
    [[nodiscard]] std::array<IpAddress, 2> routers() const;

    /// weir0 exists after this, and the overlay if there is to be one; their indices go into the
    /// programs' configuration.
    Result<netlink::HostLinkState> ensure_link();
    /// Takes note of links that were made anew: the overlay is not brought up before
    /// attach_devices(). True: their indices are not those of `config`, which programs have.
    bool made_anew(const netlink::HostLinkState& state, const weir_config* config);
    /// What the programs are loaded with.
    [[nodiscard]] Result<weir_config> program_config() const;
    /// Small tables about this host, by difference.
    Result<void> write_tables(const datapath::Datapath& datapath) const;
    /// Attaches to devices that have come, forgets those that have gone. The overlay is brought up
    /// by the next ensure_link().
    Result<void> attach_devices(const datapath::Datapath& datapath);

    [[nodiscard]] netlink::HostLink& link() { return link_; }
    [[nodiscard]] netlink::HostLinkSpec link_spec() const;
    [[nodiscard]] netlink::DeviceFollower& devices() { return devices_; }
    [[nodiscard]] const netlink::DeviceFollower& devices() const { return devices_; }
    /// What this host sends from: the addresses of its external devices.
    [[nodiscard]] std::vector<IpAddress> addresses() const;
    /// MTU of pods wired from now on, and of the overlay.
    [[nodiscard]] uint32_t pod_mtu() const;
    /// Whether there is an overlay; its device and the bytes that it takes of each packet.
    [[nodiscard]] bool has_overlay() const { return config_.routing != Routing::kNative; }
    [[nodiscard]] uint32_t overlay_bytes() const;

  private:
    Host(const Config& config, std::vector<IpPrefix> pod_ranges,
         std::unique_ptr<netlink::SysctlJournal> journal, netlink::DeviceFollower devices);

    const Config& config_;
    std::vector<IpPrefix> pod_ranges_;
    std::unique_ptr<netlink::SysctlJournal> journal_;
    netlink::HostLink link_;
    netlink::DeviceFollower devices_;
    uint32_t link_index_ = 0;
    uint32_t overlay_index_ = 0;
    uint32_t overlay_served_ = 0;  ///< the index for which programs are attached
    std::vector<IpAddress> node_addresses_;
    std::optional<PeerRoutes> peers_;
};

}  // namespace weir::agent
