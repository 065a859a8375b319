// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace weir::agent {

/// Of this build: "0.1.0 (1a2b3c4)".
std::string_view build_version();

}  // namespace weir::agent
