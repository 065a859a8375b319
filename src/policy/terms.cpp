// SPDX-License-Identifier: Apache-2.0
#include "policy/terms.h"

#include <algorithm>

namespace weir::policy {
namespace {

void erase_one(auto& list, auto value) {
    const auto it = std::ranges::find(list, value);
    if (it != list.end()) list.erase(it);
}

void sort_unique(auto& list) {
    std::ranges::sort(list);
    const auto rest = std::ranges::unique(list);
    list.erase(rest.begin(), rest.end());
}

std::string bucket_of(const model::Text& ns, const model::Text& key, const model::Text& value) {
    std::string out;
    out.reserve(ns.size() + key.size() + value.size() + 2);
    out.append(ns.view()).push_back('\0');
    out.append(key.view()).push_back('\0');
    return out.append(value.view());
}

}  // namespace

TermTable::TermTable() : atoms_(1) {
    terms_[kAnybody].references = 1;
    const auto all = IpPrefix::make(IpAddress::v4(0), 0).value();
    prefixes_[all];
    ++lengths_[family_index(Family::kIpv4)][0];
}

TermId TermTable::acquire(const Rule& rule, const std::vector<model::Text>& names,
                          TermChange& change) {
    TermId id = kAnybody;
    bool fresh = false;
    if (!rule.any_peer) {
        std::vector<std::string> keys;
        for (const Atom& atom : rule.peers)
            keys.push_back(atom.key());
        sort_unique(keys);
        const std::string key = fmt::format("{}", fmt::join(keys, "\x05"));
        const auto [it, added] = by_key_.try_emplace(key, 0);
        fresh = added;
        if (fresh) {
            it->second = ++last_term_;
            terms_[it->second] = {.key = key};
            for (const Atom& atom : rule.peers) {
                const AtomId one = add_atom(atom, it->second);
                auto& list = terms_[it->second].atoms;
                if (std::ranges::find(list, one) == list.end()) list.push_back(one);
            }
        }
        id = it->second;
    }
    ++terms_[id].references;
    for (const model::Text& name : names)
        fresh = ++terms_[id].names[name] == 1 || fresh;
    if (!fresh) return id;
    change.everybody = change.everybody || id == kAnybody;
    change.atoms.insert(change.atoms.end(), rule.peers.begin(), rule.peers.end());
    return id;
}

void TermTable::release(TermId id, const std::vector<model::Text>& names, TermChange& change) {
    Term& term = terms_.at(id);
    bool changed = false;
    for (const model::Text& name : names) {
        const auto it = term.names.find(name);
        if (--it->second > 0) continue;
        term.names.erase(it);
        changed = true;
    }
    const bool last = --term.references == 0;
    if (!changed && !last) return;
    change.everybody = change.everybody || id == kAnybody;
    for (const AtomId atom : term.atoms)
        change.atoms.push_back(atoms_[atom].atom);
    if (!last) return;
    for (const AtomId atom : term.atoms)
        remove_atom(atom, id);
    by_key_.erase(term.key);
    terms_.erase(id);
}

AtomId TermTable::add_atom(const Atom& atom, TermId term) {
    std::string key = atom.key();
    const auto it = atom_by_key_.find(key);
    if (it != atom_by_key_.end()) {
        auto& list = atoms_[it->second].terms;
        if (std::ranges::find(list, term) == list.end()) list.push_back(term);
        return it->second;
    }
    const AtomId id = free_atoms_.empty() ? static_cast<AtomId>(atoms_.size()) : free_atoms_.back();
    free_atoms_.empty() ? atoms_.resize(atoms_.size() + 1) : free_atoms_.pop_back();
    atom_by_key_.emplace(key, id);
    atoms_[id] = {.atom = atom, .key = std::move(key), .terms = {term}};
    index(id, atom, true);
    return id;
}

void TermTable::remove_atom(AtomId id, TermId term) {
    AtomEntry& entry = atoms_[id];
    erase_one(entry.terms, term);
    if (!entry.terms.empty()) return;
    index(id, entry.atom, false);
    atom_by_key_.erase(entry.key);
    entry = {};
    free_atoms_.push_back(id);
}

/// An atom that asks for one of some values of a label is looked for under these; one that asks for
/// none, under its namespace. "" is every namespace.
std::vector<std::string> TermTable::buckets(const Atom& atom) {
    const model::LabelRequirement* best = nullptr;
    for (const auto& requirement : atom.labels.requirements) {
        if (requirement.op != model::LabelRequirement::Op::kIn) continue;
        if (best == nullptr || requirement.values.size() < best->values.size()) best = &requirement;
    }
    if (best == nullptr) return {atom.ns.str()};
    std::vector<std::string> out;
    for (const model::Text& value : best->values)
        out.push_back(bucket_of(atom.ns, best->key, value));
    sort_unique(out);
    return out;
}

void TermTable::index(AtomId id, const Atom& atom, bool enters) {
    if (atom.kind == Atom::Kind::kBlock) return index_block(id, atom, enters);
    if (atom.kind == Atom::Kind::kNodes) {
        enters ? node_atoms_.push_back(id) : erase_one(node_atoms_, id);
        return;
    }
    for (const std::string& bucket : buckets(atom)) {
        auto& list = buckets_[bucket];
        enters ? list.push_back(id) : erase_one(list, id);
        if (list.empty()) buckets_.erase(bucket);
    }
}

void TermTable::index_block(AtomId id, const Atom& atom, bool enters) {
    const IpPrefix all = IpPrefix::make(IpAddress::v4(0), 0).value();
    const auto change = [&](const IpPrefix& prefix, std::vector<AtomId> PrefixAtoms::* list) {
        auto& count = lengths_[family_index(prefix.family())][prefix.length()];
        const auto [it, fresh] = prefixes_.try_emplace(prefix);
        if (fresh) ++count;
        auto& ids = it->second.*list;
        enters ? ids.push_back(id) : erase_one(ids, id);
        if (!it->second.blocks.empty() || !it->second.excepts.empty() || prefix == all) return;
        prefixes_.erase(it);
        --count;
    };
    change(atom.block, &PrefixAtoms::blocks);
    for (const IpPrefix& except : atom.except)
        change(except, &PrefixAtoms::excepts);
}

void TermTable::collect(const std::string& bucket, const model::ObjectName& pod,
                        const model::Labels& labels, const model::Labels& ns_labels,
                        TermIds& out) const {
    const auto it = buckets_.find(bucket);
    if (it == buckets_.end()) return;
    for (const AtomId id : it->second) {
        const AtomEntry& entry = atoms_[id];
        if (entry.atom.matches(pod, labels, ns_labels))
            out.insert(out.end(), entry.terms.begin(), entry.terms.end());
    }
}

TermIds TermTable::of_pod(const model::ObjectName& pod, const model::Labels& labels,
                          const model::Labels& ns_labels) const {
    TermIds out;
    for (const model::Text& ns : {pod.ns, model::Text()}) {
        collect(ns.str(), pod, labels, ns_labels, out);
        for (const auto& [key, value] : labels)
            collect(bucket_of(ns, key, value), pod, labels, ns_labels, out);
    }
    sort_unique(out);
    return out;
}

TermIds TermTable::of_node(const model::Labels& labels) const {
    TermIds out;
    for (const AtomId id : node_atoms_) {
        const AtomEntry& entry = atoms_[id];
        if (entry.atom.labels.matches(labels))
            out.insert(out.end(), entry.terms.begin(), entry.terms.end());
    }
    sort_unique(out);
    return out;
}

TermIds TermTable::of_range(const IpAddress& address, unsigned longest) const {
    std::vector<AtomId> inside;
    std::vector<AtomId> carved;
    const auto& lengths = lengths_[family_index(address.family())];
    for (unsigned length = 0; length <= longest; ++length) {
        if (lengths[length] == 0) continue;
        const auto it = prefixes_.find(IpPrefix::make(address, length).value());
        if (it == prefixes_.end()) continue;
        inside.insert(inside.end(), it->second.blocks.begin(), it->second.blocks.end());
        carved.insert(carved.end(), it->second.excepts.begin(), it->second.excepts.end());
    }
    std::ranges::sort(carved);
    TermIds out;
    for (const AtomId id : inside) {
        if (std::ranges::binary_search(carved, id)) continue;
        out.insert(out.end(), atoms_[id].terms.begin(), atoms_[id].terms.end());
    }
    sort_unique(out);
    return out;
}

TermIds TermTable::of_address(const IpAddress& address) const {
    return of_range(address, address.is_v4() ? 32 : 128);
}

TermIds TermTable::of_prefix(const IpPrefix& prefix) const {
    return of_range(prefix.address(), prefix.length());
}

bool TermTable::wants(TermId term, const model::Text& name) const {
    const auto it = terms_.find(term);
    return it != terms_.end() && it->second.names.contains(name);
}

TermIds TermTable::using_prefix(const IpPrefix& prefix) const {
    TermIds out;
    const auto it = prefixes_.find(prefix);
    if (it == prefixes_.end()) return out;
    for (const auto* list : {&it->second.blocks, &it->second.excepts}) {
        for (const AtomId id : *list)
            out.insert(out.end(), atoms_[id].terms.begin(), atoms_[id].terms.end());
    }
    sort_unique(out);
    return out;
}

}  // namespace weir::policy
