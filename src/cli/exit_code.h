// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/result.h"

namespace weir::cli {

/// What a shell sees; a promise to scripts.
enum ExitCode : int {
    kOk = 0,
    kFailed = 1,       ///< it failed, or what was looked at is degraded
    kUsage = 2,        ///< the command line is wrong
    kUnreachable = 3,  ///< the agent cannot be reached
    kPermission = 4,   ///< not allowed
    kInterrupted = 130,
};

inline int exit_code_of(const Error& error) {
    switch (error.code()) {
        case Errc::kInvalid:
            return kUsage;
        case Errc::kUnavailable:
            return kUnreachable;
        case Errc::kPermission:
            return kPermission;
        default:
            return kFailed;
    }
}

}  // namespace weir::cli
