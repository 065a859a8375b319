/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The host side of a pod's veth. pod_from (ingress) sees everything the pod sends; pod_to (egress)
 * sees what the host's own stack sends to it, and only that: packets from programs pass at once or
 * do not come by.
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
#include "lib/neighbour.h"
#include "lib/new_flow.h"
#include "lib/parse.h"
#include "lib/refresh.h"
#include "lib/reject.h"

/*
 * The pod of this veth: by the filter's classid, or, where there is none (BPF_PROG_RUN), by the
 * device. NULL: not a pod that we know.
 */
static __always_inline struct weir_endpoint *own_endpoint(struct __sk_buff *skb,
							  struct weir_ctx *ctx)
{
	__u32 id = skb->tc_classid, ifindex = skb->ifindex;
	struct weir_endpoint *ep;

	if (!id) {
		struct weir_device *device = bpf_map_lookup_elem(&weir_devices, &ifindex);

		id = device ? device->endpoint : 0;
	}
	ctx->endpoint = id;
	ep = bpf_map_lookup_elem(&weir_endpoints, &id);
	if (!ep || !id || !(ep->flags & WEIR_EP_IN_USE))
		return NULL;
	ctx->policy = policy_word(ep);
	return ep;
}

/* --- from the pod --- */

static __always_inline int pod_from_tracked(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_ct *ct = ct_find(ctx);
	__u32 epoch;
	int verdict;

	if (!ct)
		return STAGE(NEW_FLOW);
	epoch = ctx->reply ? ct->verdict[1].epoch : ct->verdict[0].epoch;
	verdict = ct_track(skb, ctx, ct);
	if (verdict == PASS && policy_changed(ctx->policy, epoch))
		return STAGE(POLICY);
	return verdict == PASS ? forward(skb, ctx) : verdict;
}

/*
 * Listener reports of the link itself interest nobody but a multicast router; the stack ignores
 * them.
 */
static __always_inline bool is_links_report(const struct weir_ctx *ctx)
{
	return ctx->icmp == CLASS_LISTENER &&
	       (addr_is_link_local6(&ctx->t.saddr) || addr_is_zero(&ctx->t.saddr));
}

static __always_inline int pod_from_ip(struct __sk_buff *skb, struct weir_ctx *ctx,
				       struct weir_endpoint *ep)
{
	if (ctx->icmp == CLASS_NEIGHBOUR)
		return STAGE(NEIGHBOUR);
	if (!addr_equal(&ctx->t.saddr, &ep->addr[!!ctx->v6])) {
		return is_links_report(ctx) ? PASS : drop(ctx, SPOOFED_SOURCE);
	}
	if (ctx->icmp == CLASS_LISTENER)
		return PASS;
	if (ctx->frag)
		return STAGE(FRAGMENT);
	if (ctx->icmp == CLASS_ERROR)
		return STAGE(ICMP_ERROR);
	return pod_from_tracked(skb, ctx);
}

static __always_inline int pod_from_frame(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int kind = parse(skb, ctx, WEIR_HOOK_POD_FROM, ETH_HEADER_LEN);
	struct weir_endpoint *ep = own_endpoint(skb, ctx);

	if (!ep) {
		/* A link speaks as soon as it is up, its pod is in the tables a moment later. */
		if (kind == PARSE_IP && is_links_report(ctx))
			return PASS;
		return drop(ctx, UNKNOWN_ENDPOINT);
	}
	if (kind == PARSE_IP)
		return pod_from_ip(skb, ctx, ep);
	if (kind == PARSE_ARP)
		return STAGE(NEIGHBOUR);
	return kind == PARSE_BAD ? drop(ctx, MALFORMED) : drop(ctx, UNKNOWN_L3);
}

ENTRY_PROGRAM(pod_from, WEIR_HOOK_POD_FROM, pod_from_frame)

