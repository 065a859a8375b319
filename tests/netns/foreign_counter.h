// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include <linux/bpf.h>

#include "common/fd.h"

namespace weir::test {

enum class Way : uint8_t { kTcx, kClsact };
enum class Side : uint8_t { kIngress, kEgress };

/// Somebody else's program: counts its runs and lets everything pass. Attached beside others until
/// this object goes, which detaches it (a clsact qdisc it has added stays). Failures throw.
class ForeignCounter {
  public:
    /// To a cgroup, `type` being one of its socket address hooks.
    ForeignCounter(int cgroup_fd, bpf_attach_type type);
    /// To a device of this network namespace. Programs of tcx run in the order of attachment,
    /// before all of clsact; those by their priority.
    ForeignCounter(uint32_t ifindex, Way way, Side side, uint32_t priority = 100);
    ForeignCounter(const ForeignCounter&) = delete;
    ForeignCounter& operator=(const ForeignCounter&) = delete;
    ~ForeignCounter();

    [[nodiscard]] uint64_t runs() const;
    /// Still where it was put, by the kernel's word.
    [[nodiscard]] bool attached() const;

  private:
    struct Filter {
        uint32_t ifindex;
        Side side;
        uint32_t priority;
    };
    Fd map_;
    Fd program_;
    std::optional<Fd> link_;
    std::optional<Filter> filter_;
};

}  // namespace weir::test
