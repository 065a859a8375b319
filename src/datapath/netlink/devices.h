// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/ip.h"
#include "common/result.h"
#include "datapath/netlink/objects.h"
#include "datapath/netlink/socket.h"
#include "weir/endpoint.h"

namespace weir::netlink {

/// This host's links, addresses and default routes, kept up to date from notifications.
struct NetworkState {
    std::map<uint32_t, Link> links;
    std::vector<Address> addresses;  ///< in the order in which they were met
    std::vector<Route> default_routes;

    /// Takes one notification or dumped object; true if it changed anything.
    bool apply(const nlmsghdr* message);
    bool operator==(const NetworkState&) const = default;

  private:
    bool apply_link(const nlmsghdr* message);
    bool apply_address(const nlmsghdr* message);
    bool apply_route(const nlmsghdr* message);
};

/// Name patterns of devices that belong to other engines on the host, never to the outside.
const std::vector<std::string>& default_excluded_devices();

struct DeviceConfig {
    /// Names or shell patterns; empty: found by themselves.
    std::vector<std::string> devices;
    /// Patterns never taken when devices are found by themselves.
    std::vector<std::string> excluded = default_excluded_devices();
    /// Preferred as sources of masquerading where a device has several: the Node's own addresses.
    std::vector<IpAddress> node_addresses;
    /// NodePorts answer on addresses within these; a family without an entry: on all of it.
    std::vector<IpPrefix> node_port_addresses;
};

struct ExternalDevice {
    uint32_t ifindex = 0;
    std::string name;
    weir_device abi{};
};

/// A device that leads somewhere and is not one of ours to serve.
struct ForeignDevice {
    std::string name;
    std::string why;  ///< "named like another engine's", ...
    bool operator==(const ForeignDevice&) const = default;
};

struct NodeAddress {
    IpAddress address;
    bool node_ports = false;  ///< WEIR_NODE_ADDR_NODEPORT
    auto operator<=>(const NodeAddress&) const = default;
};

/// What the datapath has to know of the host's interfaces.
struct DeviceSet {
    std::vector<ExternalDevice> devices;      ///< by ifindex
    std::vector<NodeAddress> node_addresses;  ///< all but loopback; sorted
    uint32_t pod_mtu = 1500;                  ///< the least of the devices'
    /// Up, with a default route or an address of global scope, and left alone: pods that leave by
    /// one of these keep their own address. By ifindex.
    std::vector<ForeignDevice> foreign;
};
bool operator==(const DeviceSet& a, const DeviceSet& b);

/// Pure. A device found by itself is up, has a default route or an address of global scope, and is
/// neither lo, ours, excluded, a dummy, nor a port of a bridge or bond.
DeviceSet select_devices(const DeviceConfig& config, const NetworkState& state);

/// The DeviceSet of the namespace of the thread that opened it, followed. Not thread-safe.
class DeviceFollower {
  public:
    static Result<DeviceFollower> open(DeviceConfig config);
    /// Readable when on_readable() has something to do.
    [[nodiscard]] int fd() const { return events_.fd(); }
    /// Takes in what has happened; true if current() is another now. After lost notifications it
    /// reads everything anew.
    Result<bool> on_readable();
    /// The Node's own addresses, as in DeviceConfig; true as above.
    bool set_node_addresses(std::vector<IpAddress> addresses);
    /// Reads everything anew; true as above. For an occasional look in case anything was missed.
    Result<bool> refresh();
    [[nodiscard]] const DeviceSet& current() const { return current_; }
    [[nodiscard]] const NetworkState& state() const { return state_; }
    /// How often notifications were lost.
    [[nodiscard]] uint64_t resyncs() const { return resyncs_; }

  private:
    DeviceFollower(DeviceConfig config, Socket events, Socket requests)
        : config_(std::move(config)), events_(std::move(events)), requests_(std::move(requests)) {}
    Result<void> resync();
    bool update();

    DeviceConfig config_;
    Socket events_;
    Socket requests_;
    NetworkState state_;
    DeviceSet current_;
    uint64_t resyncs_ = 0;
};

}  // namespace weir::netlink
