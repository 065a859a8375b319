/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The first packet of a flow: is it for a Service, where does it go, must its source change; then
 * one entry if nothing is translated, two if something is. All hooks that start flows share this;
 * what differs between them is said where it differs.
 */
#ifndef WEIR_LIB_NEW_FLOW_H
#define WEIR_LIB_NEW_FLOW_H

#include "conntrack.h"
#include "context.h"
#include "event.h"
#include "forward.h"
#include "lb.h"
#include "snat.h"
#include "sock_marks.h"
#include "sweep_kick.h"

enum destination {
	TO_POD = 0,    /* of this node; ct.endpoint[1] is set */
	TO_HOST = 1,   /* an address of this host */
	TO_RANGE = 2,  /* elsewhere in the cluster, or excepted: keeps its source */
	TO_WORLD = 3,  /* anywhere else */
	TO_NOBODY = 4, /* this node's pod range, but no pod */
	TO_SERVICE_RANGE = 5,
};

static __always_inline __u32 cidr_flags(const struct weir_addr *addr)
{
	struct weir_cidr_key key = {.prefixlen = 128, .addr = *addr};
	__u32 *flags = bpf_map_lookup_elem(&weir_cidrs, &key);

	return flags ? *flags : 0;
}

static __always_inline bool is_node_addr(const struct weir_ctx *ctx, const struct weir_addr *addr)
{
	struct weir_addr key = *addr; /* on the stack: see __global */

	return bpf_map_lookup_elem(&weir_node_addrs, &key) ||
	       is_cfg_addr(cfg.router, ctx->v6, addr);
}

static __always_inline __u32 pod_at(const struct weir_addr *addr)
{
	struct weir_addr key = *addr; /* on the stack: see __global */
	struct weir_pod_ref *pod = bpf_map_lookup_elem(&weir_pods, &key);

	return pod ? pod->endpoint : 0;
}

__global int classify(struct weir_ctx *ctx, struct weir_ct *ct)
{
	struct weir_addr addr;
	__u32 flags;

	if (!ctx || !ct)
		return TO_NOBODY;
	addr = ctx->n.daddr;
	ct->endpoint[1] = pod_at(&addr);
	if (ct->endpoint[1])
		return TO_POD;
	if (is_node_addr(ctx, &addr))
		return TO_HOST;
	flags = cidr_flags(&addr);
	if (flags & WEIR_CIDR_SERVICE)
		return TO_SERVICE_RANGE;
	if (flags & WEIR_CIDR_LOCAL_PODS)
		return TO_NOBODY;
	return flags & (WEIR_CIDR_POD | WEIR_CIDR_NO_MASQ) ? TO_RANGE : TO_WORLD;
}

/* Attributes a plain flow to the Service whose address its socket asked for. */
static __always_inline void attribute(struct __sk_buff *skb, struct weir_ctx *ctx,
				      struct weir_ct *ct)
{
	struct weir_sock_key key = {
		.addr = ctx->t.daddr, .port = ctx->t.dport, .proto = ctx->proto};
	struct weir_sock *sock;

	if (!(cfg.flags & (WEIR_CFG_SOCK_PODS | WEIR_CFG_SOCK_HOST)) || !has_ports(ctx))
		return;
	key.cookie = bpf_get_socket_cookie(skb);
	if (!key.cookie || sock_is_unmarked(key.cookie))
		return;
	sock = bpf_map_lookup_elem(&weir_socks, &key);
	if (!sock)
		return;
	ct->kind = WEIR_CT_SOCKET;
	ct->service = sock->service;
	ct->backend = sock->backend;
}

static __always_inline void begin_entry(struct weir_ctx *ctx, struct weir_ct *ct)
{
	__builtin_memset(ct, 0, sizeof(*ct));
	ct->seen = ct->created = ctx->now;
	ct->tcp_flags[0] = ctx->tcp_flags;
	if (ctx->second)
		ct->flags = WEIR_CT_ORIG_SECOND;
	ct->check = ctx->hash;
	ct->endpoint[0] = ctx->hook == WEIR_HOOK_POD_FROM ? ctx->endpoint : 0;
	ct->expires = ctx->now + ct_timeout(ct, ctx->proto);
	/* of a flow whose backend has gone */
	ctx->rewrite = 0;
	ctx->reply = 0;
	ctx->ifindex = 0;
	ctx->half = 1;
}

