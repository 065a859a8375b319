// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/api_types.h"
#include "agent/policing.h"

namespace weir::agent {

/// Policies as the local API shows them. On the agent's loop.
class PolicyView {
  public:
    /// All outlive this.
    PolicyView(const Policing& policing, const kube::Store& store, const Pods& pods)
        : policing_(policing), store_(store), pods_(pods) {}

    [[nodiscard]] api::PolicyState state() const;
    [[nodiscard]] Result<std::vector<api::Policy>> policies() const;
    [[nodiscard]] Result<std::vector<api::PodPolicy>> pods() const;
    /// Of the rules in force for pods of this node.
    [[nodiscard]] std::vector<api::ShadowedRule> shadowed() const;

  private:
    using ByTitle = std::map<std::string, api::Policy>;
    [[nodiscard]] ByTitle known() const;
    Result<void> add_rules(uint16_t set, std::set<uint32_t>& counted, ByTitle& to) const;
    Result<void> add_audited(uint16_t set, std::set<uint32_t>& counted, ByTitle& to) const;
    /// Of a set with policies in audit mode: what denies.
    [[nodiscard]] Result<std::vector<api::PolicyRule>> denying(uint16_t set) const;
    [[nodiscard]] Result<api::PolicyRule> rule(uint16_t set, uint16_t number) const;

    const Policing& policing_;
    const kube::Store& store_;
    const Pods& pods_;
};

}  // namespace weir::agent
