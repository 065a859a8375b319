// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>

#include "common/result.h"
#include "datapath/grace.h"
#include "datapath/maps.h"
#include "model/lb_writes.h"

namespace weir::datapath {

/// Carries out planned writes to the load-balancing tables, in their order. One thread at a time.
class LbWriter {
  public:
    /// Both borrowed; they outlive this object.
    LbWriter(const Tables& tables, GraceWorker& grace) : tables_(&tables), grace_(&grace) {}

    /// Stops at the first write that fails; the plan must then be made anew from read().
    [[nodiscard]] Result<void> apply(std::span<const model::LbWrite> writes) const;
    /// Writes, then, if the transaction asks for one, calls `elapsed` with its token after a grace
    /// period, on the grace worker's thread.
    [[nodiscard]] Result<void> commit(
        const model::LbTransaction& transaction,
        std::function<void(model::GraceToken, const Result<void>&)> elapsed) const;
    /// What the kernel holds, for adoption.
    [[nodiscard]] Result<model::LbImage> read() const;

  private:
    const Tables* tables_;
    GraceWorker* grace_;
};

}  // namespace weir::datapath
