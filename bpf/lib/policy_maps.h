/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps of policy (weir/policy.h), all written by the agent alone but for the hits. Each load of
 * the programs brings its own, which its agent fills before the programs are put in force. Sizes
 * are defaults, as in maps.h; arrays that change under readers are written through their mapping.
 */
#ifndef WEIR_LIB_POLICY_MAPS_H
#define WEIR_LIB_POLICY_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "weir/endpoint.h"
#include "weir/policy.h"

/*
 * Address -> slot: pods and nodes that a live rule tells from the range they are in. Memory follows
 * use, about 80 bytes an element.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct weir_addr);
	__type(value, struct weir_policy_ref);
} weir_policy_addrs SEC(".maps");

/* Prefix -> slot: every distinct CIDR and except of a live rule. Asked when addrs has nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct weir_cidr_key);
	__type(value, struct weir_policy_ref);
} weir_policy_cidrs SEC(".maps");

/* Slot (1...) -> identity. One for each element of addrs and cidrs: 2.6 MB. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 327680);
	__type(key, __u32);
	__type(value, __u64);
} weir_policy_slots SEC(".maps");

/* Set, direction, identity -> row. Memory follows use, about 72 bytes an element. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 524288);
	__type(key, struct weir_policy_row_key);
	__type(value, struct weir_policy_row);
} weir_policy_rows SEC(".maps");

/* Cells of all rows, equal rows stored once: 16 MB. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2097152);
	__type(key, __u32);
	__type(value, __u64);
} weir_policy_cells SEC(".maps");

/* Rules of all sets: 4 MB. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 524288);
	__type(key, __u32);
	__type(value, __u64);
} weir_policy_rules SEC(".maps");

/* Set (1...) -> what its rows are about. An endpoint has one; those of equal policies share it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct weir_policy_set);
} weir_policy_sets SEC(".maps");

/* Counter of a rule -> its hits. Programs write; agent and CLI read. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 131072);
	__type(key, __u32);
	__type(value, struct weir_policy_hits);
} weir_policy_hits SEC(".maps");

#endif
