// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unordered_map>
#include <vector>

#include "lb/compile.h"

namespace weir::lb {

/// Service ports that come, change or go, as Tables::apply takes them.
struct Changes {
    std::vector<ServicePortPlan> upserts;
    std::vector<uint64_t> removed;  ///< ServicePortPlan::id
};

/// Turns changed objects into changed Service ports: compiles, and remembers which ports each
/// Service had. One thread.
class Planner {
  public:
    explicit Planner(NodeContext node) : node_(std::move(node)) {}

    /// The caller then updates every Service: hints and locality depend on the node.
    void set_node(NodeContext node) { node_ = std::move(node); }

    /// The Service or one of its slices changed: all ports of it, as they are now, are added to
    /// `changes`. An unchanged port costs nothing in the tables. Returns the warnings.
    std::vector<std::string> update(const model::Service& service, Slices slices, Changes& changes);
    /// The Service is gone.
    void remove(const model::ObjectName& service, Changes& changes);

  private:
    NodeContext node_;
    std::unordered_map<model::ObjectName, std::vector<uint64_t>> ports_;
};

}  // namespace weir::lb
