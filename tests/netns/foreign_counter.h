// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <linux/bpf.h>

#include "common/fd.h"

namespace weir::test {

/// Somebody else's cgroup program: counts its runs and lets everything pass. Attached beside others
/// as long as it lives. Failures throw.
class ForeignCounter {
  public:
    ForeignCounter(int cgroup_fd, bpf_attach_type type);

    [[nodiscard]] uint64_t runs() const;

  private:
    Fd map_;
    Fd program_;
    Fd link_;
};

}  // namespace weir::test
