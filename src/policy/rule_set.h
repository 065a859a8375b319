// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <unordered_map>
#include <vector>

#include "policy/cells.h"
#include "policy/identities.h"

namespace weir::policy {

/// Where a rule number of a set comes from.
struct RuleOrigin {
    enum class Kind : uint8_t {
        kRule,      ///< of `policy`, at `index`
        kIsolated,  ///< the end of the NetworkPolicies that isolate: denied
        kDefault,   ///< nothing said anything: accepted
        kClosed,    ///< the set of endpoints that let nothing pass
    };
    Kind kind = Kind::kRule;
    PolicyPtr policy;
    Direction direction = Direction::kEgress;
    uint32_t index = 0;
    weir_policy_action action = WEIR_POLICY_ACCEPT;
    weir_policy_tier tier = WEIR_POLICY_NETWORK;

    /// "NetworkPolicy shop/web ingress[0]", "isolated (ingress)".
    [[nodiscard]] std::string to_string() const;
};

/// The rules of some policies for the endpoints that these select, numbered by precedence, and what
/// each asks of peers and ports. The named ports of ingress are resolved. Immutable.
struct RuleSet {
    /// What a rule asks of ports, once its peers match.
    struct Part {
        uint16_t rule = 0;
        weir_policy_tier tier = WEIR_POLICY_NETWORK;
        bool any_port = false;
        std::vector<PortMatch> ports;  ///< with names on egress only
    };
    struct TermUse {
        TermId term = 0;
        std::vector<model::Text> names;
    };

    std::vector<PolicyPtr> policies;  ///< kept: sets are told apart by them
    std::vector<RuleOrigin> rules;    ///< by number
    std::array<std::vector<Match>, 2> anybody;
    std::array<std::unordered_map<TermId, std::vector<Part>>, 2> parts;
    std::vector<TermUse> uses;  ///< references taken, to be given back

    /// What the facts of one owner match through their terms.
    void match(Direction direction, const Facts& facts, std::vector<Match>& out) const;
    /// The rule that decides, of a cell in which all matches of an owner are.
    [[nodiscard]] uint16_t decide(uint64_t cell) const;
    [[nodiscard]] TermIds terms() const;
};

/// Numbers that the ingress rules' named ports have in a pod; unknown names have none.
[[nodiscard]] std::vector<NamedPort> resolve_names(const std::vector<PolicyPtr>& policies,
                                                   const model::List<model::ContainerPort>& ports);

/// `policies` ascending by precedes(). Takes references to terms. Fails if there are more rules
/// than numbers; then no reference is held.
[[nodiscard]] Result<RuleSet> make_rule_set(const std::vector<PolicyPtr>& policies,
                                            const std::vector<NamedPort>& resolved,
                                            TermTable& terms, TermChange& change);

/// Row of an identity in a direction. Of several owners: final, the wildcard's matches included.
[[nodiscard]] Cells row_cells(const RuleSet& set, Direction direction, const Identity& identity);

}  // namespace weir::policy
