// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/ip.h"
#include "common/result.h"
#include "datapath/datapath.h"

struct ring_buffer;

namespace weir::bench {

inline constexpr unsigned kPods = 250;
inline constexpr unsigned kServices = 10'000;
inline constexpr unsigned kEndpointsEach = 10;
inline constexpr unsigned kNodePorts = 2768;
inline constexpr unsigned kDatagramServices = 256;  ///< the first; they have a port for UDP, too
inline constexpr uint16_t kServicePort = 80;
inline constexpr uint16_t kFirstNodePort = 30000;
inline constexpr uint16_t kFirstBackendPort = 8000;

IpAddress pod_address(Family family, unsigned pod);
IpAddress vip(Family family, unsigned service);
IpAddress node_address(Family family);
IpAddress outsider(Family family, unsigned number);

/// A node as the agent makes it, with tables full of pods and Services but without traffic: the
/// real loader, objects and writers, in mount and network namespaces of the process's own, so that
/// everything goes with the process. Nothing is attached to a device.
class Node {
  public:
    /// `policed`: every pod is under a policy that lets pods and outsiders in and out, by the pods'
    /// label and by two ranges; otherwise under none.
    static Result<std::unique_ptr<Node>> make(bool policed);
    ~Node();
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    /// The stub of a hook, as devices have it.
    [[nodiscard]] Result<Fd> stub(std::string_view hook) const;
    [[nodiscard]] unsigned external() const { return external_; }
    [[nodiscard]] unsigned veth() const { return veth_; }
    /// Endpoint ids of the pods.
    [[nodiscard]] const std::vector<uint32_t>& pods() const { return pods_; }

    struct Counts {
        uint64_t drops = 0, created = 0, lost_events = 0, new_events = 0;
    };
    /// Since the start, all CPUs. Reads the ring buffer empty.
    [[nodiscard]] Result<Counts> counts();
    /// Reads events; cheap if there are none.
    void drain();

    using Visit = std::function<void(Family, const void* key, const weir_ct& entry)>;
    /// Visits all half-open flows.
    [[nodiscard]] Result<void> for_each_half(const Visit& visit) const;
    /// Entries of established flows.
    [[nodiscard]] Result<size_t> count_established() const;
    /// Deletes them.
    [[nodiscard]] Result<void> clear_established() const;
    /// Deletes a family's half-open flows and says how many entries there were.
    [[nodiscard]] Result<size_t> clear_half(Family family) const;

  private:
    Node() = default;
    Result<void> make_namespaces();
    Result<void> fill_host_tables();
    Result<void> fill_services();
    Result<void> fill_policies(bool policed);
    using VisitShard = std::function<Result<void>(const datapath::RawMap&)>;
    [[nodiscard]] Result<void> for_each_shard(const VisitShard& visit) const;

    std::unique_ptr<datapath::Datapath> datapath_;
    struct FreeRing {
        void operator()(ring_buffer* ring) const;
    };
    std::unique_ptr<ring_buffer, FreeRing> ring_;
    std::vector<uint32_t> pods_;
    std::vector<uint16_t> generations_;  // of pods_
    unsigned external_ = 0, veth_ = 0, host_ = 0;
    uint64_t new_events_ = 0;
};

}  // namespace weir::bench
