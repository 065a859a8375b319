// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "common/result.h"
#include "model/types.h"

namespace weir::agent {

/// What an agent must know of its own Node before it can wire a pod: pod ranges and addresses. Kept
/// in the run directory, so that an agent that starts while no API server answers can serve. It is
/// of this boot, as the directory is.
Result<void> save_node(const std::filesystem::path& run_dir, const model::Node& node);
/// Nothing if there is no file, or it is about another node or cannot be read.
std::optional<model::Node> load_node(const std::filesystem::path& run_dir,
                                     std::string_view node_name);

}  // namespace weir::agent
