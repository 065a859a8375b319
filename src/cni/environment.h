// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cni/failure.h"

namespace weir::cni {

enum class Command : uint8_t { kAdd, kDel, kCheck, kGc, kStatus, kVersion };
/// "add": the last part of the agent's path.
std::string_view operation(Command command);

/// The plugin's parameters, as the runtime gives them in the environment.
struct Environment {
    Command command = Command::kVersion;
    std::string container_id;
    std::string netns;  ///< path; empty if DEL came without
    std::string ifname;
    std::vector<std::pair<std::string, std::string>> args;  ///< of CNI_ARGS, in order
    bool netns_override = false;  ///< CNI_NETNS_OVERRIDE: the host's own namespace is meant
};

/// A variable's value; empty if unset. CNI makes no difference.
using Variables = std::function<std::string(const char* name)>;

/// What each command needs is there and well-formed, or kEnvironment naming every variable that is
/// not.
Outcome<Environment> read_environment(const Variables& variables);

}  // namespace weir::cni