/* Where a new flow of a pod goes, and what its source becomes. */
static __always_inline int pod_from_route(struct __sk_buff *skb, struct weir_ctx *ctx,
					  struct weir_ct *ct, int where, bool *snat)
{
	switch (where) {
	case TO_HOST:
		return PASS;
	case TO_POD:
		if (!addr_equal(&ctx->n.daddr, &ctx->t.saddr))
			return PASS;
		/* Itself, through its own Service: it would take a packet from itself for a loop.
		 */
		ctx->n.saddr = cfg_addr(cfg.router, ctx->v6);
		if (addr_is_zero(&ctx->n.saddr))
			return drop(ctx, SNAT_NO_ADDRESS);
		ct->flags |= WEIR_CT_SNAT;
		*snat = true;
		return PASS;
	case TO_NOBODY:
		return ct->service
			       ? refuse(ctx, BACKEND_GONE)
			       : answer(skb, ctx, WEIR_DROP_POD_UNREACHABLE, ANSWER_UNREACHABLE, 0);
	case TO_SERVICE_RANGE:
		return service_miss(skb, ctx);
	default:
		return prepare_leaving(skb, ctx, ct, where, snat);
	}
}

static __always_inline int pod_from_start(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_scratch *s;
	bool snat = false;
	int verdict = PASS, where;

	if (addr_is_multicast(&ctx->t.daddr))
		return drop(ctx, MULTICAST);
	/* It answers a flow that is not tracked any more, and may have to be translated: the client
	 * asks again.
	 */
	if (is_syn_ack(ctx))
		return drop(ctx, CT_MISS);
	s = flow_begin(ctx);
	if (!s)
		return drop(ctx, INTERNAL);
	if (has_ports(ctx))
		verdict = select_backend(skb, ctx, &s->ct[0]);
	if (verdict != PASS)
		return verdict;
	where = classify(ctx, &s->ct[0]);
	if (where == TO_SERVICE_RANGE && has_ports(ctx) && !s->ct[0].service) {
		/* A lookup beside a writer may miss: certain only if it misses twice. */
		verdict = select_backend(skb, ctx, &s->ct[0]);
		if (verdict != PASS)
			return verdict;
		if (s->ct[0].service)
			where = classify(ctx, &s->ct[0]);
	}
	verdict = pod_from_route(skb, ctx, &s->ct[0], where, &snat);
	if (verdict == PASS)
		verdict = police_new(skb, ctx);
	if (verdict == PASS)
		verdict = open_flow(skb, ctx, s, snat);
	return verdict == PASS ? forward(skb, ctx) : verdict;
}

STAGE_PROGRAM(pod_from_new_flow, WEIR_HOOK_POD_FROM, pod_from_start)

static __always_inline int pod_from_error(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct quote quote = {};

	if (icmp_relate(skb, ctx, &quote) != ICMP_RELATED)
		return is_node_addr(ctx, &ctx->t.daddr) ? PASS : drop(ctx, ICMP_UNRELATED);
	if (ctx->rewrite && icmp_rewrite(skb, ctx, &quote))
		return drop(ctx, REWRITE_FAILED);
	return forward(skb, ctx);
}

STAGE_PROGRAM(pod_from_icmp_error, WEIR_HOOK_POD_FROM, pod_from_error)

static __always_inline int pod_from_piece(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int verdict;

	switch (frag_ports(ctx)) {
	case FRAG_UNKNOWN:
		return drop(ctx, FRAGMENT_MISS);
	case FRAG_NO_ROOM:
		return drop(ctx, FRAGMENT_FULL);
	}
	if (ctx->icmp == CLASS_ERROR)
		return STAGE(ICMP_ERROR);
	verdict = pod_from_tracked(skb, ctx);
	/* Only a first piece can start a flow: the others do not say which. */
	if (verdict == STAGE(NEW_FLOW) && ctx->frag == FRAG_LATER)
		return drop(ctx, FRAGMENT_MISS);
	return verdict;
}

STAGE_PROGRAM(pod_from_fragment, WEIR_HOOK_POD_FROM, pod_from_piece)

static __always_inline int pod_from_police(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int verdict = police_again(skb, ctx);

	return verdict == PASS ? forward(skb, ctx) : verdict;
}

STAGE_PROGRAM(pod_from_policy, WEIR_HOOK_POD_FROM, pod_from_police)

STAGE_PROGRAM(pod_from_reject, WEIR_HOOK_POD_FROM, reject)

static __always_inline int pod_from_resolve(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_endpoint *ep = own_endpoint(skb, ctx);

	if (!ep)
		return drop(ctx, UNKNOWN_ENDPOINT);
	return skb->protocol == bpf_htons(ETH_P_ARP) ? arp(skb, ctx, ep) : neighbour6(skb, ctx, ep);
}

