// SPDX-License-Identifier: Apache-2.0
#include "policy/explain.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace weir::policy {
namespace {

bool satisfies(const PeerView& peer, const Atom& atom) {
    switch (atom.kind) {
        case Atom::Kind::kBlock:
            return atom.contains(peer.address);
        case Atom::Kind::kNodes:
            return peer.node != nullptr && atom.labels.matches(peer.node->meta.labels);
        case Atom::Kind::kPods:
            break;
    }
    static const model::Labels kNone;
    return peer.pod != nullptr &&
           atom.matches(peer.pod->meta.name, peer.pod->meta.labels,
                        peer.namespace_labels != nullptr ? *peer.namespace_labels : kNone);
}

bool named(const PortMatch& match, const model::Pod* destination, const FlowView& flow) {
    if (destination == nullptr) return false;
    return std::ranges::any_of(destination->ports, [&](const model::ContainerPort& port) {
        return port.name == match.name && port.port == flow.port &&
               static_cast<uint8_t>(port.protocol) == flow.protocol &&
               (!match.protocol || *match.protocol == port.protocol);
    });
}

bool on_port(const Rule& rule, const model::Pod* destination, const FlowView& flow) {
    if (rule.any_port) return true;
    return std::ranges::any_of(rule.ports, [&](const PortMatch& match) {
        if (!match.name.empty()) return named(match, destination, flow);
        return static_cast<uint8_t>(*match.protocol) == flow.protocol && match.first <= flow.port &&
               flow.port <= match.last;
    });
}

RuleVerdict hold(const PolicyPtr& policy, uint32_t index, const Rule& rule,
                 const model::Pod* destination, const PeerView& peer, const FlowView& flow) {
    RuleVerdict out{.policy = policy, .index = index, .action = rule.action};
    out.peer = rule.any_peer;
    if (!rule.any_peer) {
        for (const Atom& atom : rule.peers) {
            const bool satisfied = satisfies(peer, atom);
            out.terms.push_back({atom.to_string(), satisfied});
            out.peer = out.peer || satisfied;
        }
    }
    out.port = on_port(rule, destination, flow);
    return out;
}

/// The policies of one direction, tier by tier.
class Judge {
  public:
    Judge(std::span<const PolicyPtr> policies, Direction direction)
        : policies_(policies), direction_(direction) {
        for (const PolicyPtr& policy : policies) {
            if (isolated_by_ == nullptr && policy->isolates[index_of(direction)])
                isolated_by_ = policy;
        }
    }

    Explanation run(const model::Pod& subject, const PeerView& peer, const FlowView& flow) {
        const model::Pod* destination = direction_ == Direction::kEgress ? peer.pod : &subject;
        for (const weir_policy_tier tier :
             {WEIR_POLICY_ADMIN, WEIR_POLICY_NETWORK, WEIR_POLICY_BASELINE}) {
            passed_ = false;
            for (const PolicyPtr& policy : policies_) {
                if (policy->tier == tier) judge(policy, destination, peer, flow);
            }
            if (tier == WEIR_POLICY_NETWORK && isolated_by_ != nullptr && !decided_)
                isolate(flow.self);
        }
        if (!decided_) out_.by = "no policy decides";
        return std::move(out_);
    }

  private:
    void judge(const PolicyPtr& policy, const model::Pod* destination, const PeerView& peer,
               const FlowView& flow) {
        const auto& rules = policy->rules[index_of(direction_)];
        for (uint32_t i = 0; i < rules.size(); ++i) {
            RuleVerdict verdict = hold(policy, i, rules[i], destination, peer, flow);
            verdict.reached = !decided_ && !passed_;
            if (verdict.reached && verdict.peer && verdict.port) {
                passed_ = verdict.action == WEIR_POLICY_PASS;
                verdict.decides = !passed_;
                if (verdict.decides) decide(verdict);
            }
            out_.rules.push_back(std::move(verdict));
        }
    }

    void decide(const RuleVerdict& verdict) {
        decided_ = true;
        out_.allowed = verdict.action == WEIR_POLICY_ACCEPT;
        out_.by =
            fmt::format("{} {}[{}]", verdict.policy->title(), to_string(direction_), verdict.index);
    }

    /// No pod is isolated from itself.
    void isolate(bool self) {
        decided_ = true;
        out_.allowed = self;
        out_.by = "isolated by " + isolated_by_->title();
        if (self) out_.by += ", though not from itself";
    }

