/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Policy tables. A decision for one end of a flow:
 *
 *   addrs {peer}, else cidrs {peer}, else identity 0   -> slots[slot] -> identity
 *   rows {set, direction, identity}                    -> cells, by binary search of the port
 *   sets[set].wildcard[direction]                      -> cells, by binary search of the port
 *   the lower rule number of both, tier by tier        -> rules[rule] -> action
 *
 * An identity stands for what policies can tell of an address. A set is a list of rules, numbered
 * in order of precedence, which endpoints with equal policies share. A row holds, for the rules of
 * a set that match one identity through their peers, the first rule of each tier for each range of
 * ports; the wildcard row holds the same for rules without peers, among them the two that end every
 * list, so that there always is a rule to answer. Both searches take the logarithm of the ranges.
 *
 * Writers keep these rules, so that a reader never acts on a mixture of two states:
 *  - values of addrs, cidrs and rows are written once and never replaced: an element comes and
 * goes. A check word tells a reader that met a recycled one;
 *  - what an address is changes by one store into slots, of one aligned word. An agent that takes
 *    over fills tables of its own, which its programs bring along: old and new ones answer side by
 *    side, and each endpoint has a word for either bank of programs;
 *  - the content of a set and the meaning of an identity never change while anything refers to
 *    them, so the value of a row is a function of its key. Rows of a new identity are in every live
 *    set before an address has it; a set is whole before an endpoint has it. What went out of use
 * is taken away, and its number given to another, after a grace period;
 *  - an endpoint changes set and epoch, for both directions, by one store of its policy word. It is
 *    closed before an address becomes what its set has no rows for: who asks reads the word again
 *    after the answer, and asks anew if it changed.
 * Policies in audit mode are in no set that decides. A set that would be another with them names
 * that one: what it denies is counted and shown, and passes. It lives as long as who names it.
 *
 * Index 0 of sets, slots, cells and rules is never used.
 */
#ifndef WEIR_POLICY_H
#define WEIR_POLICY_H

#include "types.h"

enum weir_policy_direction {
	WEIR_POLICY_EGRESS = 0,
	WEIR_POLICY_INGRESS = 1,
	WEIR_POLICY_DIRECTIONS = 2,
};

enum weir_policy_tier {
	WEIR_POLICY_ADMIN = 0,
	WEIR_POLICY_NETWORK = 1, /* NetworkPolicy */
	WEIR_POLICY_BASELINE = 2,
	WEIR_POLICY_TIERS = 3,
};

enum weir_policy_action {
	WEIR_POLICY_NONE = 0, /* no such rule: tables contradict themselves */
	WEIR_POLICY_ACCEPT = 1,
	WEIR_POLICY_DENY = 2,
	WEIR_POLICY_PASS = 3, /* on to the next tier */
};

enum weir_policy_word_flags {
	WEIR_POLICY_WORD_AUDIT = 1 << 0,  /* audit mode of the endpoint's whole namespace */
	WEIR_POLICY_WORD_REJECT = 1 << 1, /* denials are answered, not dropped silently */
};

/* Sets with a meaning of their own. */
#define WEIR_POLICY_SET_NONE 0 /* no policy selects the endpoint: nothing to look up */
#define WEIR_POLICY_SET_CLOSED                                                                     \
	1 /* nothing passes: not known yet, or tables that were too small                          \
	   */

/*
 * An endpoint's policy: one aligned word. No two words that any endpoint ever had share an epoch,
 * so that the epoch in a cached verdict proves it is current. 0: never; the highest is of words
 * that close an endpoint until its policies are known, under which only what is exempt passes.
 */
#define WEIR_POLICY_EPOCH_UNKNOWN 0xffffffffu
#define WEIR_POLICY_WORD(set, flags, epoch)                                                        \
	((__u64)(__u32)(epoch) << 32 | (__u64)(__u16)(flags) << 16 | (__u16)(set))
#define WEIR_POLICY_WORD_SET(w)	  ((__u16)(w))
#define WEIR_POLICY_WORD_FLAGS(w) ((__u16)((w) >> 16))
#define WEIR_POLICY_WORD_EPOCH(w) ((__u32)((w) >> 32))

