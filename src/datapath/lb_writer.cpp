// SPDX-License-Identifier: Apache-2.0
#include "datapath/lb_writer.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include <arpa/inet.h>

namespace weir::datapath {
namespace {

using namespace weir::model;

/// Lets the programs look for a NodePort of this number, if the key is one. The bit stays when the
/// VIP goes: flows may outlive it.
Result<void> admit_node_port(const Tables& tables, const weir_vip_key& key) {
    if (key.scope != WEIR_VIP_NODEPORT) return {};
    const uint16_t port = ntohs(key.port);
    const uint32_t word = port / 64U;
    const uint64_t bit = uint64_t{1} << port % 64U;
    const uint64_t bits = WEIR_TRY(tables.node_ports.get(word));
    if ((bits & bit) != 0) return {};
    return tables.node_ports.store64(word, 0, bits | bit);
}

/// One write to the kernel's tables, by kind.
struct Apply {
    const Tables& tables;

    Result<void> operator()(const VipPut& write) const {
        WEIR_CHECK(admit_node_port(tables, write.key));
        return tables.vips.put(write.key, write.value);
    }
    Result<void> operator()(const VipErase& write) const {
        WEIR_TRY(tables.vips.erase(write.key));
        return {};
    }
    Result<void> operator()(const ServicePut& write) const {
        return tables.services.put(write.index, write.value);
    }
    Result<void> operator()(const ServiceStore& write) const {
        return tables.services.store64(write.index, size_t{write.word} * 8, write.value);
    }
    Result<void> operator()(const SlotsPut& write) const {
        for (size_t i = 0; i < write.slots.size(); ++i) {
            WEIR_CHECK(store_slot(write.first + static_cast<uint32_t>(i), write.slots[i]));
        }
        return {};
    }
    // The word that holds `state` is stored last and orders the others before it.
    Result<void> operator()(const BackendPut& write) const {
        weir_backend free = write.value;
        free.state = WEIR_BACKEND_FREE;
        WEIR_CHECK(tables.backends.put(write.id, free));
        return store_state_word(write.id, write.value);
    }
    Result<void> operator()(const BackendState& write) const {
        weir_backend value = WEIR_TRY(tables.backends.get(write.id));
        value.state = write.state;
        return store_state_word(write.id, value);
    }
    Result<void> operator()(const RangePut& write) const {
        return tables.ranges.put(write.key, write.verdict);
    }
    Result<void> operator()(const RangeErase& write) const {
        WEIR_TRY(tables.ranges.erase(write.key));
        return {};
    }

  private:
    // Every store is one of a whole word and orders those before it, the clearing too.
    [[nodiscard]] Result<void> store_slot(uint32_t index, const weir_slot& slot) const {
        constexpr size_t kWords = sizeof slot / sizeof(uint64_t);
        static_assert(offsetof(weir_slot, backend) == (kWords - 1) * sizeof(uint64_t));
        std::array<uint64_t, kWords> words{};
        std::memcpy(words.data(), &slot, sizeof slot);
        WEIR_CHECK(tables.slots.store64(index, offsetof(weir_slot, backend), 0));
        for (size_t i = 0; i < kWords; ++i)
            WEIR_CHECK(tables.slots.store64(index, i * sizeof(uint64_t), words[i]));
        return {};
    }
    [[nodiscard]] Result<void> store_state_word(uint32_t id, const weir_backend& value) const {
        constexpr size_t kOffset = offsetof(weir_backend, state) / 8 * 8;
        uint64_t word = 0;
        std::memcpy(&word, reinterpret_cast<const std::byte*>(&value) + kOffset, sizeof word);
        return tables.backends.store64(id, kOffset, word);
    }
};

template <typename Value>
Result<std::vector<Value>> copy_array(const ArrayMap<Value>& array) {
    std::vector<Value> values(array.size());
    WEIR_CHECK(array.for_each([&](uint32_t index, const Value& value) { values[index] = value; }));
    return values;
}

}  // namespace

Result<void> LbWriter::apply(std::span<const LbWrite> writes) const {
    for (const LbWrite& write : writes)
        WEIR_CHECK(std::visit(Apply{*tables_}, write));
    return {};
}

Result<void> LbWriter::commit(const LbTransaction& transaction,
                              std::function<void(GraceToken, const Result<void>&)> elapsed) const {
    WEIR_CHECK(apply(transaction.writes));
    if (transaction.grace == 0) return {};
    grace_->after([token = transaction.grace, elapsed = std::move(elapsed)](
                      const Result<void>& waited) { elapsed(token, waited); });
    return {};
}

// An earlier build may not have known the bits of numbers.
Result<LbImage> LbWriter::read() const {
    auto vips = WEIR_TRY(tables_->vips.all());
    for (const auto& [key, value] : vips)
        WEIR_CHECK(admit_node_port(*tables_, key));
    return LbImage{.vips = std::move(vips),
                   .services = WEIR_TRY(copy_array(tables_->services)),
                   .slots = WEIR_TRY(copy_array(tables_->slots)),
                   .backends = WEIR_TRY(copy_array(tables_->backends)),
                   .ranges = WEIR_TRY(tables_->ranges.all())};
}

}  // namespace weir::datapath
