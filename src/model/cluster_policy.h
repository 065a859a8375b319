// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "model/types.h"

namespace weir::model {

enum class PolicyTier : uint8_t { kAdmin, kBaseline };
enum class PolicyAction : uint8_t { kAccept, kDeny, kPass };

/// What a rule is about, or a policy's subject: exactly one of namespaces, pods (with namespaces),
/// nodes and networks.
struct ClusterPolicyPeer {
    enum class Kind : uint8_t {
        kNamespaces,  ///< every pod of the matching namespaces
        kPods,        ///< pods that match, in namespaces that match
        kNodes,
        kNetworks,
        /// A field that Weir does not know or does not serve (domainNames): an Accept rule matches
        /// nobody through it, a Deny or Pass rule denies everybody.
        kUnsupported,
    };
    Kind kind = Kind::kUnsupported;
    LabelSelector namespaces;
    LabelSelector pods;
    LabelSelector nodes;
    std::vector<IpPrefix> networks;
    bool operator==(const ClusterPolicyPeer&) const = default;
};

/// One entry of `protocols`: a protocol with a range of ports, or a name, which stands for the
/// port (and protocol) of that name in each destination pod.
struct ClusterPolicyPort {
    std::optional<Protocol> protocol;  ///< absent: by name
    uint16_t first = 0;                ///< 0: every port of the protocol
    uint16_t last = 0;
    Text name;
    bool operator==(const ClusterPolicyPort&) const = default;
};

struct ClusterPolicyRule {
    Text name;
    PolicyAction action = PolicyAction::kAccept;
    std::vector<ClusterPolicyPeer> peers;  ///< at least one
    std::vector<ClusterPolicyPort> ports;  ///< empty: all traffic, also that without ports
    bool operator==(const ClusterPolicyRule&) const = default;
};

/// policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy.
struct ClusterNetworkPolicy {
    Meta meta;
    PolicyTier tier = PolicyTier::kAdmin;
    uint16_t priority = 0;      ///< 0..1000, the lowest first
    ClusterPolicyPeer subject;  ///< kNamespaces or kPods
    std::vector<ClusterPolicyRule> ingress_rules;
    std::vector<ClusterPolicyRule> egress_rules;
    bool operator==(const ClusterNetworkPolicy&) const = default;
};

}  // namespace weir::model