/* Words of slots: an identity; 0: nothing any policy looks at. */
#define WEIR_POLICY_IDENTITY(word) ((__u32)(word))

/* addrs: struct weir_addr -> this; cidrs: struct weir_cidr_key -> this, `check` of the slot alone.
 */
struct weir_policy_ref {
	__u32 slot;
	__u32 check; /* weir_policy_ref_check */
};
WEIR_ABI_VALUE(struct weir_policy_ref, 8);

struct weir_policy_row_key {
	__u32 identity;
	__u16 set;
	__u16 direction; /* enum weir_policy_direction */
};
WEIR_ABI_KEY(struct weir_policy_row_key, 8);

enum weir_policy_row_flags {
	WEIR_POLICY_ROW_FINAL = 1 << 0, /* stands for itself: the wildcard row is in it already */
};

/*
 * Cells from `first`: those of TCP, of UDP, of SCTP (each ascending by first port, beginning with
 * port 0, or none at all), then one for everything else.
 */
struct weir_policy_row {
	__u32 first;
	__u16 cells[3];
	__u16 flags; /* enum weir_policy_row_flags */
	__u32 check; /* weir_policy_row_check */
};
WEIR_ABI_VALUE(struct weir_policy_row, 16);

/* A cell: the port from which it holds, and the first rule of each tier. */
#define WEIR_POLICY_NO_RULE 0xffffu
#define WEIR_POLICY_CELL(port, admin, network, baseline)                                           \
	((__u64)(__u16)(port) | (__u64)(__u16)(admin) << 16 | (__u64)(__u16)(network) << 32 |      \
	 (__u64)(__u16)(baseline) << 48)
#define WEIR_POLICY_CELL_PORT(cell)	  ((__u16)(cell))
#define WEIR_POLICY_CELL_RULE(cell, tier) ((__u16)((cell) >> (16 + 16 * (tier))))
#define WEIR_POLICY_CELL_EMPTY		  (~0ULL << 16)

/* A word of rules: action (8 bits) | unused (24) | counter (32). */
#define WEIR_POLICY_RULE(action, counter) ((__u64)(__u8)(action) | (__u64)(__u32)(counter) << 32)
#define WEIR_POLICY_RULE_ACTION(rule)	  ((__u8)(rule))
#define WEIR_POLICY_RULE_COUNTER(rule)	  ((__u32)((rule) >> 32))

struct weir_policy_set {
	struct weir_policy_row wildcard[WEIR_POLICY_DIRECTIONS]; /* check is not used */
	__u32 rules;	  /* first of its rules; rule numbers count from it */
	__u32 rule_count; /* at most 65535, WEIR_POLICY_NO_RULE */
	__u32 audit;	  /* set of these policies and those in audit mode; 0: none are */
	__u32 spare[5];
};
WEIR_ABI_VALUE(struct weir_policy_set, 64);

/* Hits of a rule; index 0: rules without a counter. */
struct weir_policy_hits {
	__u64 flows; /* decisions: first packets, and flows decided anew after a change */
};
WEIR_ABI_VALUE(struct weir_policy_hits, 8);

static inline __u32 weir_policy_mix(__u32 hash, __u32 word)
{
	hash = (hash ^ word) * 0x9e3779b1u;
	return hash ^ hash >> 15;
}

/* `key`: NULL for cidrs, whose matched prefix a reader does not learn. */
static inline __u32 weir_policy_ref_check(const struct weir_addr *key, __u32 slot)
{
	__u32 hash = weir_policy_mix(0x85ebca6bu, slot);

	for (int i = 0; key && i < 4; i++)
		hash = weir_policy_mix(hash, key->w[i]);
	return hash;
}

static inline __u32 weir_policy_row_check(const struct weir_policy_row_key *key,
					  const struct weir_policy_row *row)
{
	__u32 hash = weir_policy_mix(key->identity, (__u32)key->set << 16 | key->direction);

	hash = weir_policy_mix(hash, row->first);
	hash = weir_policy_mix(hash, (__u32)row->cells[0] << 16 | row->cells[1]);
	return weir_policy_mix(hash, (__u32)row->cells[2] << 16 | row->flags);
}

#endif
