// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>

#include "common/result.h"
#include "datapath/grace.h"
#include "datapath/policy_tables.h"
#include "model/policy_writes.h"

namespace weir::datapath {

/// Carries out planned writes to one load's tables of policy, in their order. One thread at a time.
class PolicyWriter {
  public:
    /// Stores the word of an endpoint, if that is still the pod it was planned for.
    using StoreWord = std::function<Result<void>(uint32_t endpoint, uint64_t word)>;

    /// `grace` outlives this object.
    PolicyWriter(PolicyTables tables, StoreWord store_word, GraceWorker& grace)
        : tables_(std::move(tables)), store_word_(std::move(store_word)), grace_(&grace) {}

    /// Stops at the first write that fails: what the tables hold is then unknown, and a planner
    /// must start again with tables that are empty.
    [[nodiscard]] Result<void> apply(std::span<const model::PolicyWrite> writes) const;
    /// Writes, then, if the transaction asks for one, calls `elapsed` with its token after a grace
    /// period, on the grace worker's thread.
    [[nodiscard]] Result<void> commit(
        const model::PolicyTransaction& transaction,
        std::function<void(uint64_t token, const Result<void>&)> elapsed) const;

    [[nodiscard]] const PolicyTables& tables() const { return tables_; }

  private:
    PolicyTables tables_;
    StoreWord store_word_;
    GraceWorker* grace_;
};

}  // namespace weir::datapath
