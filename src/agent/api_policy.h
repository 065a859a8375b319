// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// What the local API says of policies; see api_types.h.
namespace weir::api {

/// A rule in force for pods of this node.
struct PolicyRule {
    std::string direction;
    std::string rule;
    std::string tier;
    std::string action;
    uint64_t hits = 0;
    std::string since;
    std::string last;

    static constexpr void fields(auto&& add) {
        add("direction", &PolicyRule::direction, "ingress or egress");
        add("rule", &PolicyRule::rule,
            "\"NetworkPolicy shop/web ingress[0]\": policy, direction and place in its list; "
            "\"isolated (ingress)\": what NetworkPolicies did not admit; \"default (ingress)\": "
            "what no policy spoke of");
        add("tier", &PolicyRule::tier, "admin, network or baseline");
        add("action", &PolicyRule::action, "accept, deny or pass");
        add("hits", &PolicyRule::hits,
            "flows that it decided, also those decided anew after a change; over restarts of the "
            "agent, without the last minute of one that was killed");
        add("since", &PolicyRule::since, "since when they are counted");
        add("last", &PolicyRule::last, "the latest, to the minute; empty: none");
    }
};

/// GET /v1/policies: a list of these. Every policy that is known, whether or not it is about pods
/// of this node.
struct Policy {
    std::string kind;
    std::string ns;
    std::string name;
    std::string tier;
    uint64_t priority = 0;
    bool audit = false;
    std::vector<std::string> pods;
    std::vector<PolicyRule> rules;
    uint64_t hits = 0;

    static constexpr void fields(auto&& add) {
        add("kind", &Policy::kind, "NetworkPolicy or ClusterNetworkPolicy");
        add("namespace", &Policy::ns, "namespace; empty for a ClusterNetworkPolicy");
        add("name", &Policy::name, "name");
        add("tier", &Policy::tier, "admin, network or baseline");
        add("priority", &Policy::priority, "within admin and baseline; the lowest goes first");
        add("audit", &Policy::audit, "it decides nothing: what it would deny is counted");
        add("pods", &Policy::pods, "NAMESPACE/NAME of the pods of this node that it selects");
        add("rules", &Policy::rules, "its rules that are in force for these");
        add("hits", &Policy::hits, "of all its rules");
    }
};

/// GET /v1/pod-policies: a list of these, one a pod of this node.
struct PodPolicy {
    std::string ns;
    std::string name;
    std::string state;
    std::string reason;
    std::string deny;
    std::vector<std::string> policies;
    std::vector<PolicyRule> rules;
    std::vector<PolicyRule> would_deny;

    static constexpr void fields(auto&& add) {
        add("namespace", &PodPolicy::ns, "namespace");
        add("name", &PodPolicy::name, "name");
        add("state", &PodPolicy::state,
            "open: no policy selects it; enforced; audit: its namespace is in audit mode, nothing "
            "is denied; closed: nothing passes");
        add("reason", &PodPolicy::reason, "why it is closed");
        add("deny", &PodPolicy::deny, "what becomes of what is denied: drop or reject");
        add("policies", &PodPolicy::policies, "those that select it, in order of precedence");
        add("rules", &PodPolicy::rules,
            "all rules of these, in the order in which they are asked; the first of a tier that "
            "matches decides, or passes on to the next tier");
        add("would_deny", &PodPolicy::would_deny,
            "rules that would deny if policies in audit mode decided; hits are of what passed");
    }
};

/// GET /v1/shadowed-rules: a list of these.
struct ShadowedRule {
    std::string rule;
    std::string by;
    std::vector<std::string> pods;

    static constexpr void fields(auto&& add) {
        add("rule", &ShadowedRule::rule, "policy, direction and place in its list");
        add("by", &ShadowedRule::by, "the rule that comes first and matches all that it matches");
        add("pods", &ShadowedRule::pods, "NAMESPACE/NAME of the pods for which it never decides");
    }
};

/// One rule held against a flow.
struct ExplainedRule {
    std::string rule;
    std::string action;
    bool reached = false;
    bool peer = false;
    bool port = false;
    bool decides = false;
    std::vector<std::string> satisfied;
    std::vector<std::string> unsatisfied;

    static constexpr void fields(auto&& add) {
        add("rule", &ExplainedRule::rule, "policy, direction and place in its list");
        add("action", &ExplainedRule::action, "accept, deny or pass");
        add("reached", &ExplainedRule::reached, "nothing before it decided");
        add("peer", &ExplainedRule::peer, "the other end matches");
        add("port", &ExplainedRule::port, "protocol and port match");
        add("decides", &ExplainedRule::decides, "its action is what becomes of the flow");
        add("satisfied", &ExplainedRule::satisfied, "its peers that the other end is one of");
        add("unsatisfied", &ExplainedRule::unsatisfied, "its peers that the other end is not");
    }
};

/// One end of a flow: what its policies say.
struct ExplainedEnd {
    std::string direction;
    std::string end;
    bool allowed = true;
    std::string by;
    std::string would_deny;
    std::vector<ExplainedRule> rules;

    static constexpr void fields(auto&& add) {
        add("direction", &ExplainedEnd::direction, "egress of the sender, ingress of the receiver");
        add("end", &ExplainedEnd::end, "whose policies these are");
        add("allowed", &ExplainedEnd::allowed, "it passes here");
        add("by", &ExplainedEnd::by, "the rule that decides, or why none is asked");
        add("would_deny", &ExplainedEnd::would_deny,
            "the rule that would deny it if policies in audit mode were enforced");
        add("rules", &ExplainedEnd::rules, "all rules of the direction, as they are asked");
    }
};

/// GET /v1/policy-explanation?from=&to=&port=&protocol=
struct Explanation {
    bool allowed = true;
    std::string from;
    std::string to;
    std::string protocol;
    uint64_t port = 0;
    std::vector<ExplainedEnd> ends;
    std::vector<Explanation> backends;

    static constexpr void fields(auto&& add) {
        add("allowed", &Explanation::allowed,
            "both ends let it pass; to a Service: whichever backend is chosen");
        add("from", &Explanation::from, "who sends");
        add("to", &Explanation::to, "who receives");
        add("protocol", &Explanation::protocol, "protocol");
        add("port", &Explanation::port, "port of the receiver");
        add("ends", &Explanation::ends, "the sender's egress, the receiver's ingress");
        add("backends", &Explanation::backends, "to a Service: the same of each ready backend");
    }
};

}  // namespace weir::api
