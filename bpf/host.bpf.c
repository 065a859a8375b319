/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The host's devices. dev_in: ingress of external devices and of weir_vxlan. dev_out: egress of
 * these, of weir0, and of lo while the socket hooks are off. Most of what passes here is none of
 * Weir's business: it must cost little and go on to the next program.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "lib/conntrack.h"
#include "lib/context.h"
#include "lib/enforce.h"
#include "lib/event.h"
#include "lib/forward.h"
#include "lib/frag.h"
#include "lib/icmp.h"
#include "lib/new_flow.h"
#include "lib/overlay.h"
#include "lib/parse.h"
#include "lib/refresh.h"
#include "lib/reject.h"
#include "lib/sweep.h"

#define LOOPBACK_IFINDEX 1

/* Parses a frame of the device; lo, and devices not in the table, have a link header. */
static __always_inline int parse_device(struct weir_ctx *ctx, struct __sk_buff *skb, __u8 hook)
{
	__u32 ifindex = skb->ifindex;
	struct weir_device *device = bpf_map_lookup_elem(&weir_devices, &ifindex);

	ctx->device = device ? device->kind : 0;
	return parse(skb, ctx, hook, device && device->l3 ? 0 : ETH_HEADER_LEN);
}

/* Frames that no part of Weir deals with. */
static __always_inline bool is_foreign(const struct weir_ctx *ctx, int kind)
{
	return kind != PARSE_IP || ctx->icmp == CLASS_NEIGHBOUR || ctx->icmp == CLASS_LISTENER ||
	       addr_is_multicast(&ctx->t.daddr);
}

static __always_inline bool is_vip(const struct weir_ctx *ctx)
{
	struct weir_vip_key key = {.addr = ctx->t.daddr,
				   .port = ctx->t.dport,
				   .proto = ctx->proto,
				   .scope = WEIR_VIP_SERVICE};

	return has_ports(ctx) && bpf_map_lookup_elem(&weir_vips, &key);
}

/* --- from outside --- */

/* Of what comes to an address of this host, what may be part of a flow of ours? */
static __always_inline bool concerns_us(const struct weir_ctx *ctx)
{
	if (ctx->icmp)
		return ctx->icmp == CLASS_ECHO ? in_snat_range(ctx->t.dport) : false;
	if (!has_ports(ctx))
		return true;
	return nodeport_number(ctx->t.dport) || in_snat_range(ctx->t.dport) || is_vip(ctx);
}

/* Not ours, unless it lies about where it comes from. */
static __always_inline int dev_in_pass(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	return pod_at(&ctx->t.saddr) ? drop(ctx, SPOOFED_LOCAL) : PASS;
}

/* An outsider's packet must be from the flow's far end, and the far end must be outside. */
static __always_inline bool claims_local(const struct weir_ctx *ctx)
{
	if (ctx->sender || (ctx->ct_flags & WEIR_CT_FROM_HOST && !ctx->reply))
		return true;
	return !ctx->ifindex && is_node_addr(ctx, &ctx->t.saddr);
}

static __always_inline int dev_in_tracked(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	bool ours = bpf_map_lookup_elem(&weir_node_addrs, &ctx->t.daddr);
	struct weir_ct *ct;
	int verdict;

	if (ours && is_overlay_port(ctx, ctx->t.dport))
		return PASS;
	if (ours && !concerns_us(ctx))
		return dev_in_pass(skb, ctx);
	ct = ct_find(ctx);
	if (ct) {
		if (claims_local(ctx))
			return drop(ctx, SPOOFED_LOCAL);
		verdict = ct_track(skb, ctx, ct);
		return verdict == PASS ? forward(skb, ctx) : verdict;
	}
	if (ours || pod_at(&ctx->t.daddr) || is_vip(ctx))
		return STAGE(NEW_FLOW);
	return dev_in_pass(skb, ctx);
}

