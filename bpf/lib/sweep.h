/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The sweep: a timer in a pinned map deletes what has expired, one shard at a time, whether or not
 * an agent runs. Expiry itself is decided at lookup; this only gives memory back and reports ends.
 */
#ifndef WEIR_LIB_SWEEP_H
#define WEIR_LIB_SWEEP_H

#include "context.h"
#include "partner.h"

/* Nobody starts to use an entry that died; wait for those who began before. */
#define SWEEP_GRACE_TICKS 2

struct sweep {
	__u32 now;
	__u32 expired;
	bool v6;
};

/* The tuple of the original direction of an entry, from its key. */
static __always_inline void key_tuple(struct weir_tuple *t, const union weir_key *key, bool v6,
				      bool second)
{
	struct weir_tuple there = {};

	if (v6) {
		there.saddr = key->k6.addr[0];
		there.daddr = key->k6.addr[1];
		there.sport = key->k6.port[0];
		there.dport = key->k6.port[1];
	} else {
		addr_set4(&there.saddr, key->k4.addr[0]);
		addr_set4(&there.daddr, key->k4.addr[1]);
		there.sport = key->k4.port[0];
		there.dport = key->k4.port[1];
	}
	if (second)
		tuple_reverse(t, &there);
	else
		*t = there;
}

static __always_inline void report_end(const struct weir_tuple *t, const struct weir_ct *ct,
				       __u8 proto, bool v6)
{
	struct weir_event *event;

	/* One record a flow: the reply entry of a translated one is silent. */
	if (!(cfg.flags & WEIR_CFG_FLOW_EVENTS) || ct->flags & WEIR_CT_REWRITE_REPLY)
		return;
	event = event_begin(WEIR_EVENT_FLOW_END);
	if (!event)
		return;
	event->reason = ct->flags & WEIR_CT_CLOSED ? WEIR_END_CLOSED : WEIR_END_EXPIRED;
	event->family = v6 ? 6 : 4;
	event->proto = proto;
	event->ct_flags = ct->flags;
	event->ct_kind = ct->kind;
	event->tcp_flags = ct->tcp_flags[0] | ct->tcp_flags[1];
	event->saddr = event->nat_saddr = t->saddr;
	event->daddr = event->nat_daddr = t->daddr;
	event->sport = event->nat_sport = t->sport;
	event->dport = event->nat_dport = t->dport;
	if (ct->flags & WEIR_CT_REWRITE_ORIG) {
		event->nat_saddr = ct->nat_addr[0];
		event->nat_daddr = ct->nat_addr[1];
		event->nat_sport = ct->nat_port[0];
		event->nat_dport = ct->nat_port[1];
	}
	event->service = ct->service;
	event->backend = ct->backend;
	event->endpoint[0] = ct->endpoint[0];
	event->endpoint[1] = ct->endpoint[1];
	event->ifindex = ct->ifindex;
	event->duration = ct->seen - ct->created;
	event_submit(event);
}

/* Does the other entry of this flow still live? Then so does this one. */
static __always_inline bool partner_lives(const struct weir_tuple *t, struct weir_ct *ct,
					  __u8 proto, const struct sweep *sweep)
{
	struct weir_tuple n = {.saddr = ct->nat_addr[0],
			       .daddr = ct->nat_addr[1],
			       .sport = ct->nat_port[0],
			       .dport = ct->nat_port[1]};
	union weir_key key = {};
	struct weir_ct *partner;
	struct weir_tuple back;
	__u8 second;
	__u32 hash = key_of(&key, &n, sweep->v6, proto, &second);

	partner = est_find(&key, hash, sweep->v6);
	if (!partner)
		return false;
	if (ct->flags & WEIR_CT_REWRITE_REPLY)
		back = *t; /* t is the original direction, the entry rewrites the other */
	else
		tuple_reverse(&back, t);
	if (!rewrites_to(partner, &back) || !ct_alive(partner, sweep->now, false))
		return false;
	ct->expires = partner->expires;
	return true;
}

/* True: delete it. */
static __noinline bool sweep_entry(const union weir_key *key, struct weir_ct *ct,
				   struct sweep *sweep, __u8 proto)
{
	struct weir_tuple t;

	if ((__s32)(sweep->now - ct->expires) < SWEEP_GRACE_TICKS)
		return false;
	key_tuple(&t, key, sweep->v6, ct->flags & WEIR_CT_ORIG_SECOND);
	if (ct->flags & (WEIR_CT_REWRITE_ORIG | WEIR_CT_REWRITE_REPLY) &&
	    partner_lives(&t, ct, proto, sweep))
		return false;
	report_end(&t, ct, proto, sweep->v6);
	sweep->expired++;
	return true;
}

static long sweep_entry4(void *map, struct weir_ct_key4 *key, struct weir_ct *ct,
			 struct sweep *sweep)
{
	union weir_key copy = {.k4 = *key};

	if (sweep_entry(&copy, ct, sweep, copy.k4.proto) && !bpf_map_delete_elem(map, &copy.k4))
		ct_count(weir_ct_hash4(&copy.k4), false, false);
	return 0;
}

static long sweep_entry6(void *map, struct weir_ct_key6 *key, struct weir_ct *ct,
			 struct sweep *sweep)
{
	union weir_key copy = {.k6 = *key};

	if (sweep_entry(&copy, ct, sweep, copy.k6.proto) && !bpf_map_delete_elem(map, &copy.k6))
		ct_count(weir_ct_hash6(&copy.k6), true, false);
	return 0;
}

/* One shard of one family; shards 0..63 are IPv4, the next 64 IPv6. */
static __always_inline void sweep_shard(__u32 number, struct sweep *sweep)
{
	__u32 shard = number % WEIR_CT_SHARDS;
	void *map;

	sweep->v6 = number >= WEIR_CT_SHARDS;
	if (sweep->v6) {
		map = bpf_map_lookup_elem(&weir_ct6, &shard);
		if (map)
			bpf_for_each_map_elem(map, sweep_entry6, sweep, 0);
		barrier(); /* two calls: Linux 6.1 refuses one with either kind of map */
		return;
	}
	map = bpf_map_lookup_elem(&weir_ct4, &shard);
	if (map)
		bpf_for_each_map_elem(map, sweep_entry4, sweep, 0);
}

static int sweep_tick(void *map, __u32 *index, struct weir_sweep_slot *slot)
{
	struct sweep sweep = {.now = tick_now()};
	__u64 *expired;
	__u32 counter = WEIR_COUNTER_CT_EXPIRED;
	__u32 number = slot->stats.next_shard;

	if (number >= 2 * WEIR_CT_SHARDS)
		number = 0;
	sweep_shard(number, &sweep);
	slot->stats.next_shard = number + 1;
	slot->stats.runs++;
	slot->stats.expired += sweep.expired;
	slot->stats.last_run_ns = bpf_ktime_get_coarse_ns();
	expired = bpf_map_lookup_elem(&weir_counters, &counter);
	if (expired)
		*expired += sweep.expired;
	event_wake();
	bpf_timer_start(&slot->timer, WEIR_SWEEP_INTERVAL_NS, 0);
	return 0;
}

#endif
