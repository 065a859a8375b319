// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <fmt/format.h>
#include <tl/expected.hpp>

#include "common/cni_protocol.h"

namespace weir::cni {

/// A CNI error: what the plugin prints instead of a result.
struct Failure {
    Code code;
    std::string message;
    std::string details;
};

template <typename T = void>
using Outcome = tl::expected<T, Failure>;

template <typename... Args>
[[nodiscard]] tl::unexpected<Failure> refuse(Code code, fmt::format_string<Args...> format,
                                             Args&&... args) {
    return tl::unexpected(Failure{code, fmt::format(format, std::forward<Args>(args)...), {}});
}

}  // namespace weir::cni
