// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ip.h"
#include "model/types.h"
#include "weir/event.h"

/// What the programs report, with names: events of the ring buffer become records that people,
/// filters and JSON readers understand. Everything here belongs to one thread, the agent's loop.
namespace weir::flow {

enum class PeerKind : uint8_t {
    kOutside,  ///< no name is known for the address
    kPod,
    kHost,  ///< this node
    kNode,  ///< another node
};

/// What is known of one end of a flow. Immutable and shared between records: a pod's labels exist
/// once however many flows it has.
struct Identity {
    PeerKind kind = PeerKind::kOutside;
    model::ObjectName name;  ///< pod or node; empty outside
    model::Labels labels;
    std::string workload_kind;  ///< owner, "Deployment"; empty if unknown
    std::string workload;
};
using IdentityPtr = std::shared_ptr<const Identity>;

/// A Service port.
struct ServicePortName {
    model::ObjectName service;
    std::string port;  ///< name of the port, or its number
};

/// Names for numbers, answered by the agent from what it knows now. Called on the agent's loop.
class Resolver {
  public:
    virtual ~Resolver() = default;
    /// The pod, node or outside behind an address. Never null.
    [[nodiscard]] virtual IdentityPtr by_address(const IpAddress& address) const = 0;
    /// The local pod of an endpoint id; null if the id is free.
    [[nodiscard]] virtual IdentityPtr by_endpoint(uint32_t id) const = 0;
    /// The Service port of an index in weir_services; nothing if the index is free.
    [[nodiscard]] virtual std::optional<ServicePortName> service(uint32_t index) const = 0;
    /// A policy rule by its WEIR_EVENT_RULE, "NetworkPolicy shop/web ingress[0]"; "" if gone.
    [[nodiscard]] virtual std::string rule(uint32_t rule) const = 0;
    /// The name of a device of this host, "" if gone.
    [[nodiscard]] virtual std::string device(uint32_t ifindex) const = 0;
};

enum class RecordType : uint8_t { kNew, kEnd, kDrop, kLost };

/// An address, a port and who it is.
struct Peer {
    IpAddress ip;
    uint16_t port = 0;  ///< host order; 0 for protocols without ports
    IdentityPtr identity;
};

/// One event. `destination` is where the packet was delivered; `sent_to` is what the originator
/// addressed, when that differs (a Service address).
struct Record {
    RecordType type = RecordType::kNew;
    uint64_t sequence = 0;
    int64_t time_ns = 0;  ///< Unix time
    Family family = Family::kIpv4;
    uint8_t protocol = 0;
    uint8_t hook = 0;    ///< enum weir_hook
    uint8_t reason = 0;  ///< kDrop: enum weir_drop_reason; kEnd: enum weir_event_end
    uint8_t tcp_flags = 0;
    uint8_t ct_kind = 0;  ///< enum weir_ct_kind
    Peer source;
    Peer destination;
    std::optional<std::pair<IpAddress, uint16_t>> sent_to;
    std::optional<std::pair<IpAddress, uint16_t>> source_translated;
    std::optional<ServicePortName> service;
    std::string device;
    std::string rule;              ///< kDrop: the policy rule that denied it; kNew: that let it in
    std::string egress_rule;       ///< kNew: that let it out of its source
    uint32_t length = 0;           ///< kDrop: bytes
    double duration_seconds = 0;   ///< kEnd
    uint64_t suppressed = 0;       ///< kDrop: like ones that were not reported before this
    uint64_t lost = 0;             ///< kLost: how many records are missing here
    std::string_view lost_source;  ///< kLost: "ring" or "subscriber"; static text
};
using RecordPtr = std::shared_ptr<const Record>;

/// Turns events into records: names, wall-clock time, one sequence. One per agent.
class Recorder {
  public:
    /// `resolver` must outlive this.
    explicit Recorder(const Resolver& resolver) : resolver_(resolver) {}
    [[nodiscard]] RecordPtr make(const weir_event& event);
    /// A record that says that `count` records are missing.
    [[nodiscard]] static RecordPtr make_lost(uint64_t count, std::string_view source);

  private:
    const Resolver& resolver_;
    uint64_t sequence_ = 0;
};

/// Label of a drop reason ("no_endpoints") and its text; "unknown" beyond the list, which a newer
/// program may do.
std::string_view drop_label(unsigned reason);
std::string_view drop_text(unsigned reason);
/// The reason of a label; nothing if there is none.
std::optional<uint8_t> drop_by_label(std::string_view label);

/// "TCP", "UDP", "ICMP", "ICMPv6", "SCTP" or the number.
std::string protocol_name(uint8_t protocol);
std::optional<uint8_t> protocol_by_name(std::string_view name);

/// Packets at this hook come out of a pod or the host (EGRESS) or go in (INGRESS).
bool is_egress(uint8_t hook);

/// One line for people, without the time:
/// "FORWARDED TCP shop/web-1:41234 -> shop/api-0:8080 via shop/api:http (new)".
std::string summary(const Record& record);

/// One line of NDJSON, without the line feed: {"flow": {…}} or {"lost_events": {…}}. Field names
/// are Hubble's where the meaning is the same; what only Weir knows is in "weir".
std::string to_json(const Record& record, std::string_view node_name);

}  // namespace weir::flow
