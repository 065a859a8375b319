// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cni/environment.h"

namespace weir::cni {

/// What the process ends with. `output` is all that goes to stdout.
struct Ending {
    int exit_code = 0;
    std::string output;
};

/// One CNI operation: reads nothing but its arguments, writes nothing but `stderr`, the agent's
/// socket and the DEL queue. Blocks for a bounded time.
Ending run(const Variables& variables, std::string_view input);

}  // namespace weir::cni
