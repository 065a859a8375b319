// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "common/result.h"

namespace weir::kube::api {

/// The content of a gzip stream of one or more members. Fails if it is cut, damaged, or would be
/// over `limit` bytes.
Result<std::string> gunzip(std::string_view compressed, size_t limit);

}  // namespace weir::kube::api
