// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cli/run_options.h"
#include "common/result.h"
#include "model/types.h"

namespace weir::cli::run {

struct Port {
    std::string name;
    uint16_t number = 0;
    model::Protocol protocol = model::Protocol::kTcp;
};

/// When the pod counts as ready.
struct Readiness {
    enum class Kind : uint8_t { kRunning, kTcp, kHttp };
    Kind kind = Kind::kRunning;
    uint16_t port = 0;
    std::string path;
};

/// The command line of `weir run`, checked.
struct PodSpec {
    std::string ns;
    std::string name;
    std::string hostname;
    std::map<std::string, std::string> labels;
    std::vector<Port> ports;
    std::vector<model::HostPort> host_ports;
    Readiness readiness;
    std::chrono::nanoseconds drain{};
    std::vector<std::string> command;
};

/// Errors name the option. Names are held to what Kubernetes takes for the object.
Result<PodSpec> parse_spec(const RunOptions& options);

}  // namespace weir::cli::run
