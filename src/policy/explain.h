// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "policy/rule.h"

/// Why a flow passes or not, term by term, from the policies themselves: no tables are asked.
namespace weir::policy {

/// The other end as far as it is known.
struct PeerView {
    IpAddress address;
    const model::Pod* pod = nullptr;                  ///< the pod that owns the address
    const model::Labels* namespace_labels = nullptr;  ///< of that pod's namespace
    const model::Node* node = nullptr;                ///< the node that owns it
};

struct FlowView {
    Direction direction = Direction::kIngress;
    uint8_t protocol = 0;  ///< IPPROTO_*
    uint16_t port = 0;     ///< of the destination; 0 without ports
    bool self = false;     ///< the peer is the pod itself, reached through a Service
};

/// One rule held against a flow.
struct RuleVerdict {
    struct PeerTerm {
        std::string text;  ///< "pods app=web of namespace shop"
        bool satisfied = false;
    };
    PolicyPtr policy;
    uint32_t index = 0;
    weir_policy_action action = WEIR_POLICY_ACCEPT;
    bool peer = false;            ///< one of the terms is satisfied, or there are none to satisfy
    std::vector<PeerTerm> terms;  ///< empty: everybody
    bool port = false;
    bool reached = false;  ///< nothing before it decided, nor passed its tier on
    bool decides = false;
};

struct Explanation {
    bool allowed = true;
    /// "NetworkPolicy shop/web ingress[0]", "isolated by NetworkPolicy shop/deny", "no policy
    /// decides".
    std::string by;
    std::vector<RuleVerdict> rules;  ///< of the direction, by precedence
    /// It is allowed, but would be denied by this if policies in audit mode were enforced.
    std::optional<std::string> would_deny;
};

/// `policies`: those that select the pod, ascending by precedes(). `subject`: the pod asked about.
/// The rules told of are those that are enforced.
[[nodiscard]] Explanation explain(std::span<const PolicyPtr> policies, const model::Pod& subject,
                                  const PeerView& peer, const FlowView& flow);

/// Of a peer that several live owners claim: as the one that is denied, if one is.
[[nodiscard]] Explanation explain(std::span<const PolicyPtr> policies, const model::Pod& subject,
                                  std::span<const PeerView> owners, const FlowView& flow);

/// A rule that can never decide, and the one that stands in its way.
struct Shadowed {
    PolicyPtr policy;
    Direction direction = Direction::kIngress;
    uint32_t index = 0;
    PolicyPtr by;
    uint32_t by_index = 0;
    [[nodiscard]] std::string to_string() const;
};

/// Rules of these policies (ascending by precedes(), of one pod) that an earlier rule always
/// forestalls: one that matches everything they match. Never wrong, but does not find rules that
/// only several others together cover.
[[nodiscard]] std::vector<Shadowed> shadowed(std::span<const PolicyPtr> policies);

}  // namespace weir::policy