static __always_inline int dev_in_frame(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int kind = parse_device(ctx, skb, WEIR_HOOK_DEV_IN);

	if (is_overlay(skb->ifindex) && (kind != PARSE_IP || !from_owner(skb, ctx)))
		return drop(ctx, OVERLAY_SOURCE);
	if (is_foreign(ctx, kind))
		return PASS;
	if (ctx->frag)
		return STAGE(FRAGMENT);
	if (ctx->icmp == CLASS_ERROR)
		return STAGE(ICMP_ERROR);
	return dev_in_tracked(skb, ctx);
}

ENTRY_PROGRAM(dev_in, WEIR_HOOK_DEV_IN, dev_in_frame)

/* To an address of this host, for no Service. */
static __always_inline int dev_in_own(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	if (has_ports(ctx) && in_snat_range(ctx->t.dport) && !host_socket_at(skb, ctx, &ctx->t))
		return drop(ctx, SNAT_REPLY_MISS);
	return PASS;
}

static __always_inline int dev_in_route(struct __sk_buff *skb, struct weir_ctx *ctx,
					struct weir_ct *ct, int where, bool *snat)
{
	int verdict;

	switch (where) {
	case TO_POD:
	case TO_HOST:
		return PASS;
	case TO_NOBODY:
		return refuse(ctx, BACKEND_GONE);
	case TO_SERVICE_RANGE:
		return drop(ctx, SERVICE_CIDR_MISS);
	default:
		/* A backend on another node: its replies must come back here. */
		verdict = prepare_leaving(skb, ctx, ct, where, snat);
		return verdict == PASS && !*snat ? drop(ctx, NO_ROUTE) : verdict;
	}
}

static __always_inline int dev_in_start(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_scratch *s;
	bool snat = false;
	int verdict = PASS, where;

	if (pod_at(&ctx->t.saddr) || is_node_addr(ctx, &ctx->t.saddr))
		return drop(ctx, SPOOFED_LOCAL);
	s = flow_begin(ctx);
	if (!s)
		return drop(ctx, INTERNAL);
	s->ct[0].flags |= WEIR_CT_FROM_OUTSIDE;
	s->ct[0].ifindex = skb->ifindex;
	if (has_ports(ctx))
		verdict = select_backend(skb, ctx, &s->ct[0]);
	if (verdict != PASS)
		return verdict;
	where = classify(ctx, &s->ct[0]);
	if (!s->ct[0].service && where != TO_POD)
		return where == TO_HOST ? dev_in_own(skb, ctx) : PASS;
	/* A pod is answered by the routes of then; who is no pod, the way it came. */
	if (!s->ct[0].service && is_overlay(skb->ifindex) && !is_peer_node(&ctx->t.saddr))
		s->ct[0].ifindex = 0;
	verdict = dev_in_route(skb, ctx, &s->ct[0], where, &snat);
	if (verdict == PASS)
		verdict = police_new(skb, ctx);
	if (verdict == PASS)
		verdict = open_flow(skb, ctx, s, snat);
	return verdict == PASS ? forward(skb, ctx) : verdict;
}

STAGE_PROGRAM(dev_in_new_flow, WEIR_HOOK_DEV_IN, dev_in_start)

static __always_inline int dev_in_error(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct quote quote = {};

	if (pod_at(&ctx->t.saddr))
		return drop(ctx, SPOOFED_LOCAL);
	if (icmp_relate(skb, ctx, &quote) != ICMP_RELATED) {
		/* About a flow of the host itself; a pod has none that we do not know. */
		return pod_at(&ctx->t.daddr) ? drop(ctx, ICMP_UNRELATED) : PASS;
	}
	if (ctx->rewrite && icmp_rewrite(skb, ctx, &quote))
		return drop(ctx, REWRITE_FAILED);
	return forward(skb, ctx);
}

STAGE_PROGRAM(dev_in_icmp_error, WEIR_HOOK_DEV_IN, dev_in_error)

