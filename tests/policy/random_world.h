// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "policy/reference.h"
#include "policy/world.h"

namespace weir::policy::test {

/// 0..limit-1, evenly.
int below(int limit);
bool one_in(int n);

/// What an edit changed, as far as a test has to know.
enum class Edit : uint8_t { kPolicy, kCluster };

/// Changes one object of the world, or several: mostly policies.
Edit edit_policy(World& world);
Edit edit_cluster(World& world);
/// A world with a few of everything.
World random_world();
/// One question about a pod of this node.
Question random_question(const World& world, uint32_t endpoint);

}  // namespace weir::policy::test
