// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "agent/config.h"

namespace weir::agent {

/// Runs the agent until SIGTERM or SIGINT; nothing is detached or removed when it ends. The error
/// says why it did not start, or why it cannot go on.
Result<void> run_agent(Start start);

}  // namespace weir::agent
