// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "model/policy_writes.h"
#include "policy/pools.h"
#include "policy/rule_set.h"

namespace weir::policy {

/// max_entries of the kernel's maps (of arrays, index 0 is never used), and what one set or policy
/// may take of them, so that nobody's mistake fills what others need.
struct Capacities {
    uint32_t addrs;
    uint32_t cidrs;
    uint32_t slots;
    uint32_t rows;
    uint32_t cells;
    uint32_t rules;
    uint32_t sets;
    uint32_t counters;
    uint32_t rows_per_set;
    uint32_t cidrs_per_policy;
};

/// A pod of this node. Its addresses are those it was given, whatever its status says.
struct LocalEndpoint {
    uint32_t id = 0;
    model::ObjectName pod;
    model::Text uid;  ///< "": not known; another than the Pod's: the Pod is not this one
    std::vector<IpAddress> addresses;
    bool operator==(const LocalEndpoint&) const = default;
};

/// Something that does not work as asked, for status output.
struct Problem {
    std::string object;  ///< "NetworkPolicy shop/web", "Pod shop/web-1"
    std::string text;    ///< what, why, until when
};

struct TableUse {
    std::string_view table;
    uint32_t used;
    uint32_t capacity;
};

/// Policies, pods, namespaces, nodes and local endpoints to policy tables. Give it objects as they
/// change, then flush(): the writes that turn what the kernel has into what is wanted, so that
/// after every single one each endpoint is under its old or its new policies, whole. Does no I/O
/// and never waits: transactions are to be written in the order in which they were returned, and
/// grace periods reported by grace_elapsed. One thread.
///
/// A change costs what it changes: a pod is held against the live rules that ask for its labels,
/// and only if these answer differently is anything written.
///
/// What does not fit closes the endpoints that need it, with a problem that names them; they are
/// tried again by the flush after room was made.
class Compiler {
  public:
    /// For tables that are empty. `epoch`, and those after it: of no word that an endpoint ever
    /// had.
    explicit Compiler(const Capacities& capacities, uint32_t epoch = 1);
    Compiler(const Compiler&) = delete;
    Compiler& operator=(const Compiler&) = delete;
    ~Compiler() = default;

    void put(const model::Pod& pod);
    void put(const model::Namespace& ns);
    void put(const model::Node& node);
    void put(const model::NetworkPolicy& policy);
    void put(const model::ClusterNetworkPolicy& policy);
    void put(const LocalEndpoint& endpoint);
    void remove_pod(const model::ObjectName& name);
    void remove_namespace(const model::Text& name);
    void remove_node(const model::Text& name);
    void remove_network_policy(const model::ObjectName& name);
    void remove_cluster_policy(const model::Text& name);
    void remove_endpoint(uint32_t id);

    [[nodiscard]] model::PolicyTransaction flush();
    /// Every transaction up to the one with this token is written and its readers have finished.
    [[nodiscard]] model::PolicyTransaction grace_elapsed(uint64_t token);

    /// The policy word of an endpoint as of the last flush; 0: no such endpoint.
    [[nodiscard]] uint64_t word_of(uint32_t endpoint) const;
    /// Whether the Pod of an endpoint is known, so that the endpoint is under its policies as of
    /// the last flush, or closed for want of room.
    [[nodiscard]] bool knows(uint32_t endpoint) const;
    /// What a rule number of a set means; nothing: no such rule.
    [[nodiscard]] const RuleOrigin* rule(uint32_t set, uint16_t number) const;
    /// Which element of the hits is that rule's; 0: it is not counted.
    [[nodiscard]] uint32_t counter(uint32_t set, uint16_t number) const;
    /// The set with the policies in audit mode too, whose hits are what these would have denied; 0:
    /// none of them selects an endpoint that has this set.
    [[nodiscard]] uint16_t audit_of(uint32_t set) const;
    /// Why nothing passes to or from an endpoint; "": something may.
    [[nodiscard]] std::string closed_reason(uint32_t endpoint) const;
    [[nodiscard]] std::vector<Problem> problems() const;
    [[nodiscard]] std::vector<TableUse> usage() const;
    /// Policies that select an endpoint, in order of precedence.
    [[nodiscard]] std::vector<PolicyPtr> policies_of(uint32_t endpoint) const;

