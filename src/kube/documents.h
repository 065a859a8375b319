// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string_view>

#include <tl/expected.hpp>

#include "kube/tree.h"

namespace weir::kube {

/// Splits a file at its "---" lines and parses each part on its own, so that a mistake in one
/// document leaves the others readable. Parts may be YAML or JSON, one JSON value after another.
/// Empty documents are left out. `take` is called in the order of the file.
void for_each_document(std::string_view text,
                       const std::function<void(tl::expected<Tree, SyntaxError>)>& take);

}  // namespace weir::kube
