// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "agent/api_types.h"
#include "kube/api/api_source.h"

namespace weir::agent {

/// How the reading of each kind goes.
std::vector<api::KindState> kind_states(const kube::api::ApiSource& source);
/// Who writes what concerns the whole cluster.
api::Leader leader_of(const kube::api::ApiSource& source);

}  // namespace weir::agent