    std::span<const PolicyPtr> policies_;
    Direction direction_;
    PolicyPtr isolated_by_;
    bool decided_ = false;
    bool passed_ = false;
    Explanation out_;
};

bool covers(const PortMatch& wide, const PortMatch& narrow) {
    if (!wide.name.empty() || !narrow.name.empty()) return wide == narrow;
    return wide.protocol == narrow.protocol && wide.first <= narrow.first &&
           narrow.last <= wide.last;
}

/// Does everything that matches `narrow` match `wide`?
bool covers(const Rule& wide, const Rule& narrow) {
    const bool peers =
        wide.any_peer || (!narrow.any_peer && std::ranges::all_of(narrow.peers, [&](const Atom& a) {
            return std::ranges::find(wide.peers, a) != wide.peers.end();
        }));
    const bool ports =
        wide.any_port ||
        (!narrow.any_port && std::ranges::all_of(narrow.ports, [&](const PortMatch& one) {
            return std::ranges::any_of(wide.ports,
                                       [&](const PortMatch& other) { return covers(other, one); });
        }));
    return peers && ports;
}

struct Placed {
    PolicyPtr policy;
    uint32_t index;
    const Rule* rule;
    bool after_pass = false;  ///< a Pass rule of its tier may skip it
};

/// Within a tier whoever gets to the later rule has met the earlier one. Beyond it, only if that
/// ends the evaluation and cannot have been skipped. What is only audited stands in nobody's way
/// who is not.
bool forestalls(const Placed& earlier, const Placed& later) {
    if (earlier.policy->audit && !later.policy->audit) return false;
    const bool same = earlier.policy->tier == later.policy->tier;
    return (same || (earlier.rule->action != WEIR_POLICY_PASS && !earlier.after_pass)) &&
           covers(*earlier.rule, *later.rule);
}

}  // namespace

Explanation explain(std::span<const PolicyPtr> policies, const model::Pod& subject,
                    const PeerView& peer, const FlowView& flow) {
    std::vector<PolicyPtr> enforced;
    std::ranges::copy_if(policies, std::back_inserter(enforced),
                         [](const PolicyPtr& policy) { return !policy->audit; });
    Explanation out = Judge(enforced, flow.direction).run(subject, peer, flow);
    if (!out.allowed || enforced.size() == policies.size()) return out;
    Explanation would = Judge(policies, flow.direction).run(subject, peer, flow);
    if (!would.allowed) out.would_deny = std::move(would.by);
    return out;
}

Explanation explain(std::span<const PolicyPtr> policies, const model::Pod& subject,
                    std::span<const PeerView> owners, const FlowView& flow) {
    Explanation out;
    for (size_t i = 0; i < owners.size(); ++i) {
        Explanation one = explain(policies, subject, owners[i], flow);
        const bool stricter = out.allowed && (!one.allowed || (one.would_deny && !out.would_deny));
        if (i == 0 || stricter) out = std::move(one);
        if (!out.allowed) break;
    }
    return out;
}

std::string Shadowed::to_string() const {
    return fmt::format("{} {}[{}] never decides: {} {}[{}] comes first and matches all it matches",
                       policy->title(), policy::to_string(direction), index, by->title(),
                       policy::to_string(direction), by_index);
}

/// An isolated pod's Baseline rules never decide either, which is what isolation is for: only rules
/// against rules are told.
std::vector<Shadowed> shadowed(std::span<const PolicyPtr> policies) {
    std::vector<Shadowed> out;
    for (const Direction direction : kDirections) {
        std::vector<Placed> before;
        for (const PolicyPtr& policy : policies) {
            const auto& rules = policy->rules[index_of(direction)];
            for (uint32_t i = 0; i < rules.size(); ++i) {
                Placed placed{policy, i, &rules[i]};
                placed.after_pass = std::ranges::any_of(before, [&](const Placed& one) {
                    return one.policy->tier == policy->tier && one.rule->action == WEIR_POLICY_PASS;
                });
                const auto by = std::ranges::find_if(
                    before, [&](const Placed& one) { return forestalls(one, placed); });
                if (by != before.end())
                    out.push_back({policy, direction, i, by->policy, by->index});
                before.push_back(placed);
            }
        }
    }
    return out;
}

}  // namespace weir::policy
