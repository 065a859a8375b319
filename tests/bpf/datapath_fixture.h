// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "bpf/packet.h"
#include "common/ip.h"
#include "weir/config.h"
#include "weir/ct.h"
#include "weir/endpoint.h"
#include "weir/event.h"
#include "weir/lb.h"
#include "weir/limits.h"

namespace weir::test {

/// The real programs with maps of their own, in a network namespace of the test's own with devices
/// and routes. Nothing is attached: packets go through by BPF_PROG_RUN, by way of the stubs.
class Datapath {
  public:
    struct Options {
        std::function<void(weir_config&)> config;
        /// Maps (by name) loaded as plain hashes with this many elements: so that they can be full.
        std::vector<std::pair<std::string, unsigned>> small_hashes;
    };
    struct Run {
        int verdict = 0;
        Bytes packet;
        uint32_t mark = 0;
        [[nodiscard]] Frame frame() const { return decode(packet); }
    };
    struct Source {
        unsigned ifindex = 0;
        unsigned ingress_ifindex = 0;
        uint32_t mark = 0;
        uint32_t gso_size = 0;
    };

    explicit Datapath(const Options& options);
    ~Datapath();
    Datapath(const Datapath&) = delete;
    Datapath& operator=(const Datapath&) = delete;

    Run run(weir_hook hook, const Bytes& packet, const Source& source);
    /// A program of the pod or host object by name, on a packet of no meaning.
    int run_program(const std::string& name);
    /// Nanoseconds a run, mean of `repeat`.
    uint32_t time_program(int fd, const Bytes& packet, unsigned ifindex, int repeat);

    [[nodiscard]] int map(const std::string& name) const;
    [[nodiscard]] int program(const std::string& name) const;

    template <typename Key, typename Value>
    void set(const char* name, const Key& key, const Value& value) {
        update(map(name), &key, &value);
    }
    template <typename Key>
    void erase(const char* name, const Key& key) {
        remove(map(name), &key);
    }
    template <typename Value, typename Key>
    std::optional<Value> get(const char* name, const Key& key) {
        Value value;
        return lookup(map(name), &key, &value) ? std::optional<Value>(value) : std::nullopt;
    }

    /// Sum over CPUs.
    uint64_t drops(weir_drop_reason reason);
    uint64_t counter(weir_counter counter);
    /// Events since the last call.
    std::vector<weir_event> events();

    /// As after construction: tables and counters empty, all programs in their slots.
    void reset();

    /// Number of elements of both families' tables.
    size_t half_count();
    size_t established_count();
    /// Established entries by weir_ct_counts; nullopt: it does not know.
    std::optional<size_t> counted_flows();
    /// Sets every word of weir_ct_counts.
    void set_counts(uint64_t word);
    /// Changes every entry of the established and half-open tables.
    void for_each_flow(const std::function<void(weir_ct&)>& change);
    /// Removes the half-open entries that `which` picks, as the kernel does for want of room.
    void push_out(const std::function<bool(const weir_ct&)>& which);

  private:
    struct Objects;
    static void update(int fd, const void* key, const void* value);
    static void remove(int fd, const void* key);
    static bool lookup(int fd, const void* key, void* value);
    void fill_shards();
    void fill_programs();
    std::unique_ptr<Objects> objects_;
};

/// The world of the tests, the same for all: two pods, a host, Services, an outside.
struct World {
    Family family;
    IpAddress pod_a, pod_b, router, gateway, node, client, vip, remote_pod, stranger;
    static World of(Family family);
};

/// Indexes of devices in the namespace, made before the first case.
struct Devices {
    unsigned pod_a, pod_b, external, second, host;
};
const Devices& devices();

inline constexpr uint16_t kNodePort = 30080;
inline constexpr uint16_t kBackendPort = 8080;
inline constexpr Mac kPodAMac = {0x02, 0, 0, 0, 0, 0x0a};
inline constexpr Mac kPodBMac = {0x02, 0, 0, 0, 0, 0x0b};
inline constexpr Mac kHostMac = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};

/// Fills endpoints, devices, addresses and ranges of both families.
void populate(Datapath& datapath);

inline constexpr uint16_t kOverlayPort = 4789;
/// Another node, which takes encapsulated packets at `outer`, has this address.
void add_peer(Datapath& datapath, const IpAddress& owned, const IpAddress& outer);

/// One Service port at `vip`:80 (and `node_port`, if not zero) with these backends.
struct ServiceSpec {
    IpAddress vip;
    uint8_t proto = kTcp;
    uint16_t node_port = 0;
    std::vector<std::pair<IpAddress, uint16_t>> backends;
    std::vector<std::pair<IpAddress, uint16_t>> local;
    uint32_t flags = 0;  ///< enum weir_service_flags, besides what the backends say
    uint32_t vip_flags = WEIR_VIP_CLUSTER_IP;
    uint32_t index = 1;
    uint32_t affinity_seconds = 0;
};
void add_service(Datapath& datapath, const ServiceSpec& spec);

inline constexpr int kRedirect = 7, kDropped = 2, kPassed = -1;

class DatapathTest : public testing::TestWithParam<Family> {
  protected:
    void SetUp() override;
    /// A datapath of other options, for this case alone.
    void load(const Datapath::Options& options);
    /// The pod at the other end sends, or receives from, the host.
    Datapath::Run from_a(const Frame& frame) { return from(devices().pod_a, frame); }
    Datapath::Run from_b(const Frame& frame) { return from(devices().pod_b, frame); }
    Datapath::Run from(unsigned ifindex, const Frame& frame);
    Datapath::Run from_outside(const Frame& frame);
    Datapath::Run to_pod(unsigned ifindex, const Frame& frame, unsigned ingress = 0);
    Datapath::Run from_host(unsigned ifindex, const Frame& frame);
    /// The answer to a packet as it came out; of TCP, the second of the handshake.
    static Frame reply_to(const Frame& out);
    /// A flow between the pods, from a's `port`, and its way back.
    Frame a_to_b(uint8_t flags = kSyn, uint16_t port = 4000) const {
        return {.src = world_.pod_a,
                .dst = world_.pod_b,
                .sport = port,
                .dport = kBackendPort,
                .tcp_flags = flags};
    }
    Frame b_to_a(uint8_t flags = kSyn | kAck, uint16_t port = 4000) const {
        return {.src_mac = kPodBMac,
                .src = world_.pod_b,
                .dst = world_.pod_a,
                .sport = kBackendPort,
                .dport = port,
                .tcp_flags = flags};
    }
    /// The verdict, and that no length or checksum of the packet is wrong.
    static void expect_clean(const Datapath::Run& run, int verdict = kRedirect);

    World world_ = World::of(Family::kIpv4);
    /// The one that all cases of the process share, or that of load().
    Datapath* datapath_ = nullptr;

  private:
    std::unique_ptr<Datapath> own_;
};

}  // namespace weir::test
