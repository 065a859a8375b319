// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "kube/store.h"
#include "policy/rule.h"

namespace weir::agent {

/// The policies of a store, in the form of the policy room, and which of them select a pod.
class Policies {
  public:
    /// `ns`: asked for pods of this namespace only; "": of all. `store` outlives this and does not
    /// change meanwhile.
    explicit Policies(const kube::Store& store, const model::Text& ns = {});
    /// Ascending by precedes().
    [[nodiscard]] std::vector<policy::PolicyPtr> of(const model::Pod& pod) const;

  private:
    const kube::Store& store_;
    std::vector<policy::PolicyPtr> all_;  ///< ascending by precedes()
};

}  // namespace weir::agent
