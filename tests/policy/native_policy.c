// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The datapath's own lookup as code of the host; the maps are names for the emulation.
#include "policy/native_policy.h"

#include "lib/policy.h"

const void* const policy_maps[POLICY_MAP_COUNT] = {
    [POLICY_MAP_ADDRS] = &weir_policy_addrs, [POLICY_MAP_CIDRS] = &weir_policy_cidrs,
    [POLICY_MAP_SLOTS] = &weir_policy_slots, [POLICY_MAP_ROWS] = &weir_policy_rows,
    [POLICY_MAP_CELLS] = &weir_policy_cells, [POLICY_MAP_RULES] = &weir_policy_rules,
    [POLICY_MAP_SETS] = &weir_policy_sets,
};

int policy_ask(const struct policy_asked* asked, struct policy_told* told) {
    struct policy_query query = {.peer = asked->peer,
                                 .set = asked->set,
                                 .direction = asked->direction,
                                 .proto = asked->proto,
                                 .port = asked->port,
                                 .flags = asked->self ? POLICY_QUERY_SELF : 0};
    struct policy_verdict verdict = {}, would = {};
    int result = policy_lookup(&query, &verdict);

    told->rule = verdict.rule;
    told->would_deny = result == POLICY_ACCEPTED && policy_would_deny(&query, &verdict, &would);
    told->would_rule = would.rule;
    told->would_set = verdict.audit;
    told->counter = verdict.counter;
    told->identity = verdict.identity;
    return result;
}