/*
 * Writes the entry of the packet's own tuple, the scratch's first. Another CPU that was first
 * decides the flow: its entry takes the place of ours. Returns a drop reason, 0: none.
 */
__global int insert_first(struct weir_ctx *ctx)
{
	struct weir_scratch *s = scratch();
	struct weir_ct *winner;
	union weir_key key;
	long err;

	if (!ctx || !s)
		return WEIR_DROP_INTERNAL;
	if (!writes_allowed())
		return 0;
	key = ctx->key;
	if (ctx->stale)
		est_delete(&key, ctx->hash, ctx->v6);
	err = half_insert(&key, ctx->v6, &s->ct[0], BPF_NOEXIST);
	if (err == -17) {
		winner = half_find(&key, ctx->hash, ctx->v6);
		if (winner && ct_alive(winner, ctx->now, is_syn(ctx))) {
			s->ct[0] = *winner;
			if (s->ct[0].check != ctx->hash)
				return WEIR_DROP_CT_FULL;
			ct_apply(ctx, &s->ct[0]);
			return 0;
		}
		err = half_insert(&key, ctx->v6, &s->ct[0], BPF_ANY);
	}
	if (err)
		return WEIR_DROP_CT_FULL;
	count(CT_NEW);
	return 0;
}

/* Gives back a reply key that insert_first() left without a flow. */
static __always_inline void release_reply_key(struct weir_ctx *ctx, const struct weir_tuple *taken)
{
	union weir_key key = {};
	__u8 second;

	key_of(&key, taken, ctx->v6, ctx->proto, &second);
	half_delete(&key, ctx->v6);
}

/*
 * Writes both entries of a translated flow. `snat`: the source port is to be chosen, the source
 * address is in ctx->n. A client whose own port is taken towards this backend (it reaches it by
 * another Service, too) borrows the router's address. Returns a drop reason, 0: none.
 */
__global int track_translated(struct __sk_buff *skb, struct weir_ctx *ctx, bool snat)
{
	struct weir_scratch *s = scratch();
	struct weir_tuple taken;
	bool choose;
	int err;

	if (!ctx || !s)
		return WEIR_DROP_INTERNAL;
	s->ct[0].flags |= WEIR_CT_REWRITE_ORIG;
	set_rewrite(&s->ct[0], &ctx->n);
	/* Protocols without ports have one flow a pair of addresses, translated or not. */
	choose = snat && (has_ports(ctx) || ctx->icmp == CLASS_ECHO);
	err = choose ? take_port(skb, ctx) : take_reply_key(ctx);
	if (err == -17 && !snat && s->ct[0].endpoint[1]) {
		ctx->n.saddr = cfg_addr(cfg.router, ctx->v6);
		if (addr_is_zero(&ctx->n.saddr))
			return WEIR_DROP_SNAT_NO_ADDRESS;
		s->ct[0].flags |= WEIR_CT_SNAT;
		err = take_port(skb, ctx);
	}
	if (err == -17)
		return WEIR_DROP_SNAT_EXHAUSTED;
	if (err)
		return WEIR_DROP_CT_FULL;
	taken = ctx->n;
	set_rewrite(&s->ct[0], &ctx->n);
	ctx->rewrite = 1;
	err = insert_first(ctx);
	if (writes_allowed() && (err || !tuple_equal(&taken, &ctx->n)))
		release_reply_key(ctx, &taken);
	return err;
}

/* The source address for the way out: that of the device, if it is one of ours. */
static __always_inline int masquerade_address(struct __sk_buff *skb, struct weir_ctx *ctx,
					      struct weir_device *device)
{
	struct weir_addr addr = device->addr[!!ctx->v6];

	if (addr_is_zero(&addr))
		return drop(ctx, SNAT_NO_ADDRESS);
	ctx->n.saddr = addr;
	return PASS;
}

/*
 * A flow that leaves the host: finds the device and, where needed, the source address. PASS with
 * ct.ifindex 0: the stack takes it, for the device is not Weir's, or the address is the host's own
 * after all.
 */
