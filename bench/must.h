// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "common/result.h"

namespace weir::bench {

/// The value, or the end of the program with its name and the error.
template <typename T>
T must(Result<T> result) {
    if (!result) {
        fmt::print(stderr, "{}: {}\n", program_invocation_short_name, result.error().message());
        std::exit(1);
    }
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace weir::bench
