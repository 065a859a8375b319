// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "model/types.h"

namespace weir::kube {

/// The zone of a node by name, "" if not known.
using ZoneOf = std::function<std::string_view(const model::Text& node)>;

/// True if the cluster's controller would make slices for the Service: it has a selector and is no
/// ExternalName.
bool wants_endpoints(const model::Service& service);

/// True if the Service selects the pod.
bool selects(const model::Service& service, const model::Pod& pod);

/// The EndpointSlices that the cluster's controller would make for the Service out of the pods it
/// selects ("EndpointSlice controller rules"): one for each family and set of resolved ports, of
/// any size. Deterministic: the same input gives the same slices, names and order whatever the
/// order of `pods`.
std::vector<model::EndpointSlice> make_slices(const model::Service& service,
                                              std::span<const model::Pod* const> pods,
                                              const ZoneOf& zone_of);

}  // namespace weir::kube
