// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "kube/tree.h"

namespace weir::kube {

/// Parses JSON values standing one after another (RFC 8259; a lone surrogate becomes U+FFFD, as Go
/// reads it), giving each to `take`. Returns the first mistake; lines count from `first_line`.
/// Apart from the YAML parser because that cannot read all escapes of JSON, and for its speed.
std::optional<SyntaxError> parse_json(std::string_view text, uint32_t first_line,
                                      const std::function<void(Tree)>& take);

/// True if all of `text` is well-formed UTF-8.
bool valid_utf8(std::string_view text);

}  // namespace weir::kube
