// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"

namespace shop {

struct ServeOptions {
    std::string name;
    uint16_t port = 8080;
    std::string upstream;  ///< URL asked once for each request; empty: none
    /// After SIGTERM: goes on serving this long, as a pod with a preStop hook does, so that those
    /// who still come are served while the Service forgets this backend.
    std::chrono::milliseconds drain{0};
    std::chrono::milliseconds timeout{3000};  ///< for the upstream
};
/// HTTP on TCP and an echo on UDP, both families, until SIGTERM.
weir::Result<void> serve(const ServeOptions& options);

struct LoadOptions {
    std::vector<std::string> urls;  ///< used in turn
    unsigned workers = 4;
    uint64_t requests = 0;                    ///< 0: until SIGTERM or SIGINT
    uint64_t at_least = 0;                    ///< a signal is obeyed after so many, or a failure
    std::chrono::milliseconds pause{0};       ///< of each worker between requests
    std::chrono::milliseconds timeout{3000};  ///< of each step of a request
    bool keep_alive = false;                  ///< one connection a worker for its whole life
};
/// Requests that are never retried; prints one JSON line with counts by errno and by pod.
/// False if any request failed.
weir::Result<bool> load(const LoadOptions& options);

}  // namespace shop
