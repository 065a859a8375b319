// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "common/result.h"
#include "kube/api/access.h"

namespace weir::kube::api {

/// One object as JSON, by its path. Blocks until there is an answer or no server gives one, at most
/// half a minute a server: for commands, not for an agent's loop. kNotFound: there is no such
/// object; kPermission: it is forbidden; kUnavailable: anything else.
Result<std::string> fetch(const Access& access, const std::string& path);

}  // namespace weir::kube::api
