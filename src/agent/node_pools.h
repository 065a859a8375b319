// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/config.h"
#include "kube/api/node_ranges.h"
#include "kube/store.h"

namespace weir::agent {

/// The blocks that Nodes are given, as configured; null if none are.
Result<std::shared_ptr<kube::api::BlockSource>> block_source(const Config& config);

/// Keeps track of which Node has which ranges: most changes of Nodes are none of these.
class NodeRangesOfAll {
  public:
    /// True if the ranges of one of them, or the Node itself, are others than before.
    bool update(const kube::Store& store, const kube::NameSet& nodes);
    [[nodiscard]] std::vector<kube::api::NodeRanges> list() const;

  private:
    std::map<std::string, kube::api::NodeRanges> nodes_;
};

/// Of all pods that are not finished and have their own.
std::vector<IpAddress> pod_addresses(const kube::Store& store);

}  // namespace weir::agent
