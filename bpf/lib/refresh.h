/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a packet of a known flow does to its entry. */
#ifndef WEIR_LIB_REFRESH_H
#define WEIR_LIB_REFRESH_H

#include "partner.h"

/*
 * Has the backend of this flow gone for good? UDP also leaves a backend that its Service has left:
 * there is no end of connection to wait for.
 */
static __always_inline bool backend_gone(const struct weir_ctx *ctx, const struct weir_ct *ct)
{
	__u32 index = ct->backend;
	struct weir_backend *backend;
	__u8 state;

	if (ct->kind != WEIR_CT_SERVICE || ctx->reply || !ctx->rewrite)
		return false;
	backend = bpf_map_lookup_elem(&weir_backends, &index);
	if (!backend || !index)
		return false;
	state = backend->state;
	if (!addr_equal(&backend->addr, &ct->nat_addr[1]) || backend->port != ct->nat_port[1])
		state = WEIR_BACKEND_REMOVED; /* the index serves another backend by now */
	if (ctx->proto == IPPROTO_UDP)
		return state == WEIR_BACKEND_GONE || state == WEIR_BACKEND_REMOVED;
	return state == WEIR_BACKEND_GONE;
}

/* Removes this packet's own entry, wherever it is. */
static __always_inline void ct_forget(const union weir_key *key, __u32 hash, bool v6)
{
	est_delete(key, hash, v6);
	half_delete(key, v6);
}

/*
 * Once a tick, on a new TCP flag, on the first reply, and for each packet of a translated flow that
 * waits for it. Returns PASS, or what to do with a packet whose backend has gone, or whose flow has
 * lost its translation before it was answered.
 */
__global int ct_refresh(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct partner partner = {};
	union weir_key key;
	struct weir_ct *ct;

	if (!ctx)
		return PASS;
	key = ctx->key; /* on the stack: see __global */
	ct = ctx->half ? half_find(&key, ctx->hash, ctx->v6) : est_find(&key, ctx->hash, ctx->v6);
	if (!ct)
		return PASS;
	if (backend_gone(ctx, ct)) {
		if (ctx->proto != IPPROTO_UDP)
			return refuse(ctx, BACKEND_GONE);
		if (writes_allowed())
			ct_forget(&key, ctx->hash, ctx->v6);
		return STAGE(NEW_FLOW);
	}
	if (!writes_allowed())
		return PASS;
	ct->seen = ctx->now;
	if (ctx->reply) {
		ct->tcp_flags[1] |= ctx->tcp_flags;
		ct->flags |= WEIR_CT_SEEN_REPLY;
	} else {
		ct->tcp_flags[0] |= ctx->tcp_flags;
	}
	if (ctx->proto == IPPROTO_TCP && tcp_is_over(ct))
		ct->flags |= WEIR_CT_CLOSED;
	ct->expires = ctx->now + ct_timeout(ct, ctx->proto);
	if (ctx->rewrite && !partner_sync(ctx, ct, &partner) && ctx->half && !ctx->reply) {
		ct_forget(&key, ctx->hash, ctx->v6);
		return STAGE(NEW_FLOW);
	}
	if (ctx->half && ct->flags & WEIR_CT_SEEN_REPLY)
		ct_promote_both(ctx, &key, ct, &partner);
	return PASS;
}

#define TCP_TRACKED (TCP_FIN | TCP_SYN | TCP_RST)

/*
 * Keeps the entry of a packet that was found alive. Writes at most once a tick, unless the flow is
 * half open: whose partner may have been pushed out at any moment.
 */
static __always_inline int ct_track(struct __sk_buff *skb, struct weir_ctx *ctx,
				    const struct weir_ct *ct)
{
	__u8 seen = ctx->reply ? ct->tcp_flags[1] : ct->tcp_flags[0];

	if (ct->seen == ctx->now && !(ctx->tcp_flags & TCP_TRACKED & ~seen) &&
	    !(ctx->half && (ctx->reply || ctx->rewrite)))
		return PASS;
	return ct_refresh(skb, ctx);
}

#endif
