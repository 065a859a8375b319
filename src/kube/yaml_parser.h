// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "kube/tree.h"

namespace weir::kube {

/// Parses a YAML stream, giving each document to `take`; plain scalars have the types that kubectl
/// gives them (YAML 1.1: `on` is a boolean, `0x1f` a number). Anchors, aliases and `<<` are
/// expanded within the tree's limits. Returns the first mistake, which ends the stream; lines count
/// from `first_line`.
std::optional<SyntaxError> parse_yaml(std::string_view text, uint32_t first_line,
                                      const std::function<void(Tree)>& take);

/// The type of an unquoted, untagged scalar.
Tree::Type plain_type(std::string_view text);

}  // namespace weir::kube
