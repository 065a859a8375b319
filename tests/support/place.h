// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace weir::test {

/// Where a child of a test runs.
struct Place {
    std::string netns = {};   ///< path of a network namespace; empty: the test's own
    std::string cgroup = {};  ///< directory of a cgroup2; empty: the test's own
};

/// In a forked child: ties its life to the test's and moves it to `place`. Allocates nothing, so
/// that it may be called after a fork in a process with threads. False with errno on failure.
bool settle(const Place& place);

}  // namespace weir::test
