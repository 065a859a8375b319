/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The datapath's own Service lookup, run against tables that change all the while. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "lib/lb.h"
#include "lookup.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOOKUP_TARGETS);
	__type(key, __u32);
	__type(value, struct lookup_target);
} lookup_targets SEC(".maps");

/* kind * LOOKUP_RESULTS + result -> lookups */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOOKUP_KINDS *LOOKUP_RESULTS);
	__type(key, __u32);
	__type(value, __u64);
} lookup_results SEC(".maps");

__u32 target_count = 1;
volatile __u32 spin_started;
volatile __u32 spin_finished;

static __always_inline void record(__u32 kind, enum lookup_result result)
{
	__u32 key = kind * LOOKUP_RESULTS + result;
	__u64 *n = bpf_map_lookup_elem(&lookup_results, &key);

	if (n)
		(*n)++;
}

static __always_inline enum lookup_result
judge(const struct lookup_target *target, enum lb_verdict verdict, const struct lb_choice *choice)
{
	const __u8 *bytes = (const __u8 *)&choice->addr;

	if (verdict == LB_MISS)
		return LOOKUP_MISSED;
	if (verdict == LB_RACE)
		return LOOKUP_RACED;
	if (verdict != LB_FOUND)
		return LOOKUP_REFUSED;
	if (bytes[13] != target->service[0] && bytes[13] != target->service[1])
		return LOOKUP_FOREIGN;
	if (bytes[12] != 10 || bytes[14] != 0 || choice->port != bpf_htons(LOOKUP_PORT(bytes[15])))
		return LOOKUP_TORN;
	return LOOKUP_FOUND;
}

SEC("tc")
int lookup(struct __sk_buff *skb)
{
	for (int i = 0; i < LOOKUPS_A_RUN; i++) {
		__u32 index = bpf_get_prandom_u32() % target_count;
		struct lookup_target *target = bpf_map_lookup_elem(&lookup_targets, &index);
		struct lb_choice choice = {};
		enum lb_verdict verdict;

		if (!target || target->kind >= LOOKUP_KINDS)
			return TC_ACT_SHOT;
		verdict = lb_lookup(&target->addr, target->port, target->proto, false, &choice);
		record(target->kind, judge(target, verdict, &choice));
		if (target->kind == LOOKUP_STABLE && !vip_is_cluster_ip(&target->addr))
			record(target->kind, LOOKUP_UNMARKED);
	}
	return TC_ACT_OK;
}

static long spin_step(__u32 i, void *unused)
{
	return 0;
}

/* Runs for some tens of milliseconds: something for a grace period to wait for. */
SEC("tc")
int spin(struct __sk_buff *skb)
{
	spin_started = 1;
	for (int i = 0; i < 4; i++)
		bpf_loop(1 << 23, spin_step, 0, 0);
	spin_finished = 1;
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
