/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The policy decision for one end of a flow. It reads tables only: neither packet nor flow, and
 * counts nothing. The rules that make it safe against a writer are in weir/policy.h. Who asks knows
 * what is exempt: a pod that calls its own address, and a pod with the host it is on. A pod that
 * reaches itself through a Service is asked for, with POLICY_QUERY_SELF.
 */
#ifndef WEIR_LIB_POLICY_H
#define WEIR_LIB_POLICY_H

#include <stdbool.h>
#include <linux/in.h>

#include "policy_maps.h"

enum policy_result {
	POLICY_ACCEPTED = 0,
	POLICY_DENIED = 1, /* unless the endpoint's whole namespace is in audit mode */
	POLICY_RACE = 2,   /* drop: the tables changed twice under the lookup */
};

enum policy_query_flags {
	/*
	 * The peer is the pod itself, by way of a Service: no NetworkPolicy keeps a pod from
	 * itself, but ClusterNetworkPolicies are asked.
	 */
	POLICY_QUERY_SELF = 1 << 0,
};

struct policy_query {
	struct weir_addr peer; /* the other end, as the pod would name it: no SNAT, no VIP */
	__u16 set;	       /* of the endpoint; not WEIR_POLICY_SET_NONE */
	__u8 direction;	       /* enum weir_policy_direction */
	__u8 proto;	       /* IPPROTO_* */
	__u16 port;	       /* of the flow's destination, host byte order; 0 without ports */
	__u16 flags;	       /* enum policy_query_flags */
};

struct policy_verdict {
	__u16 rule; /* number within the set */
	__u16 action;
	__u32 counter;
	__u32 identity;
	__u32 audit; /* set to ask as well; 0: none */
};

static __always_inline bool policy_ref_read(const struct weir_policy_ref *ref,
					    const struct weir_addr *key, __u32 *slot)
{
	__u64 word = *(volatile __u64 *)ref;

	*slot = (__u32)word;
	return (__u32)(word >> 32) == weir_policy_ref_check(key, *slot);
}

/* The slot of an address, 0: none. False: an element was recycled under the lookup. */
static __always_inline bool policy_slot(const struct weir_addr *addr, __u32 *slot)
{
	struct weir_cidr_key key = {.prefixlen = 128};
	struct weir_policy_ref *ref;

	ref = bpf_map_lookup_elem(&weir_policy_addrs, addr);
	if (ref)
		return policy_ref_read(ref, addr, slot);
	key.addr = *addr;
	*slot = 0;
	ref = bpf_map_lookup_elem(&weir_policy_cidrs, &key);
	return !ref || policy_ref_read(ref, 0, slot);
}

static __always_inline bool policy_identity(const struct weir_addr *of, __u32 *identity)
{
	struct weir_addr addr = *of; /* on the stack, where Linux 6.1 takes keys from */
	__u32 slot = 0;
	__u64 *word;

	*identity = 0;
	for (int try = 0; try < 2; try++) {
		if (!policy_slot(&addr, &slot))
			continue;
		if (!slot)
			return true;
		word = bpf_map_lookup_elem(&weir_policy_slots, &slot);
		if (!word)
			return false;
		*identity = WEIR_POLICY_IDENTITY(*(volatile __u64 *)word);
		return true;
	}
	return false;
}

/* The row of an identity; `first` 0: none. False: recycled, twice. */
static __always_inline bool policy_row(const struct policy_query *query, __u32 identity,
				       struct weir_policy_row *out)
{
	struct weir_policy_row_key key = {
		.identity = identity, .set = query->set, .direction = query->direction};

	out->first = 0;
	if (!identity)
		return true;
	for (int try = 0; try < 2; try++) {
		struct weir_policy_row *row = bpf_map_lookup_elem(&weir_policy_rows, &key);

		if (!row)
			return true;
		*out = *(volatile struct weir_policy_row *)row;
		if (out->check == weir_policy_row_check(&key, out))
			return true;
	}
	out->first = 0;
	return false;
}

