// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/cluster_policy.h"
#include "model/types.h"
#include "weir/policy.h"

/// Policies of both kinds in one form, which is all that the rest of this room knows.
namespace weir::policy {

enum class Direction : uint8_t {
    kEgress = WEIR_POLICY_EGRESS,
    kIngress = WEIR_POLICY_INGRESS,
};
inline constexpr std::array kDirections = {Direction::kEgress, Direction::kIngress};
constexpr size_t index_of(Direction direction) {
    return static_cast<size_t>(direction);
}
std::string_view to_string(Direction direction);

/// One peer: pods, nodes, or a block of addresses.
struct Atom {
    enum class Kind : uint8_t { kPods, kNodes, kBlock };
    Kind kind = Kind::kPods;
    model::Text ns;                   ///< of kPods: in this namespace; "": by `namespaces`
    model::LabelSelector namespaces;  ///< of kPods without `ns`
    model::LabelSelector labels;      ///< of the pods or the nodes
    IpPrefix block;
    std::vector<IpPrefix> except;  ///< ascending
    bool operator==(const Atom&) const = default;

    /// Equal for equal atoms only.
    [[nodiscard]] std::string key() const;
    /// Of kPods: is this pod one of them?
    [[nodiscard]] bool matches(const model::ObjectName& pod, const model::Labels& pod_labels,
                               const model::Labels& ns_labels) const;
    /// Of kBlock.
    [[nodiscard]] bool contains(const IpAddress& address) const;
    /// "pods app=web of namespace shop", "10.0.0.0/8 except 10.1.0.0/16".
    [[nodiscard]] std::string to_string() const;
};

/// A range of ports of a protocol, or a name to be looked up in the destination pod.
struct PortMatch {
    std::optional<model::Protocol> protocol;  ///< absent: whatever the named port has
    uint16_t first = 0;
    uint16_t last = 65535;
    model::Text name;  ///< "": by number
    bool operator==(const PortMatch&) const = default;
};

struct Rule {
    weir_policy_action action = WEIR_POLICY_ACCEPT;
    bool any_peer = false;
    std::vector<Atom> peers;  ///< any of them, unless any_peer
    bool any_port = false;    ///< and traffic without ports
    std::vector<PortMatch> ports;
};

struct Policy {
    model::ObjectName name;  ///< without namespace: a ClusterNetworkPolicy
    model::Text uid;
    weir_policy_tier tier = WEIR_POLICY_NETWORK;
    uint16_t priority = 0;
    Atom subject;                    ///< of kPods
    std::array<bool, 2> isolates{};  ///< by direction; of NetworkPolicies
    std::array<std::vector<Rule>, 2> rules;
    bool audit = false;  ///< decides nothing: what it would deny is counted and shown
    std::vector<std::string> problems;  ///< what of it does not work as written

    /// "NetworkPolicy shop/web", "ClusterNetworkPolicy deny-all".
    [[nodiscard]] std::string title() const;
};
using PolicyPtr = std::shared_ptr<const Policy>;

/// The annotation that puts a policy or a namespace into audit mode ("true"), and the one that
/// makes denials of a namespace's pods answered ("reject") instead of dropped.
inline constexpr std::string_view kAuditAnnotation = "policy.weir.io/audit";
inline constexpr std::string_view kDenyAnnotation = "policy.weir.io/deny-action";

/// Never fails: a NetworkPolicy with a mistake isolates what it selects and allows nothing; a rule
/// of a ClusterNetworkPolicy with a peer that is not served accepts nothing, or denies everything.
[[nodiscard]] Policy normalise(const model::NetworkPolicy& policy);
[[nodiscard]] Policy normalise(const model::ClusterNetworkPolicy& policy);

/// Does `a` come before `b` within a tier?
[[nodiscard]] bool precedes(const Policy& a, const Policy& b);

}  // namespace weir::policy
