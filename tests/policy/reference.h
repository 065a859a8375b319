// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "policy/world.h"

/// What policies mean, straight from the texts of the two APIs: no tables, no numbers, every object
/// looked at for every question. What the compiler makes is held against this.
namespace weir::policy::test {

/// One end's question: may the pod exchange this with the peer?
struct Question {
    model::ObjectName pod;  ///< the end whose policies are asked
    bool egress = false;
    IpAddress peer;
    uint8_t protocol = 6;  ///< IPPROTO_*; other than TCP, UDP and SCTP: without ports
    uint16_t port = 0;     ///< of the flow's destination
    bool self = false;     ///< the peer is the pod itself, reached through a Service
};

struct Answer {
    bool allowed = true;
    /// What decided: "admin/NAME", "NAMESPACE/NAME", "baseline/NAME", "isolated" (selected, and no
    /// rule matches) or "default" (nothing says anything).
    std::string by = "default";
    int rule = -1;  ///< of the policy, from 0
};

/// Policies in audit mode say nothing, unless `audits`: then they count like any other.
[[nodiscard]] Answer judge(const World& world, const Question& question, bool audits = false);
/// Allowed, but not if policies in audit mode were enforced.
[[nodiscard]] bool would_deny(const World& world, const Question& question);

/// Ends of a flow, after Service translation and before any translation of the source.
struct Flow {
    IpAddress source;
    IpAddress destination;
    uint8_t protocol = 6;
    uint16_t port = 0;
    bool from_host = false;        ///< sent by the host itself
    bool through_service = false;  ///< the source called a Service
};

/// Both ends' word, with what the API exempts: a pod that calls its own address, and a pod with its
/// own node's host; a pod that reaches itself through a Service is exempt from NetworkPolicies
/// only. Only ends on this node are asked.
[[nodiscard]] bool allowed(const World& world, const Flow& flow, const IpAddress& own_node);

}  // namespace weir::policy::test
