// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <vector>

#include "ipam/pools.h"

namespace weir::agent {

/// What wiring made, as the CNI result tells it.
struct Wired {
    std::string host_ifname;
    std::string host_mac;  ///< "ee:ee:ee:ee:ee:ee"
    std::string pod_mac;
    uint32_t mtu = 0;
};

/// Connects pods to the node: the device, its addresses and routes, its endpoint in the tables.
/// Calls block and come from several threads, for one container never at the same time.
class PodWirer {
  public:
    PodWirer() = default;
    PodWirer(const PodWirer&) = delete;
    PodWirer& operator=(const PodWirer&) = delete;
    virtual ~PodWirer() = default;

    /// When it returns, packets pass. kExists: the pod has such an interface; kNotFound: its
    /// network namespace is gone. On failure unwire() is called.
    virtual Result<Wired> wire(const ipam::Record& record) = 0;
    /// Removes whatever wire() made, also when it was interrupted. No error if there is nothing.
    virtual Result<void> unwire(const ipam::AttachmentKey& key) = 0;
    /// All that wire() made is there. kNotFound: the interface is not; others say what is wrong.
    virtual Result<void> check(const ipam::Record& record) = 0;
    /// Every attachment that exists on this host.
    virtual Result<std::vector<ipam::Found>> list() = 0;
};

/// MAC address of the host side of every pod's veth and of weir0: a frame redirected from one to
/// the other is accepted only if they are equal.
inline constexpr std::array<uint8_t, 6> kHostMac = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};

/// Where a pod sends everything: link-local, the same for all pods (see docs/architecture.md).
inline IpAddress pod_gateway(Family family) {
    constexpr std::array<uint8_t, 16> kV6 = {0xfe, 0x80, 0,    0,    0,    0,    0,    0,
                                             0xec, 0xee, 0xee, 0xff, 0xfe, 0xee, 0xee, 0xee};
    return family == Family::kIpv4 ? IpAddress::v4(0xa9fe0101) : IpAddress::from_bytes(kV6);
}

}  // namespace weir::agent
