// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "policy/terms.h"

namespace weir::policy {

/// A named port of a pod, for rules that resolve the name in their destination.
struct NamedPort {
    model::Text name;
    model::Protocol protocol = model::Protocol::kTcp;
    uint16_t number = 0;
    auto operator<=>(const NamedPort&) const = default;
};

/// What one owner of an address satisfies. `ports` are those that a rule with one of the terms
/// resolves; then kAnybody is among the terms if rules without peers do.
struct Facts {
    TermIds terms;
    std::vector<NamedPort> ports;  ///< ascending
    auto operator<=>(const Facts&) const = default;
};

/// A row in one set: blocks of cells by direction, 0: none.
struct IdentityRow {
    uint16_t set = 0;
    std::array<uint32_t, WEIR_POLICY_DIRECTIONS> blocks{};
};

/// Equal facts, one number. Of an address with several live owners an identity holds the facts of
/// each: it may do only what all may. Identity 0 is that of addresses of which nothing is known.
struct Identity {
    std::vector<Facts> owners;      ///< ascending, each once; empty: the number is free
    uint32_t holders = 0;           ///< addresses and prefixes
    uint64_t retired = 0;           ///< the token since which nobody holds it
    std::vector<IdentityRow> rows;  ///< ascending by set
    std::string key;
};

class IdentityTable {
  public:
    IdentityTable() : identities_(1) {}

    /// The number of these facts, new if need be; 0 for facts without terms.
    uint32_t find_or_add(std::vector<Facts> owners, bool& fresh);
    /// Forgets an identity that has no holder and no row.
    void erase(uint32_t id);
    [[nodiscard]] Identity& at(uint32_t id) { return identities_[id]; }
    [[nodiscard]] const Identity& at(uint32_t id) const { return identities_[id]; }
    /// Identities with a term.
    [[nodiscard]] const std::vector<uint32_t>& with(TermId term) const;
    [[nodiscard]] size_t size() const { return by_key_.size(); }

  private:
    std::vector<Identity> identities_;
    std::vector<uint32_t> free_;
    std::unordered_map<std::string, uint32_t> by_key_;
    std::unordered_map<TermId, std::vector<uint32_t>> by_term_;
};

/// Every term of any owner.
[[nodiscard]] TermIds terms_of(const Identity& identity);

}  // namespace weir::policy