  private:
    struct PodState {
        model::Pod pod;
        TermIds terms;
        std::vector<IpAddress> addresses;  ///< those it is entered under in addresses_
    };
    struct NodeState {
        model::Node node;
        TermIds terms;
        std::vector<IpAddress> addresses;
    };
    struct AddressState {
        std::vector<model::ObjectName> pods;
        std::vector<model::Text> nodes;
        uint32_t slot = 0;  ///< 0: not in the table, its range speaks for it
        uint32_t identity = 0;
    };
    struct PrefixState {
        uint32_t slot = 0;
        uint32_t identity = 0;
    };
    struct SetState {
        std::string key;
        RuleSet rules;
        uint32_t rules_first = 0;
        std::array<uint32_t, 2> wildcard{};
        std::vector<uint32_t> counters;
        uint16_t audit = 0;  ///< the set with the policies in audit mode too
        uint32_t rows = 0;
        uint32_t holders = 0;  ///< endpoints, and sets whose `audit` it is
        uint64_t retired = 0;
        std::string failed;  ///< why it cannot go on
    };
    struct EndpointState {
        LocalEndpoint endpoint;
        uint16_t set = WEIR_POLICY_SET_NONE;  ///< in its word
        uint64_t word = 0;
        std::string closed;     ///< why it is closed
        std::string unaudited;  ///< why policies in audit mode show nothing of it
    };
    struct Batch {
        uint64_t token = 0;
        std::vector<uint16_t> sets;
        std::vector<uint32_t> identities;
        std::vector<uint32_t> slots;
    };
    /// A transaction in the making.
    struct Draft {
        std::vector<model::PolicyWrite> removals;  ///< of what a grace period has made unreachable
        std::vector<model::PolicyWrite> build;     ///< what no reader reaches yet
        std::vector<model::PolicyWrite> switches;  ///< what addresses are
        std::set<uint32_t> flipped;                ///< endpoints with another word
        std::set<uint16_t> touched;                ///< sets with other rows for some address
        Batch left;
    };

    // inputs
    void put_policy(Policy policy);
    void drop_policy(const model::ObjectName& name);
    void mark_subjects(const Policy& policy);
    void mark(const TermChange& change);
    void mark_atom(const Atom& atom);
    void mark_pods_of(const model::Text& ns, const Atom& atom);
    void mark_pod(const model::ObjectName& name);
    void mark_range(const IpPrefix& prefix);
    void enter_pod(const model::ObjectName& name, PodState& state);
    void leave_pod(const model::ObjectName& name, PodState& state);
    [[nodiscard]] const model::Labels& labels_of(const model::Text& ns) const;
    [[nodiscard]] const PodState* pod_of(const LocalEndpoint& endpoint) const;

    // endpoints and sets
    void settle_endpoints(Draft& draft);
    void settle(EndpointState& state, Draft& draft);
    [[nodiscard]] std::vector<PolicyPtr> select(const model::Pod& pod) const;
    [[nodiscard]] Result<uint16_t> set_for(EndpointState& state, const model::Pod& pod,
                                           Draft& draft);
    [[nodiscard]] Result<uint16_t> audited_set(const std::vector<PolicyPtr>& policies,
                                               EndpointState& state, const model::Pod& pod,
                                               Draft& draft);
    [[nodiscard]] uint16_t find_set(const std::vector<PolicyPtr>& policies, uint16_t audit,
                                    const model::Pod& pod) const;
    [[nodiscard]] Result<uint16_t> find_or_make_set(const std::vector<PolicyPtr>& policies,
                                                    uint16_t audit, const model::Pod& pod,
                                                    Draft& draft);
    [[nodiscard]] Result<void> check_quota(const std::vector<PolicyPtr>& policies) const;
    [[nodiscard]] Result<uint16_t> make_set(const std::vector<PolicyPtr>& policies,
                                            const std::vector<NamedPort>& resolved, uint16_t audit,
                                            std::string key, Draft& draft);
    [[nodiscard]] Result<void> fill_set(uint16_t number, Draft& draft);
    [[nodiscard]] Result<void> place_rules(SetState& set, Draft& draft);
    [[nodiscard]] uint32_t counter_of(const RuleOrigin& origin, bool audit);
    void unuse_counter(uint32_t counter);
    void free_set(uint16_t number, std::vector<model::PolicyWrite>* removals, Draft& draft);
    void assign(EndpointState& state, uint16_t set, uint16_t flags, Draft& draft);
    void hold_set(uint16_t set);
    void leave_set(uint16_t set, Draft& draft);
    void retire_unheld(uint16_t set, Draft& draft);
    void close(uint16_t set, const std::string& why, Draft& draft);
    void bump_touched(Draft& draft);
    [[nodiscard]] uint16_t flags_of(const model::ObjectName& pod) const;
    void make_closed_set(Draft& draft);

