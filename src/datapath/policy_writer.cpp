// SPDX-License-Identifier: Apache-2.0
#include "datapath/policy_writer.h"

#include <utility>
#include <variant>

#include <linux/bpf.h>

namespace weir::datapath {
namespace {

using namespace weir::model;

/// One write to the kernel's tables, by kind. What no reader reaches yet may be copied; the stores
/// and system calls that make it reachable come after it.
struct Apply {
    const PolicyTables& tables;
    const PolicyWriter::StoreWord& store_word;

    Result<void> operator()(const PolicyCellsPut& write) const {
        return tables.cells.put_range(write.first, write.words);
    }
    Result<void> operator()(const PolicyRulesPut& write) const {
        return tables.rules.put_range(write.first, write.words);
    }
    Result<void> operator()(const PolicySetPut& write) const {
        return tables.sets.put(write.index, write.value);
    }
    Result<void> operator()(const PolicyRowPut& write) const {
        return tables.rows.put(write.key, write.value, BPF_NOEXIST);
    }
    Result<void> operator()(const PolicyRowErase& write) const {
        return erased(tables.rows.erase(write.key));
    }
    Result<void> operator()(const PolicyAddrPut& write) const {
        return tables.addrs.put(write.key, write.value, BPF_NOEXIST);
    }
    Result<void> operator()(const PolicyAddrErase& write) const {
        return erased(tables.addrs.erase(write.key));
    }
    Result<void> operator()(const PolicyCidrPut& write) const {
        return tables.cidrs.put(write.key, write.value);
    }
    Result<void> operator()(const PolicyCidrErase& write) const {
        return erased(tables.cidrs.erase(write.key));
    }
    Result<void> operator()(const PolicySlotStore& write) const {
        return tables.slots.store64(write.slot, 0, write.word);
    }
    Result<void> operator()(const PolicyEndpointStore& write) const {
        return store_word(write.endpoint, write.word);
    }

  private:
    static Result<void> erased(Result<bool> result) {
        WEIR_TRY(std::move(result));
        return {};
    }
};

}  // namespace

Result<void> PolicyWriter::apply(std::span<const PolicyWrite> writes) const {
    for (const PolicyWrite& write : writes)
        WEIR_CHECK(std::visit(Apply{tables_, store_word_}, write));
    return {};
}

Result<void> PolicyWriter::commit(
    const PolicyTransaction& transaction,
    std::function<void(uint64_t token, const Result<void>&)> elapsed) const {
    WEIR_CHECK(apply(transaction.writes));
    if (transaction.grace == 0) return {};
    grace_->after([token = transaction.grace, elapsed = std::move(elapsed)](
                      const Result<void>& waited) { elapsed(token, waited); });
    return {};
}

}  // namespace weir::datapath