static __always_inline int dev_in_piece(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int verdict, known;

	known = frag_ports(ctx);
	if (known == FRAG_NO_ROOM)
		return drop(ctx, FRAGMENT_FULL);
	/* The host puts its own pieces together, in whatever order they come. */
	if (known == FRAG_UNKNOWN)
		return pod_at(&ctx->t.daddr) ? drop(ctx, FRAGMENT_MISS) : dev_in_pass(skb, ctx);
	if (ctx->icmp == CLASS_ERROR)
		return STAGE(ICMP_ERROR);
	verdict = dev_in_tracked(skb, ctx);
	if (verdict == STAGE(NEW_FLOW) && ctx->frag == FRAG_LATER)
		return pod_at(&ctx->t.daddr) ? drop(ctx, FRAGMENT_MISS) : dev_in_pass(skb, ctx);
	return verdict;
}

STAGE_PROGRAM(dev_in_fragment, WEIR_HOOK_DEV_IN, dev_in_piece)

static __always_inline int dev_in_police(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int verdict = police_again(skb, ctx);

	return verdict == PASS ? forward(skb, ctx) : verdict;
}

STAGE_PROGRAM(dev_in_policy, WEIR_HOOK_DEV_IN, dev_in_police)

STAGE_PROGRAM(dev_in_reject, WEIR_HOOK_DEV_IN, reject)

/* --- from the host --- */

/* A tracked packet on its way out of a device. */
static __always_inline int dev_out_known(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	if (!ctx->rewrite)
		return PASS;
	if (!ctx->reply)
		return forward_from_host(skb, ctx);
	if (ctx->ct_flags & WEIR_CT_FROM_OUTSIDE && ctx->ifindex != skb->ifindex)
		return forward_out(skb, ctx, ctx->ifindex);
	return to_stack(skb, ctx);
}

static __always_inline int dev_out_tracked(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_ct *ct;
	int verdict;

	if (skb->ifindex == LOOPBACK_IFINDEX && addr_is_loopback(&ctx->t.daddr))
		return PASS;
	ct = ct_find(ctx);
	if (ct) {
		verdict = ct_track(skb, ctx, ct);
		return verdict == PASS ? dev_out_known(skb, ctx) : verdict;
	}
	if (ctx->device == WEIR_DEV_HOST)
		return STAGE(NEW_FLOW);
	if (skb->ifindex == LOOPBACK_IFINDEX &&
	    (is_vip(ctx) || nodeport_candidate(&ctx->t.daddr, ctx->t.dport)))
		return STAGE(NEW_FLOW);
	/* A process of the host that no socket hook serves, on its way to an external address. */
	if (ctx->device == WEIR_DEV_EXTERNAL && !(cfg.flags & WEIR_CFG_SOCK_HOST) &&
	    !skb->ingress_ifindex && is_vip(ctx))
		return STAGE(NEW_FLOW);
	return PASS;
}

static __always_inline int dev_out_frame(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int kind;

	if (is_overlay(skb->ifindex))
		return encapsulate(skb, ctx);
	if ((skb->mark & WEIR_MARK_MASK) == WEIR_MARK_DELIVERED) {
		skb->mark = 0;
		return PASS;
	}
	kind = parse_device(ctx, skb, WEIR_HOOK_DEV_OUT);
	if (is_foreign(ctx, kind))
		return PASS;
	if (ctx->frag)
		return STAGE(FRAGMENT);
	if (ctx->icmp == CLASS_ERROR)
		return STAGE(ICMP_ERROR);
	return dev_out_tracked(skb, ctx);
}

ENTRY_PROGRAM(dev_out, WEIR_HOOK_DEV_OUT, dev_out_frame)

static __always_inline int dev_out_route(struct __sk_buff *skb, struct weir_ctx *ctx,
					 struct weir_ct *ct, int where, bool *snat)
{
	int verdict;

