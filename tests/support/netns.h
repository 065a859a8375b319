// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/fd.h"
#include "support/place.h"

namespace weir::test {

/// A network namespace of the test's own, without a name: gone with the last descriptor and
/// process. Loopback is up. Needs root. Failures throw: a test cannot go on without it.
class NetNs {
  public:
    NetNs();

    [[nodiscard]] int fd() const { return fd_.get(); }
    /// As bpf_get_netns_cookie() tells it.
    [[nodiscard]] uint64_t cookie() const;
    /// For children of this process.
    [[nodiscard]] Place place() const;
    /// Runs a program of iproute2 inside, e.g. {"ip", "addr", "add", ...}; throws if it fails.
    void run(const std::vector<std::string>& command) const;

  private:
    Fd fd_;
};

}  // namespace weir::test
