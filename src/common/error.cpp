// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <system_error>

#include "common/result.h"

namespace weir {
namespace {

Errc classify(int os_errno) {
    switch (os_errno) {
        case ENOENT:
        case ENODEV:
        case ESRCH:
            return Errc::kNotFound;
        case EEXIST:
            return Errc::kExists;
        case EPERM:
        case EACCES:
            return Errc::kPermission;
        case ENOSPC:
        case E2BIG:
            return Errc::kExhausted;
        case EAGAIN:
        case ECONNREFUSED:
        case ETIMEDOUT:
            return Errc::kUnavailable;
        case EOPNOTSUPP:
            return Errc::kUnsupported;
        default:
            return Errc::kSystem;
    }
}

}  // namespace

Error system_error(int os_errno, std::string_view what) {
    return {classify(os_errno),
            fmt::format("{}: {}", what, std::generic_category().message(os_errno)), os_errno};
}

}  // namespace weir
