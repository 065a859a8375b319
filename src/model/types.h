// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ip.h"
#include "model/labels.h"
#include "model/list.h"
#include "model/text.h"

/// Kubernetes-shaped domain types: what the decoders produce and the compilers read. Plain values;
/// only the fields Weir uses. Defaults of the API are applied by the decoders, so a reader never
/// asks whether a field was set unless the type says std::optional.
namespace weir::model {

enum class Protocol : uint8_t { kTcp = 6, kUdp = 17, kSctp = 132 };  ///< values: IPPROTO_*
std::string_view to_string(Protocol protocol);
/// "TCP", "UDP", "SCTP"; anything else is an error.
Result<Protocol> parse_protocol(std::string_view text);

/// A port of the host that leads to one of a pod on it: hostPort of the API, a mapping of the CNI
/// capability "portMappings".
struct HostPort {
    Protocol protocol = Protocol::kTcp;
    uint16_t host_port = 0;
    uint16_t container_port = 0;
    /// None: every address of the host. The unspecified address: every one of its family.
    std::optional<IpAddress> host_ip;
    bool operator==(const HostPort&) const = default;
};
/// Where ports are listed by their Service, those of pod NAME are under "pod/NAME", which no
/// Service is called.
inline constexpr std::string_view kHostPortOwner = "pod/";

/// Namespace and name. Cluster-scoped objects have an empty namespace.
struct ObjectName {
    Text ns;
    Text name;
    [[nodiscard]] std::string to_string() const {
        return ns.empty() ? name.str() : fmt::format("{}/{}", ns, name);
    }
    auto operator<=>(const ObjectName&) const = default;
};

struct Meta {
    ObjectName name;
    Text uid;
    Labels labels;
    Labels annotations;
    /// RFC 3339, as given; empty if unknown. Compares as text.
    Text created;
    bool deleting = false;  ///< deletionTimestamp is set
    bool operator==(const Meta&) const = default;
};

/// A port by number or by name.
struct PortRef {
    uint16_t number = 0;  ///< 0: by name
    Text name;
    bool operator==(const PortRef&) const = default;
};

struct ServicePort {
    Text name;  ///< "" for a single unnamed port
    Protocol protocol = Protocol::kTcp;
    uint16_t port = 0;
    PortRef target;          ///< defaults to `port`
    uint16_t node_port = 0;  ///< 0: none
    bool operator==(const ServicePort&) const = default;
};

enum class ServiceType : uint8_t { kClusterIp, kNodePort, kLoadBalancer, kExternalName };
enum class TrafficPolicy : uint8_t { kCluster, kLocal };
/// spec.trafficDistribution: which hints the endpoint controller gives (PreferClose: kSameZone).
enum class TrafficDistribution : uint8_t { kAny, kSameZone, kSameNode };

struct LoadBalancerIngress {
    IpAddress ip;
    bool proxy_mode = false;  ///< ipMode: Proxy, not to be programmed
    bool operator==(const LoadBalancerIngress&) const = default;
};

/// core/v1 Service.
struct Service {
    Meta meta;
    ServiceType type = ServiceType::kClusterIp;
    bool headless = false;               ///< clusterIP: None
    std::vector<IpAddress> cluster_ips;  ///< by family, at most one each; empty: none allocated
    std::vector<IpAddress> external_ips;
    std::vector<LoadBalancerIngress> ingress;  ///< status.loadBalancer.ingress with an ip
    std::vector<ServicePort> ports;
    std::optional<Labels> selector;  ///< absent: endpoints come from slices only
    TrafficPolicy internal_policy = TrafficPolicy::kCluster;
    TrafficPolicy external_policy = TrafficPolicy::kCluster;
    std::vector<IpPrefix> source_ranges;
    std::optional<uint32_t> affinity_seconds;  ///< sessionAffinity: ClientIP
    uint16_t health_check_node_port = 0;
    bool publish_not_ready = false;
    /// ipFamilies, else those of the cluster IPs; empty: a headless Service that names none, which
    /// has endpoints of both.
    std::vector<Family> families;
    TrafficDistribution distribution = TrafficDistribution::kAny;
    bool operator==(const Service&) const = default;
};

struct EndpointPort {
    Text name;
    Protocol protocol = Protocol::kTcp;
    uint16_t port = 0;
    bool operator==(const EndpointPort&) const = default;
};

struct Endpoint {
    IpAddress address;  ///< addresses[0]; the others are ignored, as everywhere
    bool ready = true;
    bool serving = true;
    bool terminating = false;
    Text node_name;  ///< empty: not on any node
    Text zone;
    List<Text> zone_hints;
    List<Text> node_hints;
    ObjectName target;  ///< the Pod; empty name: none
    bool operator==(const Endpoint&) const = default;
};

/// discovery.k8s.io/v1 EndpointSlice of one family (FQDN slices are not decoded).
struct EndpointSlice {
    Meta meta;
    ObjectName service;  ///< of label kubernetes.io/service-name
    Family family = Family::kIpv4;
    std::vector<EndpointPort> ports;
    std::vector<Endpoint> endpoints;
    bool operator==(const EndpointSlice&) const = default;
};

enum class PodPhase : uint8_t { kPending, kRunning, kSucceeded, kFailed, kUnknown };

struct ContainerPort {
    Text name;
    Protocol protocol = Protocol::kTcp;
    uint16_t port = 0;
    uint16_t host_port = 0;
    std::optional<IpAddress> host_ip;
    bool operator==(const ContainerPort&) const = default;
};

/// Of a Pod that stands for a static one: the uid under which its node's runtime knows it.
inline constexpr std::string_view kMirrorAnnotation = "kubernetes.io/config.mirror";

struct Pod {
    Meta meta;
    Text node_name;
    bool host_network = false;
    PodPhase phase = PodPhase::kPending;
    bool ready = false;  ///< condition Ready
    List<IpAddress> ips;
    List<ContainerPort> ports;
    /// Succeeded or Failed: owns no address any more.
    [[nodiscard]] bool finished() const {
        return phase == PodPhase::kSucceeded || phase == PodPhase::kFailed;
    }
    bool operator==(const Pod&) const = default;
};

struct Node {
    Meta meta;
    std::vector<IpPrefix> pod_cidrs;
    std::vector<IpAddress> internal_ips;
    std::vector<IpAddress> external_ips;
    bool operator==(const Node&) const = default;
};

struct Namespace {
    Meta meta;
    bool operator==(const Namespace&) const = default;
};

/// networking.k8s.io/v1 ServiceCIDR: ranges that ClusterIPs are taken from.
struct ServiceCidr {
    Meta meta;
    std::vector<IpPrefix> cidrs;
    bool operator==(const ServiceCidr&) const = default;
};

/// metav1.LabelSelector; empty selects everything.
struct LabelRequirement {
    enum class Op : uint8_t { kIn, kNotIn, kExists, kDoesNotExist };
    Text key;
    Op op = Op::kIn;
    std::vector<Text> values;
    bool operator==(const LabelRequirement&) const = default;
};
struct LabelSelector {
    std::vector<LabelRequirement> requirements;  ///< matchLabels become kIn with one value
    [[nodiscard]] bool matches(const Labels& labels) const;
    bool operator==(const LabelSelector&) const = default;
};

struct PolicyPort {
    std::optional<Protocol> protocol;
    std::optional<PortRef> port;
    uint16_t end_port = 0;
    bool operator==(const PolicyPort&) const = default;
};
struct PolicyPeer {
    std::optional<LabelSelector> pods;
    std::optional<LabelSelector> namespaces;
    std::optional<IpPrefix> block;
    std::vector<IpPrefix> except;
    bool operator==(const PolicyPeer&) const = default;
};
struct PolicyRule {
    std::vector<PolicyPort> ports;  ///< empty: all
    std::vector<PolicyPeer> peers;  ///< empty: all
    bool operator==(const PolicyRule&) const = default;
};

/// networking.k8s.io/v1 NetworkPolicy.
struct NetworkPolicy {
    Meta meta;
    LabelSelector subjects;
    bool ingress = false;  ///< policyTypes after defaulting
    bool egress = false;
    std::vector<PolicyRule> ingress_rules;
    std::vector<PolicyRule> egress_rules;
    bool operator==(const NetworkPolicy&) const = default;
};

}  // namespace weir::model

template <>
struct std::hash<weir::model::ObjectName> {
    size_t operator()(const weir::model::ObjectName& name) const noexcept {
        const std::hash<weir::model::Text> hash;
        return hash(name.ns) * 0x9e3779b97f4a7c15ULL + hash(name.name);
    }
};
