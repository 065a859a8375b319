/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Drops and flow events: what people see. The one exit of a packet that dies is drop(). */
#ifndef WEIR_LIB_EVENT_H
#define WEIR_LIB_EVENT_H

#include "context.h"
#include "count.h"

/* May one more event of this kind go out now? A bucket that says no remembers how often. */
static __always_inline bool bucket_take(__u32 index, __u32 *suppressed)
{
	struct weir_bucket *bucket = bpf_map_lookup_elem(&weir_buckets, &index);
	__u64 now = bpf_ktime_get_ns(), earned;

	if (!bucket)
		return false;
	earned = (now - bucket->refilled_ns) * WEIR_DROP_EVENTS_PER_SECOND / 1000000000;
	if (earned) {
		earned += bucket->tokens;
		bucket->tokens = earned > WEIR_DROP_EVENTS_BURST ? WEIR_DROP_EVENTS_BURST : earned;
		bucket->refilled_ns = now;
	}
	if (!bucket->tokens) {
		bucket->suppressed++;
		return false;
	}
	bucket->tokens--;
	*suppressed = bucket->suppressed;
	bucket->suppressed = 0;
	return true;
}

static __always_inline struct weir_event *event_begin(__u8 type)
{
	struct weir_event *event = bpf_ringbuf_reserve(&weir_events, sizeof(*event), 0);

	if (!event) {
		count(EVENTS_LOST);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = bpf_ktime_get_ns();
	event->type = type;
	return event;
}

/*
 * Hands the event over without waking the reader: an interrupt and a task switch for each flow cost
 * more than the flow. The sweep's tick does that (event_wake()), and whoever fills another piece of
 * the buffer, so that a burst is read before the buffer is full.
 */
static __always_inline void event_submit(struct weir_event *event)
{
	__u64 at = bpf_ringbuf_query(&weir_events, BPF_RB_PROD_POS);
	bool next_piece = (at & cfg.event_wake_mask) < WEIR_EVENT_BYTES;

	bpf_ringbuf_submit(event, next_piece ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

/* Wakes the reader if there is something to read: by a record that is no event, and discarded. */
static __always_inline void event_wake(void)
{
	void *nothing;

	if (!bpf_ringbuf_query(&weir_events, BPF_RB_AVAIL_DATA))
		return;
	nothing = bpf_ringbuf_reserve(&weir_events, 8, 0);
	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
}

static __always_inline void event_packet(struct weir_event *event, struct __sk_buff *skb,
					 const struct weir_ctx *ctx)
{
	event->family = ctx->v6 ? 6 : 4;
	event->proto = ctx->proto;
	event->hook = ctx->hook;
	event->tcp_flags = ctx->tcp_flags;
	event->saddr = event->nat_saddr = ctx->t.saddr;
	event->daddr = event->nat_daddr = ctx->t.daddr;
	event->sport = event->nat_sport = ctx->t.sport;
	event->dport = event->nat_dport = ctx->t.dport;
	event->ifindex = skb->ifindex;
}

static __always_inline void event_rewritten(struct weir_event *event, const struct weir_ctx *ctx)
{
	event->nat_saddr = ctx->n.saddr;
	event->nat_daddr = ctx->n.daddr;
	event->nat_sport = ctx->n.sport;
	event->nat_dport = ctx->n.dport;
}

/* Counts a drop and reports it; the caller decides what becomes of the packet. */
__global int account_drop(struct __sk_buff *skb, struct weir_ctx *ctx, __u32 reason)
{
	__u32 index, suppressed = 0;
	struct weir_count *counted;
	struct weir_event *event;

	if (!ctx || !writes_allowed())
		return TC_ACT_SHOT;
	index = reason * WEIR_DIRECTIONS + ctx->hook;
	counted = bpf_map_lookup_elem(&weir_drops, &index);
	if (counted) {
		counted->packets++;
		counted->bytes += skb->len;
	}
	if (!bucket_take(reason, &suppressed))
		return TC_ACT_SHOT;
	event = event_begin(WEIR_EVENT_DROP);
	if (!event)
		return TC_ACT_SHOT;
	event_packet(event, skb, ctx);
	if (ctx->rewrite)
		event_rewritten(event, ctx);
	event->reason = reason;
	event->endpoint[ctx->hook == WEIR_HOOK_POD_TO] = ctx->endpoint;
	event->length = skb->len;
	event->rule = ctx->rule;
	event->suppressed = suppressed;
	event_submit(event);
	return TC_ACT_SHOT;
}

/* Both use the `skb` at hand. */
#define drop(ctx, reason) account_drop(skb, ctx, WEIR_DROP_##reason)

/* Drops, but tells the sender: the REJECT stage does both. */
static __always_inline int answer(struct __sk_buff *skb, struct weir_ctx *ctx, __u32 reason,
				  __u32 kind, __u32 mtu)
{
	skb->cb[CB_REASON] = reason;
	skb->cb[CB_ANSWER] = kind;
	skb->cb[CB_MTU] = mtu;
	return STAGE(REJECT);
}

#define refuse(ctx, reason) answer(skb, ctx, WEIR_DROP_##reason, ANSWER_REFUSED, 0)

/* A new flow, as its first packet shows it. */
__global int report_new_flow(struct __sk_buff *skb, struct weir_ctx *ctx, const struct weir_ct *ct)
{
	struct weir_event *event;

	if (!ctx || !ct || !(cfg.flags & WEIR_CFG_FLOW_EVENTS) || !writes_allowed())
		return 0;
	event = event_begin(WEIR_EVENT_FLOW_NEW);
	if (!event)
		return 0;
	event_packet(event, skb, ctx);
	if (ctx->rewrite)
		event_rewritten(event, ctx);
	event->ct_flags = ct->flags;
	event->ct_kind = ct->kind;
	event->service = ct->service;
	event->backend = ct->backend;
	event->endpoint[0] = ct->endpoint[0];
	event->endpoint[1] = ct->endpoint[1];
	event->egress_rule = WEIR_EVENT_RULE(ct->verdict[0].set, ct->verdict[0].rule);
	event->rule = WEIR_EVENT_RULE(ct->verdict[1].set, ct->verdict[1].rule);
	event_submit(event);
	return 0;
}

static __always_inline void jump(struct __sk_buff *skb, __u32 slot)
{
#ifdef __bpf__
	/* The slot in a register of its own, a constant to the verifier: a direct jump. */
	asm volatile("r1 = %[skb]\n\t"
		     "r2 = %[map]\n\t"
		     "r3 = %[slot]\n\t"
		     "call 12"
		     :
		     : [skb] "r"(skb), [map] "r"(&weir_progs), [slot] "r"(slot)
		     : "r0", "r1", "r2", "r3", "r4", "r5", "memory");
#else /* compiled for the host by tests */
	bpf_tail_call(skb, &weir_progs, slot);
#endif
}

/* The end of every program: a TC action, or on to a stage of this hook in this build's bank. */
static __always_inline int finish(struct __sk_buff *skb, struct weir_ctx *ctx, __u32 hook,
				  int verdict)
{
#define FINISH_STAGE(stage)                                                                        \
	if (verdict == STAGE(stage))                                                               \
	jump(skb, WEIR_STAGE_SLOT(cfg.bank, hook, WEIR_STAGE_##stage))

	if (verdict < STAGE_BASE)
		return verdict;
	FINISH_STAGE(NEW_FLOW);
	FINISH_STAGE(ICMP_ERROR);
	FINISH_STAGE(REJECT);
	FINISH_STAGE(FRAGMENT);
	FINISH_STAGE(NEIGHBOUR);
	if (hook != WEIR_HOOK_DEV_OUT)
		FINISH_STAGE(POLICY);
#undef FINISH_STAGE
	return drop(ctx, STAGE_MISSING);
}

#define PROGRAM(name, hook, context, body)                                                         \
	SEC("tc") int name(struct __sk_buff *skb)                                                  \
	{                                                                                          \
		struct weir_ctx *ctx = context();                                                  \
                                                                                                   \
		return ctx ? finish(skb, ctx, hook, body(skb, ctx)) : TC_ACT_SHOT;                 \
	}

/* The program on a hook, and what it jumps to: `body` returns a TC action or STAGE(). */
#define ENTRY_PROGRAM(name, hook, body) PROGRAM(name, hook, entry_context, body)
#define STAGE_PROGRAM(name, hook, body) PROGRAM(name, hook, stage_context, body)

#endif
