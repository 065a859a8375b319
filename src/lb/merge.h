// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lb/plan.h"
#include "model/types.h"

/// EndpointSlices of a Service to the endpoints of one of its ports.
namespace weir::lb {

struct MergedEndpoint {
    PlanBackend backend;
    bool local = false;                       ///< on this node
    const model::Endpoint* origin = nullptr;  ///< conditions and hints; lives in the slice
};

using Slices = std::span<const model::EndpointSlice* const>;

/// All endpoints of `port`, ascending, no address and port twice. Slices match by family, port name
/// and protocol. Of two endpoints with the same address and port the one is taken that is not
/// terminating (the address may have been given to another pod already), then the ready, the
/// serving, the local one, then that of the newest slice.
std::vector<MergedEndpoint> merge_endpoints(Slices slices, const PortName& port,
                                            const model::Text& node_name);

/// Why Kubernetes forbids `address` as an endpoint or a Service's address; nullopt: it does not.
std::optional<std::string_view> unusable(const IpAddress& address);

/// One line for each endpoint that merge_endpoints ignores although it is listed.
std::vector<std::string> endpoint_warnings(Slices slices);

}  // namespace weir::lb
