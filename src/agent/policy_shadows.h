// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "agent/api_types.h"
#include "kube/store.h"
#include "policy/rule.h"

/// Rules that never decide anything.
namespace weir::agent {

/// A pod and the policies that select it, ascending by precedes().
struct PoliciesOfPod {
    std::string pod;  ///< NAMESPACE/NAME
    std::vector<policy::PolicyPtr> policies;
};

/// By rule. Pods under the same policies cost the same as one.
[[nodiscard]] std::vector<api::ShadowedRule> shadowed_rules(std::vector<PoliciesOfPod> pods);
/// Of all pods of a store.
[[nodiscard]] std::vector<api::ShadowedRule> shadowed_rules(const kube::Store& store);

}  // namespace weir::agent