	switch (where) {
	case TO_POD:
	case TO_HOST:
		return PASS;
	case TO_NOBODY:
		return refuse(ctx, BACKEND_GONE);
	case TO_SERVICE_RANGE:
		return drop(ctx, SERVICE_CIDR_MISS);
	default:
		verdict = prepare_leaving(skb, ctx, ct, where, snat);
		return verdict == PASS && !*snat ? drop(ctx, NO_ROUTE) : verdict;
	}
}

static __always_inline int dev_out_start(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_scratch *s;
	bool snat = false;
	int verdict = PASS;

	s = flow_begin(ctx);
	if (!s)
		return drop(ctx, INTERNAL);
	s->ct[0].flags |= WEIR_CT_FROM_HOST;
	s->ct[0].origin = skb->ingress_ifindex ? WEIR_CT_OF_GUEST : WEIR_CT_OF_HOST;
	if (has_ports(ctx)) {
		verdict = select_backend(skb, ctx, &s->ct[0]);
		if (verdict == PASS && !s->ct[0].service && ctx->device == WEIR_DEV_HOST)
			verdict = select_backend(
				skb, ctx, &s->ct[0]); /* as for pods: certain if it misses twice */
	}
	if (verdict != PASS)
		return verdict;
	if (!s->ct[0].service)
		return ctx->device == WEIR_DEV_HOST ? service_miss(skb, ctx) : PASS;
	verdict = dev_out_route(skb, ctx, &s->ct[0], classify(ctx, &s->ct[0]), &snat);
	if (verdict == PASS)
		verdict = open_flow(skb, ctx, s, snat);
	return verdict == PASS ? forward_from_host(skb, ctx) : verdict;
}

STAGE_PROGRAM(dev_out_new_flow, WEIR_HOOK_DEV_OUT, dev_out_start)

static __always_inline int dev_out_error(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct quote quote = {};

	if (icmp_relate(skb, ctx, &quote) != ICMP_RELATED || !ctx->rewrite)
		return PASS;
	if (icmp_rewrite(skb, ctx, &quote))
		return drop(ctx, REWRITE_FAILED);
	return dev_out_known(skb, ctx);
}

STAGE_PROGRAM(dev_out_icmp_error, WEIR_HOOK_DEV_OUT, dev_out_error)

static __always_inline int dev_out_piece(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int verdict, known;

	known = frag_ports(ctx);
	if (known == FRAG_NO_ROOM)
		return drop(ctx, FRAGMENT_FULL);
	if (known == FRAG_UNKNOWN)
		return ctx->device == WEIR_DEV_HOST ? drop(ctx, FRAGMENT_MISS) : PASS;
	if (ctx->icmp == CLASS_ERROR)
		return STAGE(ICMP_ERROR);
	verdict = dev_out_tracked(skb, ctx);
	if (verdict == STAGE(NEW_FLOW) && ctx->frag == FRAG_LATER)
		return drop(ctx, FRAGMENT_MISS);
	return verdict;
}

STAGE_PROGRAM(dev_out_fragment, WEIR_HOOK_DEV_OUT, dev_out_piece)

STAGE_PROGRAM(dev_out_reject, WEIR_HOOK_DEV_OUT, reject)

/*
 * Starts the sweep, or takes it over from another build: run once by the agent (BPF_PROG_RUN) after
 * load. A timer that exists keeps its state and gets this build's callback. Returns 0, or a
 * negative errno of the timer.
 */
SEC("tc")
int sweep_start(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct weir_sweep_slot *slot = bpf_map_lookup_elem(&weir_sweep, &zero);
	long err;

	if (!slot)
		return -1;
	err = bpf_timer_init(&slot->timer, &weir_sweep, 1 /* CLOCK_MONOTONIC */);
	if (err && err != -16 /* EBUSY: it exists */)
		return err;
	err = bpf_timer_set_callback(&slot->timer, sweep_tick);
	return err ?: bpf_timer_start(&slot->timer, WEIR_SWEEP_INTERVAL_NS, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
