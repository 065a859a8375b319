// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "support/process.h"

namespace weir::test {

/// What became of requests that were never retried.
struct LoadReport {
    uint64_t ok = 0;
    uint64_t failed = 0;
    std::string errors;          ///< counts by error, as JSON
    std::set<std::string> pods;  ///< which servers answered
};

/// `shop load` in the background at a place: new connections all the time, or with
/// "--keep-alive" one connection a worker that has to last.
class Load {
  public:
    Load(std::string name, const Place& place, const std::vector<std::string>& targets,
         const std::vector<std::string>& more = {});
    /// Ends it. Fails the test if a request failed or fewer than `at_least` were made.
    LoadReport finish(uint64_t at_least = 10);

  private:
    std::string name_;
    Process process_;
};

}  // namespace weir::test
