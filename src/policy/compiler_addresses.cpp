// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include "policy/compiler.h"

namespace weir::policy {
namespace {

TermIds united(const TermIds& a, const TermIds& b) {
    TermIds out;
    std::ranges::set_union(a, b, std::back_inserter(out));
    return out;
}

weir_cidr_key cidr_key(const IpPrefix& prefix) {
    return {.prefixlen = prefix.mapped_length(), .addr = prefix.address().abi()};
}

weir_policy_ref ref_to(const weir_addr* key, uint32_t slot) {
    return {.slot = slot, .check = weir_policy_ref_check(key, slot)};
}

/// Every element of a map keyed by prefixes or addresses that lies in the range.
template <typename Map, typename Address, typename Visit>
void each_within(const Map& map, const IpPrefix& range, const typename Map::key_type& from,
                 Address address_of, Visit visit) {
    for (auto it = map.lower_bound(from); it != map.end(); ++it) {
        const IpAddress& address = address_of(it->first);
        if (range.contains(address)) {
            visit(it->first);
            continue;
        }
        // IPv4 lies within the numbers of IPv6, and is passed over there.
        if (address.family() == range.family() || range.family() == Family::kIpv4) return;
    }
}

}  // namespace

void Compiler::settle_addresses(Draft& draft) {
    settle_pods();
    settle_prefixes(draft);
    for (const IpAddress& address : std::exchange(dirty_addresses_, {}))
        settle_address(address, draft);
}

void Compiler::settle_pods() {
    for (const model::ObjectName& name : std::exchange(dirty_pods_, {})) {
        const auto it = pods_.find(name);
        if (it == pods_.end()) continue;
        PodState& state = it->second;
        state.terms = terms_.of_pod(name, state.pod.meta.labels, labels_of(name.ns));
        dirty_addresses_.insert(state.addresses.begin(), state.addresses.end());
    }
    for (const model::Text& name : std::exchange(dirty_nodes_, {})) {
        const auto it = nodes_.find(name);
        if (it == nodes_.end()) continue;
        it->second.terms = terms_.of_node(it->second.node.meta.labels);
        dirty_addresses_.insert(it->second.addresses.begin(), it->second.addresses.end());
    }
}

/// Ranges come in an order in which none is inside of a later one: each prefix is settled once.
void Compiler::settle_prefixes(Draft& draft) {
    std::optional<IpPrefix> done;
    for (const IpPrefix& range : std::exchange(dirty_ranges_, {})) {
        const bool inside =
            done && done->contains(range.address()) && done->length() <= range.length();
        if (inside) continue;
        done = range;
        std::set<IpPrefix> all;
        const auto by_prefix = [](const IpPrefix& prefix) { return prefix.address(); };
        const auto collect = [&](const IpPrefix& prefix) { all.insert(prefix); };
        each_within(terms_.prefixes(), range, range, by_prefix, collect);
        each_within(prefixes_, range, range, by_prefix, collect);
        for (const IpPrefix& prefix : all)
            settle_prefix(prefix, draft);
        each_within(
            addresses_, range, range.address(), [](const IpAddress& address) { return address; },
            [&](const IpAddress& address) { dirty_addresses_.insert(address); });
    }
}

void Compiler::settle_prefix(const IpPrefix& prefix, Draft& draft) {
    const auto old = prefixes_.find(prefix);
    starved_ranges_.erase(prefix);
    if (!terms_.prefixes().contains(prefix)) {
        if (old == prefixes_.end()) return;
        draft.switches.emplace_back(model::PolicyCidrErase{cidr_key(prefix)});
        draft.left.slots.push_back(old->second.slot);
        const uint32_t identity = old->second.identity;
        prefixes_.erase(old);
        touch(identity, identity_around(prefix), draft);
        return let_go(identity, draft);
    }
    const uint32_t identity = identify({Facts{.terms = terms_.of_prefix(prefix)}}, draft);
    if (old != prefixes_.end()) {
        if (old->second.identity == identity) return;
        hold(identity);
        store(old->second.slot, identity, draft);
        touch(old->second.identity, identity, draft);
        return let_go(std::exchange(old->second.identity, identity), draft);
    }
    const bool room = prefixes_.size() < capacities_.cidrs;
    const uint32_t slot = room ? slots_.allocate() : 0;
    if (slot == 0) {
        // Without its own entry the range would be judged as the one around it.
        starved_ranges_.insert(prefix);
        hold(identity);
        let_go(identity, draft);
        return close_sets_with(terms_.using_prefix(prefix),
                               fmt::format("the table of policy CIDRs has no room for {}: {} of {}",
                                           prefix.to_string(), prefixes_.size(), capacities_.cidrs),
                               draft);
    }
    const uint32_t before = identity_around(prefix);
    hold(identity);
    store(slot, identity, draft);
    draft.switches.emplace_back(
        model::PolicyCidrPut{.key = cidr_key(prefix), .value = ref_to(nullptr, slot)});
    prefixes_[prefix] = {.slot = slot, .identity = identity};
    touch(before, identity, draft);
}

/// What an address without an entry of its own is, by prefixes no longer than `longest`.
uint32_t Compiler::range_identity(const IpAddress& address, unsigned longest) const {
    const unsigned most = std::min(longest, address.is_v4() ? 32U : 128U);
    for (unsigned length = most + 1; length-- > 0;) {
        const auto it = prefixes_.find(IpPrefix::make(address, length).value());
        if (it != prefixes_.end()) return it->second.identity;
    }
    return 0;
}

uint32_t Compiler::identity_around(const IpPrefix& prefix) const {
    return prefix.length() == 0 ? 0 : range_identity(prefix.address(), prefix.length() - 1);
}

Facts Compiler::pod_facts(const PodState& state, const TermIds& blocks) const {
    Facts facts{.terms = united(state.terms, blocks)};
    bool anybody = false;
    for (const model::ContainerPort& port : state.pod.ports) {
        if (port.name.empty()) continue;
        const bool by_all = terms_.wants(kAnybody, port.name);
        const bool by_term = std::ranges::any_of(
            facts.terms, [&](TermId term) { return terms_.wants(term, port.name); });
        if (by_all || by_term) facts.ports.push_back({port.name, port.protocol, port.port});
        anybody = anybody || by_all;
    }
    std::ranges::sort(facts.ports);
    const auto rest = std::ranges::unique(facts.ports);
    facts.ports.erase(rest.begin(), rest.end());
    if (anybody) facts.terms.insert(facts.terms.begin(), kAnybody);
    return facts;
}

std::vector<Facts> Compiler::facts_of(const IpAddress& address, const AddressState& state,
                                      const TermIds& blocks) const {
    std::vector<Facts> out;
    const auto local = local_addresses_.find(address);
    for (const model::ObjectName& name : state.pods) {
        if (local != local_addresses_.end()) {
            const LocalEndpoint& endpoint = endpoints_.at(local->second).endpoint;
            if (endpoint.pod != name || pod_of(endpoint) == nullptr) continue;
        }
        out.push_back(pod_facts(pods_.at(name), blocks));
    }
    for (const model::Text& name : state.nodes)
        out.push_back({.terms = united(nodes_.at(name).terms, blocks)});
    std::ranges::sort(out);
    const auto rest = std::ranges::unique(out);
    out.erase(rest.begin(), rest.end());
    return out;
}

void Compiler::settle_address(const IpAddress& address, Draft& draft) {
    const auto it = addresses_.find(address);
    if (it == addresses_.end()) return;
    AddressState& state = it->second;
    const TermIds blocks = terms_.of_address(address);
    auto owners = facts_of(address, state, blocks);
    const bool plain = owners.empty() || (owners.size() == 1 && owners.front().ports.empty() &&
                                          owners.front().terms == blocks);
    starved_.erase(address);
    if (plain) {
        unlist_address(address, state, draft);
        if (state.pods.empty() && state.nodes.empty()) addresses_.erase(it);
        return;
    }
    const uint32_t identity = identify(std::move(owners), draft);
    if (state.slot == 0) return list_address(address, state, identity, draft);
    if (identity == state.identity) return;
    hold(identity);
    store(state.slot, identity, draft);
    touch(state.identity, identity, draft);
    let_go(std::exchange(state.identity, identity), draft);
}

void Compiler::list_address(const IpAddress& address, AddressState& state, uint32_t identity,
                            Draft& draft) {
    hold(identity);
    const uint32_t slot = addr_count_ < capacities_.addrs ? slots_.allocate() : 0;
    if (slot == 0) {
        starve(address, identity, draft);
        return let_go(identity, draft);
    }
    ++addr_count_;
    state.slot = slot;
    state.identity = identity;
    store(slot, identity, draft);
    const weir_addr key = address.abi();
    draft.switches.emplace_back(model::PolicyAddrPut{.key = key, .value = ref_to(&key, slot)});
    touch(range_identity(address), identity, draft);
}

void Compiler::unlist_address(const IpAddress& address, AddressState& state, Draft& draft) {
    if (state.slot == 0) return;
    draft.switches.emplace_back(model::PolicyAddrErase{address.abi()});
    draft.left.slots.push_back(state.slot);
    touch(state.identity, range_identity(address), draft);
    let_go(state.identity, draft);
    state.slot = state.identity = 0;
    --addr_count_;
}

/// The address goes on as its range does: who would tell it from that is closed.
void Compiler::starve(const IpAddress& address, uint32_t identity, Draft& draft) {
    starved_.insert(address);
    const Identity& wanted = identities_.at(identity);
    TermIds terms = terms_of(wanted);
    if (wanted.owners.size() == 1) {
        const TermIds blocks = terms_.of_address(address);
        std::erase_if(terms, [&](TermId term) { return std::ranges::binary_search(blocks, term); });
    }
    close_sets_with(terms,
                    fmt::format("the table of policy addresses has no room for {}: {} of {}",
                                address.to_string(), addr_count_, capacities_.addrs),
                    draft);
}

void Compiler::store(uint32_t slot, uint32_t identity, Draft& draft) {
    draft.switches.emplace_back(model::PolicySlotStore{.slot = slot, .word = identity});
}

}  // namespace weir::policy
