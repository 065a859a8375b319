// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace weir::kube::api {

/// Which agent writes what concerns the whole cluster.
struct Leadership {
    std::string holder;  ///< its Node; "" if there is none, or it is not known
    bool self = false;   ///< it is this agent
    std::chrono::system_clock::time_point since{};  ///< since when `holder` is seen here
    int64_t transitions = 0;                        ///< how often another agent was elected
    std::string error;                              ///< why nothing is known of it now
};

}  // namespace weir::kube::api