STAGE_PROGRAM(pod_from_neighbour, WEIR_HOOK_POD_FROM, pod_from_resolve)

/* --- to the pod, from the host's stack --- */

static __always_inline int pod_to_tracked(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_ct *ct;
	int verdict;

	if (!own_endpoint(skb, ctx))
		return drop(ctx, UNKNOWN_ENDPOINT);
	ct = ct_find(ctx);
	if (!ct)
		return STAGE(NEW_FLOW);
	verdict = ct_track(skb, ctx, ct);
	if (verdict == PASS && policy_changed(ctx->policy, ctx->epoch))
		return STAGE(POLICY);
	return verdict == PASS ? to_stack(skb, ctx) : verdict;
}

static __always_inline int pod_to_frame(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int kind;

	if ((skb->mark & WEIR_MARK_MASK) == WEIR_MARK_DELIVERED) {
		skb->mark = 0;
		return PASS;
	}
	kind = parse(skb, ctx, WEIR_HOOK_POD_TO, ETH_HEADER_LEN);
	if (kind == PARSE_BAD)
		return drop(ctx, MALFORMED);
	if (kind != PARSE_IP || ctx->icmp == CLASS_NEIGHBOUR || ctx->icmp == CLASS_LISTENER ||
	    addr_is_multicast(&ctx->t.daddr))
		return PASS;
	if (ctx->frag)
		return STAGE(FRAGMENT);
	if (ctx->icmp == CLASS_ERROR)
		return STAGE(ICMP_ERROR);
	return pod_to_tracked(skb, ctx);
}

ENTRY_PROGRAM(pod_to, WEIR_HOOK_POD_TO, pod_to_frame)

static __always_inline int pod_to_start(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_endpoint *ep = own_endpoint(skb, ctx);
	struct weir_scratch *s;
	int verdict;

	/*
	 * The pod will not take what is not for it; and an entry with its address as the source
	 * would let it send there, whatever is there.
	 */
	if (!ep || !addr_equal(&ctx->t.daddr, &ep->addr[!!ctx->v6]))
		return PASS;
	s = flow_begin(ctx);
	if (!s)
		return drop(ctx, INTERNAL);
	s->ct[0].endpoint[1] = ctx->endpoint;
	if (!skb->ingress_ifindex) {
		s->ct[0].flags |= WEIR_CT_FROM_HOST;
		s->ct[0].origin = WEIR_CT_OF_HOST;
	}
	verdict = police_new(skb, ctx);
	if (verdict == PASS)
		verdict = open_flow(skb, ctx, s, false);
	return verdict == PASS ? to_stack(skb, ctx) : verdict;
}

STAGE_PROGRAM(pod_to_new_flow, WEIR_HOOK_POD_TO, pod_to_start)

static __always_inline int pod_to_error(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct quote quote = {};

	if (icmp_relate(skb, ctx, &quote) != ICMP_RELATED || !ctx->rewrite)
		return PASS;
	if (icmp_rewrite(skb, ctx, &quote))
		return drop(ctx, REWRITE_FAILED);
	return to_stack(skb, ctx);
}

STAGE_PROGRAM(pod_to_icmp_error, WEIR_HOOK_POD_TO, pod_to_error)

static __always_inline int pod_to_piece(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int verdict;

	switch (frag_ports(ctx)) {
	case FRAG_UNKNOWN:
		return drop(ctx, FRAGMENT_MISS);
	case FRAG_NO_ROOM:
		return drop(ctx, FRAGMENT_FULL);
	}
	if (ctx->icmp == CLASS_ERROR)
		return STAGE(ICMP_ERROR);
	verdict = pod_to_tracked(skb, ctx);
	if (verdict == STAGE(NEW_FLOW) && ctx->frag == FRAG_LATER)
		return drop(ctx, FRAGMENT_MISS);
	return verdict;
}

static __always_inline int pod_to_police(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	int verdict = police_again(skb, ctx);

	return verdict == PASS ? to_stack(skb, ctx) : verdict;
}

STAGE_PROGRAM(pod_to_policy, WEIR_HOOK_POD_TO, pod_to_police)

STAGE_PROGRAM(pod_to_fragment, WEIR_HOOK_POD_TO, pod_to_piece)

char _license[] SEC("license") = "Dual BSD/GPL";
