// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "agent/router.h"
#include "flow/hub.h"

namespace weir::api {

/// Records that may wait for one follower before it loses some.
inline constexpr size_t kFlowQueue = 4096;

/// The handler of GET /v1/flows: the history, then (follow=1) what comes. `hub` must outlive the
/// server; used on the server's loop.
Result<std::unique_ptr<LineSource>> flow_stream(flow::Hub& hub, const std::string& node_name,
                                                const Request& request);

}  // namespace weir::api