__global int prepare_leaving(struct __sk_buff *skb, struct weir_ctx *ctx, struct weir_ct *ct,
			     int where, bool *snat)
{
	struct weir_device *device;
	bool masquerade, overlay;
	struct way way = {};
	int kind;

	if (!ctx || !ct || !snat)
		return TC_ACT_SHOT;
	masquerade = cfg.flags & (ctx->v6 ? WEIR_CFG_MASQ6 : WEIR_CFG_MASQ4);
	ctx->rewrite = 1; /* the way of ctx->n, which may equal ctx->t */
	kind = find_way(skb, ctx, 0, true, &way);
	ctx->rewrite = 0;
	if (kind == WAY_HOST)
		return PASS;
	if (kind == WAY_NONE)
		return drop(ctx, NO_ROUTE);
	device = bpf_map_lookup_elem(&weir_devices, &way.ifindex);
	overlay = is_overlay(way.ifindex);
	if (!device || (device->kind != WEIR_DEV_EXTERNAL && !overlay))
		return PASS;
	/* Replies to a client outside leave where it came in: ifindex is set already. */
	if (!(ct->flags & WEIR_CT_FROM_OUTSIDE))
		ct->ifindex = way.ifindex;
	if (ctx->hook == WEIR_HOOK_POD_FROM) {
		if (where != TO_WORLD || !masquerade || overlay)
			return PASS;
		if (ct->kind == WEIR_CT_PLAIN)
			ct->kind = WEIR_CT_MASQUERADE;
	}
	/* With this node's address it would be believed whatever it holds. */
	if (ctx->hook != WEIR_HOOK_DEV_OUT && is_overlay_port(ctx, ctx->n.dport))
		return drop(ctx, OVERLAY_FORGED);
	ct->flags |= WEIR_CT_SNAT;
	*snat = true;
	return masquerade_address(skb, ctx, device);
}

/* A Service range address that no Service port has. */
static __always_inline int service_miss(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	if (vip_is_cluster_ip(&ctx->t.daddr))
		return refuse(ctx, SERVICE_PORT_UNKNOWN);
	return drop(ctx, SERVICE_CIDR_MISS);
}

/* Selects a backend into ctx->n. PASS: no Service, or selected (ct.service is set). */
__global int select_backend(struct __sk_buff *skb, struct weir_ctx *ctx, struct weir_ct *ct)
{
	struct lb_choice choice = {};
	int verdict;

	if (!ctx || !ct)
		return TC_ACT_SHOT;
	verdict = lb_lookup(&ctx->t.daddr, ctx->t.dport, ctx->proto, ctx->hook != WEIR_HOOK_DEV_IN,
			    &choice);
	if (verdict == LB_CLIENT)
		verdict = lb_lookup_for(&ctx->t.saddr, ctx->hook != WEIR_HOOK_DEV_IN, &choice);
	if (verdict == LB_MISS)
		return PASS;
	ct->service = choice.service;
	if (verdict == LB_RACE)
		return drop(ctx, SERVICE_RACE);
	if (verdict == LB_SOURCE_RANGE)
		return drop(ctx, SOURCE_RANGE);
	if (ctx->proto == IPPROTO_TCP && !is_syn(ctx))
		return ctx->tcp_flags & TCP_RST ? drop(ctx, CT_MISS) : refuse(ctx, CT_MISS);
	if (verdict == LB_NO_LOCAL)
		return drop(ctx, NO_LOCAL_ENDPOINTS);
	if (verdict == LB_NO_ENDPOINT)
		return refuse(ctx, NO_ENDPOINTS);
	ct->backend = choice.backend;
	ct->kind = WEIR_CT_SERVICE;
	ctx->n.daddr = choice.addr;
	ctx->n.dport = choice.port;
	return PASS;
}

/* Translates, tracks and reports what has been decided; then the packet goes its way. */
static __always_inline int open_flow(struct __sk_buff *skb, struct weir_ctx *ctx,
				     struct weir_scratch *s, bool snat)
{
	int reason;

	if (snat || !tuple_equal(&ctx->n, &ctx->t)) {
		reason = track_translated(skb, ctx, snat);
	} else {
		attribute(skb, ctx, &s->ct[0]);
		reason = insert_first(ctx);
	}
	if (reason)
		return account_drop(skb, ctx, reason);
	ct_apply(ctx, &s->ct[0]);
	report_new_flow(skb, ctx, &s->ct[0]);
	return PASS;
}

/*
 * Common beginning of all new-flow stages; ct_find() has left the key. NULL never happens; the
 * verifier cannot know.
 */
static __always_inline struct weir_scratch *flow_begin(struct weir_ctx *ctx)
{
	struct weir_scratch *s = scratch();

	if (!s)
		return NULL;
	sweep_kick(ctx);
	begin_entry(ctx, &s->ct[0]);
	ctx->n = ctx->t;
	return s;
}

#endif
