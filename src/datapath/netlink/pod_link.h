// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/ip.h"
#include "common/result.h"
#include "datapath/netlink/names.h"
#include "datapath/netlink/netns.h"
#include "datapath/netlink/objects.h"
#include "datapath/netlink/turn_queue.h"

namespace weir::netlink {

struct PodAddress {
    IpAddress address;
    IpAddress gateway;  ///< link-local, the same for all pods
};

/// A pod's attachment: a veth whose one end is in the pod.
struct PodLinkSpec {
    std::string container_id;
    std::string ifname = "eth0";  ///< in the pod
    std::string host_ifname;      ///< see pod_host_ifname()
    std::string alias;            ///< for people: "shop/web-1 eth0"
    /// By family_index(); at least one.
    std::array<std::optional<PodAddress>, 2> addresses;
    uint32_t mtu = 1500;
    MacAddress host_mac{};
    MacAddress pod_mac{};
    uint32_t endpoint = 0;  ///< what both programs read from skb->tc_classid
};

/// Borrowed descriptors of the programs on the host's side.
struct PodPrograms {
    int from_pod = -1;  ///< ingress
    int to_pod = -1;    ///< egress
};

struct PodLink {
    uint32_t host_ifindex = 0;
    uint32_t pod_ifindex = 0;
    uint64_t netns_cookie = 0;
};

/// A link of ours found on the host.
struct FoundPodLink {
    Link link;
    std::optional<Attachment> attachment;  ///< absent: its creation was interrupted
};

enum class Kind : uint8_t { kLink, kAddress, kRoute, kNeighbour, kFilter };
inline constexpr size_t kKinds = 5;
std::string_view to_string(Kind kind);

/// Something of ours that is not as it should be.
struct Problem {
    Kind kind;
    std::string text;
};

/// Makes, checks, mends and removes pods' veths. Thread-safe: each call uses sockets of its own.
/// The callers' threads are in the host's namespace.
class PodLinks {
  public:
    /// `home`, the host's namespace, outlives this object.
    explicit PodLinks(const HomeNetNs& home) : home_(home) {}
    /// A pod's namespace; kInvalid, if it is the host's.
    [[nodiscard]] Result<NetNs> open_ns(const std::filesystem::path& path) const {
        return home_.open_pod(path);
    }

    /// When it returns, packets pass in both directions and families. On failure nothing is left.
    /// kExists: the pod has such an interface, or the host's name is taken; kNotFound: the
    /// namespace went away meanwhile.
    [[nodiscard]] Result<PodLink> create(const NetNs& ns, const PodLinkSpec& spec,
                                         PodPrograms programs) const;

    /// Everything create() made is there. What others have added is not looked at (CNI spec 1.1.0,
    /// CHECK). The error lists what is wrong.
    [[nodiscard]] Result<void> check(const NetNs& ns, const PodLinkSpec& spec,
                                     PodPrograms programs) const;

    /// What is wrong on the host's side, which is all that others on the host can spoil.
    [[nodiscard]] Result<std::vector<Problem>> inspect_host(const PodLinkSpec& spec,
                                                            PodPrograms programs) const;
    /// Puts the host's side in order. kNotFound: the link is gone, only a new ADD brings it back.
    [[nodiscard]] Result<void> repair_host(const PodLinkSpec& spec, PodPrograms programs) const;

    /// As bpf_get_netns_cookie() tells it.
    [[nodiscard]] Result<uint64_t> netns_cookie(const NetNs& ns) const;

    /// Success if there is no such link. kPermission: the link is not one of ours.
    [[nodiscard]] Result<void> remove(const std::string& host_ifname) const;
    /// By whose attachment it is; also one whose creation was interrupted before it was marked.
    [[nodiscard]] Result<void> remove(const std::string& container_id,
                                      const std::string& ifname) const;
    /// All pod links of ours on this host (not weir0), complete or not.
    [[nodiscard]] Result<std::vector<FoundPodLink>> list() const;

  private:
    const HomeNetNs& home_;
    /// Two: one prepares or answers while the other is in the kernel. Measured: half the median of
    /// thirty at once, the same maximum.
    mutable TurnQueue turns_{2};
};

/// Deletes every link of ours in the calling thread's namespace at once: pods' and weir0.
Result<void> remove_all_links();

}  // namespace weir::netlink