    // addresses and rows
    void settle_addresses(Draft& draft);
    void settle_pods();
    void settle_prefixes(Draft& draft);
    void settle_address(const IpAddress& address, Draft& draft);
    [[nodiscard]] std::vector<Facts> facts_of(const IpAddress& address, const AddressState& state,
                                              const TermIds& blocks) const;
    [[nodiscard]] Facts pod_facts(const PodState& state, const TermIds& blocks) const;
    [[nodiscard]] uint32_t range_identity(const IpAddress& address, unsigned longest = 128) const;
    [[nodiscard]] uint32_t identity_around(const IpPrefix& prefix) const;
    [[nodiscard]] uint32_t identify(std::vector<Facts> owners, Draft& draft);
    void settle_prefix(const IpPrefix& prefix, Draft& draft);
    void starve(const IpAddress& address, uint32_t identity, Draft& draft);
    void list_address(const IpAddress& address, AddressState& state, uint32_t identity,
                      Draft& draft);
    void unlist_address(const IpAddress& address, AddressState& state, Draft& draft);
    static void store(uint32_t slot, uint32_t identity, Draft& draft);
    void hold(uint32_t identity);
    void let_go(uint32_t identity, Draft& draft);
    void touch(uint32_t before, uint32_t after, Draft& draft) const;
    void make_rows(uint32_t identity, Draft& draft);
    [[nodiscard]] Result<void> make_row(uint16_t set, uint32_t identity, Draft& draft);
    void erase_row(uint32_t identity, const IdentityRow& row,
                   std::vector<model::PolicyWrite>& removals);
    void close_sets_with(const TermIds& terms, const std::string& why, Draft& draft);

    [[nodiscard]] model::PolicyTransaction finish(Draft draft);

    Capacities capacities_;
    uint32_t epoch_;
    bool closed_set_written_ = false;
    bool room_made_ = false;

    std::unordered_map<model::ObjectName, PodState> pods_;
    std::unordered_map<model::Text, std::unordered_set<model::ObjectName>> pods_by_ns_;
    std::unordered_map<model::Text, model::Meta> namespaces_;
    std::map<model::Text, NodeState> nodes_;
    std::map<model::Text, std::map<model::Text, PolicyPtr>> policies_;  ///< namespace, name
    std::map<uint32_t, EndpointState> endpoints_;
    std::unordered_map<model::ObjectName, uint32_t> endpoint_of_;
    std::unordered_map<IpAddress, uint32_t> local_addresses_;

    TermTable terms_;
    IdentityTable identities_;
    std::unordered_map<TermId, std::vector<uint16_t>> sets_with_;
    std::map<IpAddress, AddressState> addresses_;
    std::map<IpPrefix, PrefixState> prefixes_;
    std::vector<std::unique_ptr<SetState>> sets_;
    std::unordered_map<std::string, uint16_t> set_by_key_;

    CellPool cells_;
    RangePool rules_;
    NumberPool set_numbers_;
    NumberPool slots_;
    NumberPool counters_;
    struct Counter {
        std::string key;
        uint32_t references = 0;
    };
    std::unordered_map<std::string, uint32_t> counter_by_key_;
    std::unordered_map<uint32_t, Counter> counter_use_;
    std::vector<model::PolicyCounter> counter_changes_;  ///< of the next transaction
    uint32_t row_count_ = 0;
    uint32_t addr_count_ = 0;

    std::set<uint32_t> dirty_endpoints_;
    std::unordered_set<model::ObjectName> dirty_pods_;
    std::set<model::Text> dirty_nodes_;
    std::set<IpAddress> dirty_addresses_;
    std::set<IpPrefix> dirty_ranges_;
    std::set<IpAddress> starved_;  ///< not listed for want of room
    std::set<IpPrefix> starved_ranges_;
    std::vector<uint16_t> leaving_;  ///< sets of endpoints that were removed
    std::deque<Batch> batches_;
    uint64_t last_token_ = 0;
};

}  // namespace weir::policy
