// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "lb/categorize.h"
#include "lb/plan.h"

namespace weir::lb {

struct CompiledService {
    std::vector<ServicePortPlan> plans;  ///< one for each port and family
    std::vector<std::string> warnings;   ///< parts of the input that were ignored, and why
};

/// False for objects that another proxy serves (label service.kubernetes.io/service-proxy-name) or
/// none (service.kubernetes.io/headless). Presence of the label decides, on Services and on slices.
bool is_proxied(const model::Labels& labels);

/// Kubernetes' rules for one Service: which addresses it answers on and which endpoints serve them.
/// `slices` are all of the Service, in any order. No plans for a Service without ClusterIP.
CompiledService compile(const model::Service& service, Slices slices, const NodeContext& node);

}  // namespace weir::lb
