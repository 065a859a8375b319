// SPDX-License-Identifier: Apache-2.0
#include "policy/rule_set.h"

#include <algorithm>
#include <set>

namespace weir::policy {
namespace {

constexpr std::array kAllPortions = {Portion::kTcp, Portion::kUdp, Portion::kSctp, Portion::kOther};

Portion portion_of(model::Protocol protocol) {
    switch (protocol) {
        case model::Protocol::kTcp:
            return Portion::kTcp;
        case model::Protocol::kUdp:
            return Portion::kUdp;
        case model::Protocol::kSctp:
            break;
    }
    return Portion::kSctp;
}

bool resolves(const PortMatch& match, const NamedPort& port) {
    return match.name == port.name && (!match.protocol || *match.protocol == port.protocol);
}

/// Adds what the part matches at a destination with these named ports.
void expand(const RuleSet::Part& part, const std::vector<NamedPort>& named,
            std::vector<Match>& out) {
    if (part.any_port) {
        for (const Portion portion : kAllPortions)
            out.push_back({.tier = part.tier, .portion = portion, .rule = part.rule});
        return;
    }
    for (const PortMatch& match : part.ports) {
        if (match.name.empty()) {
            out.push_back(
                {part.tier, portion_of(*match.protocol), part.rule, match.first, match.last});
            continue;
        }
        for (const NamedPort& port : named) {
            if (!resolves(match, port)) continue;
            out.push_back(
                {part.tier, portion_of(port.protocol), part.rule, port.number, port.number});
        }
    }
}

/// Makes a RuleSet, policy by policy.
class Builder {
  public:
    Builder(const std::vector<PolicyPtr>& policies, const std::vector<NamedPort>& resolved,
            TermTable& terms, TermChange& change)
        : policies_(policies), resolved_(resolved), terms_(terms), change_(change) {}

    RuleSet build() {
        set_.policies = policies_;
        for (const Direction direction : kDirections)
            build(direction);
        return std::move(set_);
    }

  private:
    void build(Direction direction) {
        const size_t d = index_of(direction);
        const auto isolates = [d](const PolicyPtr& policy) { return policy->isolates[d]; };
        add_tier(direction, WEIR_POLICY_ADMIN);
        add_tier(direction, WEIR_POLICY_NETWORK);
        if (std::ranges::any_of(policies_, isolates)) {
            add_end(direction, {.kind = RuleOrigin::Kind::kIsolated,
                                .direction = direction,
                                .action = WEIR_POLICY_DENY,
                                .tier = WEIR_POLICY_NETWORK});
        }
        add_tier(direction, WEIR_POLICY_BASELINE);
        add_end(direction, {.kind = RuleOrigin::Kind::kDefault,
                            .direction = direction,
                            .action = WEIR_POLICY_ACCEPT,
                            .tier = WEIR_POLICY_BASELINE});
    }

    void add_tier(Direction direction, weir_policy_tier tier) {
        for (const PolicyPtr& policy : policies_) {
            if (policy->tier != tier) continue;
            const auto& rules = policy->rules[index_of(direction)];
            for (uint32_t i = 0; i < rules.size(); ++i)
                add_rule(direction, policy, i, rules[i]);
        }
    }

    void add_end(Direction direction, RuleOrigin origin) {
        const RuleSet::Part part{.rule = number(), .tier = origin.tier, .any_port = true};
        set_.rules.push_back(std::move(origin));
        expand(part, {}, set_.anybody[index_of(direction)]);
    }

    [[nodiscard]] uint16_t number() const { return static_cast<uint16_t>(set_.rules.size()); }

    /// On ingress, names are numbers by now.
    std::vector<PortMatch> ports_of(Direction direction, const Rule& rule) const {
        if (direction == Direction::kEgress) return rule.ports;
        std::vector<PortMatch> out;
        for (const PortMatch& match : rule.ports) {
            if (match.name.empty()) {
                out.push_back(match);
                continue;
            }
            for (const NamedPort& port : resolved_) {
                if (resolves(match, port))
                    out.push_back({port.protocol, port.number, port.number, model::Text()});
            }
        }
        return out;
    }

    void add_rule(Direction direction, const PolicyPtr& policy, uint32_t index, const Rule& rule) {
        RuleSet::Part part{.rule = number(),
                           .tier = policy->tier,
                           .any_port = rule.any_port,
                           .ports = ports_of(direction, rule)};
        set_.rules.push_back({.policy = policy,
                              .direction = direction,
                              .index = index,
                              .action = rule.action,
                              .tier = policy->tier});
        const size_t d = index_of(direction);
        std::vector<model::Text> names;
        for (const PortMatch& match : part.ports) {
            if (!match.name.empty()) names.push_back(match.name);
        }
        if (rule.any_peer) {
            expand(part, {}, set_.anybody[d]);
            if (names.empty()) return;
            std::erase_if(part.ports, [](const PortMatch& match) { return match.name.empty(); });
        }
        const TermId term = terms_.acquire(rule, names, change_);
        set_.uses.push_back({term, std::move(names)});
        set_.parts[d][term].push_back(std::move(part));
    }

