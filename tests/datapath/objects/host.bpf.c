/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* As pod.bpf.c, for devices; passes packets on and counts them. The sweep only counts its runs. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "lib/config.h"
#include "lib/maps.h"

#define CLOCK_MONOTONIC 1

static __always_inline void count_at(__u32 index)
{
	__u64 *n = bpf_map_lookup_elem(&weir_counters, &index);

	if (n)
		(*n)++;
}

SEC("tc") int dev_in(struct __sk_buff *skb)
{
	count_at(40 + MARK);
	return TC_ACT_UNSPEC;
}

SEC("tc") int dev_out(struct __sk_buff *skb)
{
	return MARK;
}

static int sweep(void *map, __u32 *key, struct weir_sweep_slot *slot)
{
	slot->stats.runs++;
	slot->stats.next_shard = MARK;
	slot->stats.last_run_ns = bpf_ktime_get_ns();
	bpf_timer_start(&slot->timer, 10000000, 0);
	return 0;
}

SEC("tc") int sweep_start(struct __sk_buff *skb)
{
	__u32 key = 0;
	struct weir_sweep_slot *slot = bpf_map_lookup_elem(&weir_sweep, &key);

	if (!slot)
		return 1;
	bpf_timer_init(&slot->timer, &weir_sweep, CLOCK_MONOTONIC);
	if (bpf_timer_set_callback(&slot->timer, sweep))
		return 2;
	return bpf_timer_start(&slot->timer, 10000000, 0) ? 3 : 0;
}

/* Keeps the configuration in this object's read-only data, as every real object has it. */
SEC("tc") int dev_out_reject(struct __sk_buff *skb)
{
	return cfg.bank;
}

char _license[] SEC("license") = "Dual BSD/GPL";
