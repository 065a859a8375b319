// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/run/record.h"
#include "cli/run/spec.h"

namespace weir::cli::run {

/// What changes about a pod while it runs.
struct PodState {
    bool running = false;
    bool ready = false;
    std::string created;
    std::string deleted;  ///< RFC 3339; empty: it is not being deleted
    std::vector<std::string> ips;
    std::string node;
};

/// The Kubernetes object (core/v1 Pod) of a run, as the cluster would show it.
std::string pod_json(const PodSpec& spec, const Record& record, const PodState& state);

}  // namespace weir::cli::run