    const std::vector<PolicyPtr>& policies_;
    const std::vector<NamedPort>& resolved_;
    TermTable& terms_;
    TermChange& change_;
    RuleSet set_;
};

size_t count_rules(const std::vector<PolicyPtr>& policies) {
    size_t count = 2 * kDirections.size();
    for (const PolicyPtr& policy : policies)
        count += policy->rules[0].size() + policy->rules[1].size();
    return count;
}

/// Of what decides for each owner: the first denial, else the first that accepts.
uint16_t strictest(const RuleSet& set, std::span<const uint64_t> cells) {
    uint16_t denies = WEIR_POLICY_NO_RULE;
    uint16_t accepts = WEIR_POLICY_NO_RULE;
    for (const uint64_t cell : cells) {
        const uint16_t rule = set.decide(cell);
        if (rule == WEIR_POLICY_NO_RULE) return rule;
        auto& first = set.rules[rule].action == WEIR_POLICY_DENY ? denies : accepts;
        first = std::min(first, rule);
    }
    return denies != WEIR_POLICY_NO_RULE ? denies : accepts;
}

}  // namespace

std::string RuleOrigin::to_string() const {
    switch (kind) {
        case Kind::kRule:
            return fmt::format("{} {}[{}]", policy->title(), policy::to_string(direction), index);
        case Kind::kIsolated:
            return fmt::format("isolated ({})", policy::to_string(direction));
        case Kind::kDefault:
            return fmt::format("default ({})", policy::to_string(direction));
        case Kind::kClosed:
            break;
    }
    return fmt::format("closed ({})", policy::to_string(direction));
}

void RuleSet::match(Direction direction, const Facts& facts, std::vector<Match>& out) const {
    const auto& by_term = parts[index_of(direction)];
    for (const TermId term : facts.terms) {
        const auto it = by_term.find(term);
        if (it == by_term.end()) continue;
        for (const Part& part : it->second)
            expand(part, facts.ports, out);
    }
}

uint16_t RuleSet::decide(uint64_t cell) const {
    for (unsigned tier = 0; tier < WEIR_POLICY_TIERS; ++tier) {
        const uint16_t rule = WEIR_POLICY_CELL_RULE(cell, tier);
        if (rule < rules.size() && rules[rule].action != WEIR_POLICY_PASS) return rule;
    }
    return WEIR_POLICY_NO_RULE;
}

TermIds RuleSet::terms() const {
    std::set<TermId> out;
    for (const TermUse& use : uses)
        out.insert(use.term);
    return {out.begin(), out.end()};
}

std::vector<NamedPort> resolve_names(const std::vector<PolicyPtr>& policies,
                                     const model::List<model::ContainerPort>& ports) {
    std::set<NamedPort> out;
    for (const PolicyPtr& policy : policies) {
        for (const Rule& rule : policy->rules[index_of(Direction::kIngress)]) {
            for (const PortMatch& match : rule.ports) {
                if (match.name.empty()) continue;
                for (const auto& port : ports) {
                    const NamedPort named{port.name, port.protocol, port.port};
                    if (resolves(match, named)) out.insert(named);
                }
            }
        }
    }
    return {out.begin(), out.end()};
}

Result<RuleSet> make_rule_set(const std::vector<PolicyPtr>& policies,
                              const std::vector<NamedPort>& resolved, TermTable& terms,
                              TermChange& change) {
    const size_t count = count_rules(policies);
    if (count >= WEIR_POLICY_NO_RULE) {
        return fail(Errc::kExhausted, "its {} policies have {} rules; {} are possible for one pod",
                    policies.size(), count, WEIR_POLICY_NO_RULE - 1);
    }
    return Builder(policies, resolved, terms, change).build();
}

Cells row_cells(const RuleSet& set, Direction direction, const Identity& identity) {
    if (identity.owners.size() == 1) {
        std::vector<Match> matches;
        set.match(direction, identity.owners.front(), matches);
        return build_cells(matches);
    }
    std::vector<Cells> several;
    for (const Facts& facts : identity.owners) {
        std::vector<Match> matches = set.anybody[index_of(direction)];
        set.match(direction, facts, matches);
        several.push_back(build_cells(matches));
    }
    return merge_cells(several,
                       [&](std::span<const uint64_t> cells) { return strictest(set, cells); });
}

}  // namespace weir::policy
