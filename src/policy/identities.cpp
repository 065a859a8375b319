// SPDX-License-Identifier: Apache-2.0
#include "policy/identities.h"

#include <algorithm>
#include <cstring>

namespace weir::policy {
namespace {

std::string key_of(const std::vector<Facts>& owners) {
    std::string key;
    const auto number = [&](uint32_t value) {
        char bytes[sizeof value];
        std::memcpy(bytes, &value, sizeof value);
        key.append(bytes, sizeof bytes);
    };
    for (const Facts& facts : owners) {
        number(static_cast<uint32_t>(facts.terms.size()));
        std::ranges::for_each(facts.terms, number);
        number(static_cast<uint32_t>(facts.ports.size()));
        for (const NamedPort& port : facts.ports) {
            number(uint32_t{port.number} << 16 | static_cast<uint32_t>(port.protocol));
            key.append(port.name.view()).push_back('\0');
        }
    }
    return key;
}

}  // namespace

uint32_t IdentityTable::find_or_add(std::vector<Facts> owners, bool& fresh) {
    fresh = false;
    std::ranges::sort(owners);
    const auto rest = std::ranges::unique(owners);
    owners.erase(rest.begin(), rest.end());
    if (owners.empty() || (owners.size() == 1 && owners.front().terms.empty())) return 0;
    std::string key = key_of(owners);
    const auto [it, added] = by_key_.try_emplace(key, 0);
    fresh = added;
    if (!added) return it->second;
    if (free_.empty()) {
        it->second = static_cast<uint32_t>(identities_.size());
        identities_.emplace_back();
    } else {
        it->second = free_.back();
        free_.pop_back();
    }
    Identity& identity = identities_[it->second];
    identity = {.owners = std::move(owners), .key = std::move(key)};
    for (const TermId term : terms_of(identity))
        by_term_[term].push_back(it->second);
    return it->second;
}

void IdentityTable::erase(uint32_t id) {
    Identity& identity = identities_[id];
    for (const TermId term : terms_of(identity)) {
        auto& list = by_term_[term];
        std::erase(list, id);
        if (list.empty()) by_term_.erase(term);
    }
    by_key_.erase(identity.key);
    identity = {};
    free_.push_back(id);
}

const std::vector<uint32_t>& IdentityTable::with(TermId term) const {
    static const std::vector<uint32_t> kNone;
    const auto it = by_term_.find(term);
    return it == by_term_.end() ? kNone : it->second;
}

TermIds terms_of(const Identity& identity) {
    TermIds out;
    for (const Facts& facts : identity.owners)
        out.insert(out.end(), facts.terms.begin(), facts.terms.end());
    std::ranges::sort(out);
    const auto rest = std::ranges::unique(out);
    out.erase(rest.begin(), rest.end());
    return out;
}

}  // namespace weir::policy
