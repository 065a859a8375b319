// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <linux/types.h>

#include "common/ip.h"
#include "support/cgroup.h"
#include "support/netns.h"
#include "weir/config.h"
#include "weir/endpoint.h"
#include "weir/event.h"
#include "weir/lb.h"

// clang-format off: the skeleton uses the types above without including them
#include "sock.skel.h"
// clang-format on

namespace weir::test {

/// The socket hooks, loaded and attached to a cgroup, with tables a test fills by hand. Failures
/// throw.
class SockHooks {
  public:
    /// `flags`: enum weir_config_flags.
    SockHooks(const Cgroup& cgroup, uint32_t flags);

    /// Serves a namespace as endpoint `endpoint` (0: the host).
    void serve(const NetNs& netns, uint32_t endpoint, uint32_t flags = 0);
    void node_address(const std::string& address, uint32_t flags);

    struct Vip {
        std::string address;  ///< of a NodePort: any address of its family
        uint16_t port = 0;
        uint8_t proto = 0;
        uint32_t flags = WEIR_VIP_CLUSTER_IP;
        uint8_t scope = WEIR_VIP_SERVICE;
    };
    void vip(const Vip& vip, uint32_t service);
    /// Whom restricted addresses of the service admit.
    void range(uint32_t service, const std::string& prefix, uint32_t verdict = WEIR_RANGE_ADMIT);
    /// The address of a pod that serve() names.
    void endpoint(uint32_t id, const std::string& v4, const std::string& v6);
    void remove_vip(const Vip& vip);

    void backend(uint32_t id, const std::string& address, uint16_t port, uint8_t proto,
                 uint8_t state = WEIR_BACKEND_READY);

    struct Service {
        std::vector<uint32_t> cluster;  ///< backend ids
        std::vector<uint32_t> local = {};
        uint32_t flags = WEIR_SVC_IN_USE;
        uint32_t generation = 1;
    };
    /// Writes new extents and makes the service use them, as the agent does.
    void service(uint32_t index, const Service& service);

    [[nodiscard]] uint64_t counter(enum weir_counter which) const;
    /// Elements of weir_socks.
    [[nodiscard]] size_t remembered() const;

  private:
    uint64_t extent(const std::vector<uint32_t>& backends);

    struct Destroy {
        void operator()(weir_sock_bpf* skeleton) const { weir_sock_bpf::destroy(skeleton); }
    };
    struct Detach {
        void operator()(bpf_link* link) const { bpf_link__destroy(link); }
    };
    std::unique_ptr<weir_sock_bpf, Destroy> skeleton_;
    std::vector<std::unique_ptr<bpf_link, Detach>> links_;
    std::map<uint32_t, weir_backend> backends_;  ///< as in the kernel, by id
    uint32_t next_slot_ = 1;
    uint32_t next_tag_ = 1;
};

}  // namespace weir::test