/* The cell of a row for this protocol and port, by binary search: 16 steps for 65,535 cells. */
static __always_inline __u64 policy_cell(const struct weir_policy_row *row, __u8 proto, __u16 port)
{
	__u32 at = row->first;
	__u32 count = row->cells[0];
	__u64 *cell;

	if (proto == IPPROTO_UDP) {
		at += row->cells[0];
		count = row->cells[1];
	} else if (proto == IPPROTO_SCTP) {
		at += row->cells[0] + row->cells[1];
		count = row->cells[2];
	} else if (proto != IPPROTO_TCP) {
		at += row->cells[0] + row->cells[1] + row->cells[2];
		count = 1;
	}
	if (!count)
		return WEIR_POLICY_CELL_EMPTY;
	for (int i = 0; i < 16 && count > 1; i++) {
		__u32 half = count / 2;
		__u32 middle = at + half;

		cell = bpf_map_lookup_elem(&weir_policy_cells, &middle);
		if (cell && WEIR_POLICY_CELL_PORT(*cell) <= port)
			at = middle;
		count -= half;
	}
	cell = bpf_map_lookup_elem(&weir_policy_cells, &at);
	return cell ? *cell : WEIR_POLICY_CELL_EMPTY;
}

static __always_inline __u16 policy_first(__u64 a, __u64 b, int tier)
{
	__u16 one = WEIR_POLICY_CELL_RULE(a, tier), other = WEIR_POLICY_CELL_RULE(b, tier);

	return one < other ? one : other;
}

/*
 * The first rule of the first tier that does not pass the decision on. Where NetworkPolicies
 * isolate there is one of theirs, so that their word is final for a pod with itself too.
 */
static __always_inline enum policy_result policy_decide(const struct weir_policy_set *set, __u64 a,
							__u64 b, bool self,
							struct policy_verdict *verdict)
{
	for (int tier = 0; tier < WEIR_POLICY_TIERS; tier++) {
		__u16 rule = policy_first(a, b, tier);
		__u32 index = set->rules + rule;
		__u64 *word;

		if (rule == WEIR_POLICY_NO_RULE)
			continue;
		word = bpf_map_lookup_elem(&weir_policy_rules, &index);
		if (!word)
			return POLICY_RACE;
		verdict->rule = rule;
		verdict->action = WEIR_POLICY_RULE_ACTION(*word);
		verdict->counter = WEIR_POLICY_RULE_COUNTER(*word);
		if (self && tier == WEIR_POLICY_NETWORK)
			verdict->action = WEIR_POLICY_ACCEPT;
		if (verdict->action == WEIR_POLICY_ACCEPT)
			return POLICY_ACCEPTED;
		if (verdict->action == WEIR_POLICY_DENY)
			return POLICY_DENIED;
	}
	return POLICY_RACE; /* the list had an end: never with sound tables */
}

/* enum policy_result; the verdict is filled unless POLICY_RACE. */
__noinline int policy_lookup(const struct policy_query *query, struct policy_verdict *verdict)
{
	struct weir_policy_row row = {};
	struct weir_policy_set *set;
	__u64 own = WEIR_POLICY_CELL_EMPTY, any = WEIR_POLICY_CELL_EMPTY;
	__u32 index, identity;

	if (!query || !verdict) /* never; the function is verified by itself */
		return POLICY_RACE;
	index = query->set;
	set = bpf_map_lookup_elem(&weir_policy_sets, &index);
	if (!set || !policy_identity(&query->peer, &identity) || !policy_row(query, identity, &row))
		return POLICY_RACE;
	verdict->identity = identity;
	verdict->audit = set->audit;
	if (row.first)
		own = policy_cell(&row, query->proto, query->port);
	if (!(row.first && row.flags & WEIR_POLICY_ROW_FINAL))
		any = policy_cell(&set->wildcard[query->direction & 1], query->proto, query->port);
	return policy_decide(set, own, any, query->flags & POLICY_QUERY_SELF, verdict);
}

/* Of what was accepted: would it be denied, and by what, if policies in audit mode were enforced?
 */
static __always_inline bool policy_would_deny(const struct policy_query *query,
					      const struct policy_verdict *verdict,
					      struct policy_verdict *would)
{
	struct policy_query again = *query;

	if (!verdict->audit)
		return false;
	again.set = verdict->audit;
	return policy_lookup(&again, would) == POLICY_DENIED;
}

#endif
