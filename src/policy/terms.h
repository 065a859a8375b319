// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "policy/rule.h"

namespace weir::policy {

using AtomId = uint32_t;
/// The peers of a rule, as a whole: an address satisfies a term if it is any of them. So a rule
/// with a thousand CIDRs is one term, and one identity for the addresses it matches.
using TermId = uint32_t;
/// Everybody: what rules without peers ask of a destination are its named ports only.
inline constexpr TermId kAnybody = 1;

using TermIds = std::vector<TermId>;  ///< ascending, each once

/// What changed about terms: who has to be looked at again.
struct TermChange {
    std::vector<Atom> atoms;
    bool everybody = false;  ///< named ports of rules without peers
};

/// The terms of live rules, and which of them pods, nodes and addresses satisfy. Costs: a pod is
/// held against the atoms that ask for one of its labels, and against those of its namespace, or of
/// all, that ask for none; an address against the prefix lengths there are.
class TermTable {
  public:
    TermTable();

    /// A reference for a rule of a set; `names`: named ports that the rule resolves in
    /// destinations. A new term, or a new name, is added to `change`.
    TermId acquire(const Rule& rule, const std::vector<model::Text>& names, TermChange& change);
    /// Gives a reference back; what goes with the last one is added to `change`.
    void release(TermId term, const std::vector<model::Text>& names, TermChange& change);

    [[nodiscard]] TermIds of_pod(const model::ObjectName& pod, const model::Labels& labels,
                                 const model::Labels& ns_labels) const;
    [[nodiscard]] TermIds of_node(const model::Labels& labels) const;
    /// Blocks that contain the address, or the whole prefix.
    [[nodiscard]] TermIds of_address(const IpAddress& address) const;
    [[nodiscard]] TermIds of_prefix(const IpPrefix& prefix) const;
    /// Does some rule with this term resolve the name?
    [[nodiscard]] bool wants(TermId term, const model::Text& name) const;

    /// Terms with this prefix as a block or an except.
    [[nodiscard]] TermIds using_prefix(const IpPrefix& prefix) const;

    /// Every distinct CIDR and except of a live block, and 0.0.0.0/0, which keeps IPv6 prefixes
    /// that are shorter than the v4-mapped range away from IPv4.
    struct PrefixAtoms {
        std::vector<AtomId> blocks;
        std::vector<AtomId> excepts;
    };
    [[nodiscard]] const std::map<IpPrefix, PrefixAtoms>& prefixes() const { return prefixes_; }

    [[nodiscard]] size_t size() const { return by_key_.size(); }

  private:
    struct AtomEntry {
        Atom atom;
        std::string key;
        std::vector<TermId> terms;
    };
    struct Term {
        std::string key;
        std::vector<AtomId> atoms;
        uint32_t references = 0;
        std::map<model::Text, uint32_t> names;
    };

    AtomId add_atom(const Atom& atom, TermId term);
    void remove_atom(AtomId id, TermId term);
    void index(AtomId id, const Atom& atom, bool enters);
    void index_block(AtomId id, const Atom& atom, bool enters);
    [[nodiscard]] static std::vector<std::string> buckets(const Atom& atom);
    void collect(const std::string& bucket, const model::ObjectName& pod,
                 const model::Labels& labels, const model::Labels& ns_labels, TermIds& out) const;
    [[nodiscard]] TermIds of_range(const IpAddress& address, unsigned longest) const;

    std::vector<AtomEntry> atoms_;
    std::vector<AtomId> free_atoms_;
    /// Numbers are never used again: readers of the tables may still hold an identity that has one.
    std::unordered_map<TermId, Term> terms_;
    TermId last_term_ = kAnybody;
    std::unordered_map<std::string, AtomId> atom_by_key_;
    std::unordered_map<std::string, TermId> by_key_;
    /// "namespace \0 label \0 value" or "namespace" -> atoms of kPods.
    std::unordered_map<std::string, std::vector<AtomId>> buckets_;
    std::vector<AtomId> node_atoms_;
    std::map<IpPrefix, PrefixAtoms> prefixes_;
    std::array<std::array<uint32_t, 129>, 2> lengths_{};  ///< prefixes by family and length
};

}  // namespace weir::policy
