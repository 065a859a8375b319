/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The way out of a hook: into a local pod, to the host's stack, or out of a device. deliver_local()
 * is the only way from a program into a pod.
 */
#ifndef WEIR_LIB_FORWARD_H
#define WEIR_LIB_FORWARD_H

#include <linux/if_ether.h>

#include "conntrack.h"
#include "context.h"
#include "event.h"
#include "nat.h"
#include "overlay.h"
#include "weir/policy.h"

static __always_inline const struct weir_tuple *leaving(const struct weir_ctx *ctx)
{
	return ctx->rewrite ? &ctx->n : &ctx->t;
}

/* Hooks where the packet is on its way in, so that it counts as forwarded from here. */
static __always_inline bool is_ingress(const struct weir_ctx *ctx)
{
	return ctx->hook == WEIR_HOOK_POD_FROM || ctx->hook == WEIR_HOOK_DEV_IN;
}

static __always_inline int ensure_link_header(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	if (ctx->l3)
		return 0;
	if (bpf_skb_change_head(skb, ETH_HEADER_LEN, 0))
		return -1;
	ctx->l3 += ETH_HEADER_LEN;
	ctx->l4 += ETH_HEADER_LEN;
	return 0;
}

/* Link-layer addresses and one hop less to live. */
static __always_inline int set_hop(struct __sk_buff *skb, struct weir_ctx *ctx, const __u8 *dst,
				   bool decrement)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;

	if (data + ETH_HEADER_LEN + sizeof(struct ipv6hdr) > end) {
		/* an IPv4 packet may be shorter than an IPv6 header */
		if (data + ETH_HEADER_LEN + sizeof(struct iphdr) > end)
			return -1;
	}
	__builtin_memcpy(eth->h_dest, dst, ETH_ALEN);
	for (int i = 0; i < ETH_ALEN; i++)
		eth->h_source[i] = cfg.host_mac[i];
	eth->h_proto = skb->protocol;
	if (!decrement)
		return 0;
	if (ctx->v6) {
		struct ipv6hdr *ip = data + ETH_HEADER_LEN;

		if ((void *)(ip + 1) > end)
			return -1;
		ip->hop_limit--;
		/* Nothing in the packet makes up for it in a sum made by the device. */
		if (ctx->hook == WEIR_HOOK_DEV_IN)
			bpf_csum_update(skb, (__u32)(__u16)~bpf_htons(1));
	} else {
		struct iphdr *ip = data + ETH_HEADER_LEN;
		__u32 check = (__u32)ip->check + bpf_htons(0x0100);

		ip->check = (__u16)(check + (check >= 0xffff));
		ip->ttl--;
	}
	return 0;
}

/* --- policy: is what let the flow pass still in force? (enforce.h) --- */

static __always_inline __u64 policy_word(const struct weir_endpoint *ep)
{
	return *(const volatile __u64 *)&ep->policy[cfg.bank % WEIR_BANKS];
}

static __always_inline bool policy_changed(__u64 word, __u32 epoch)
{
	return WEIR_POLICY_WORD_SET(word) && WEIR_POLICY_WORD_EPOCH(word) != epoch;
}

/* Into the pod, past the host's stack. Everything about the packet is settled by now. */
static __always_inline int deliver_local(struct __sk_buff *skb, struct weir_ctx *ctx,
					 const struct weir_endpoint *ep)
{
	__u32 ifindex = ep->ifindex;
	__u8 mac[ETH_ALEN];
	long verdict;

	__builtin_memcpy(mac, ep->mac, sizeof(mac));
	if (ctx->rewrite && rewrite(skb, ctx))
		return drop(ctx, REWRITE_FAILED);
	if (ensure_link_header(skb, ctx) || set_hop(skb, ctx, mac, is_ingress(ctx)))
		return drop(ctx, REWRITE_FAILED);
	if (is_ingress(ctx) && cfg.flags & WEIR_CFG_REDIRECT_PEER) {
		verdict = bpf_redirect_peer(ifindex, 0);
	} else {
		/* pod_to polices who is a guest of this host and came by its devices */
		if (ctx->hook != WEIR_HOOK_DEV_OUT || !skb->ingress_ifindex)
			skb->mark = WEIR_MARK_DELIVERED;
		verdict = bpf_redirect(ifindex, 0);
	}
	return verdict == TC_ACT_REDIRECT ? verdict : drop(ctx, REDIRECT_FAILED);
}

/* The packet goes on in this host, whose address it has. */
static __always_inline int to_stack(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	if (ctx->rewrite && rewrite(skb, ctx))
		return drop(ctx, REWRITE_FAILED);
	return PASS;
}

/*
 * To this host's stack as if it came in by weir0, whatever way it took: there the source may be an
 * address of the host's own, and is forwarded whatever the settings of the other devices are.
 */
static __always_inline int to_host(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	__u32 index = cfg.host_ifindex;
	struct weir_device *host = bpf_map_lookup_elem(&weir_devices, &index);
	__u8 mac[ETH_ALEN];

	if (!host)
		return drop(ctx, INTERNAL);
	__builtin_memcpy(mac, host->mac, sizeof(mac));
	if (ctx->rewrite && rewrite(skb, ctx))
		return drop(ctx, REWRITE_FAILED);
	if (ensure_link_header(skb, ctx) || set_hop(skb, ctx, mac, false))
		return drop(ctx, REWRITE_FAILED);
	if (bpf_redirect(index, BPF_F_INGRESS) != TC_ACT_REDIRECT)
		return drop(ctx, REDIRECT_FAILED);
	return TC_ACT_REDIRECT;
}

/* --- out of a device --- */

enum way_kind {
	WAY_OUT = 0,	 /* way is filled */
	WAY_HOST = 1,	 /* an address of this host, or no route: the stack knows what to answer */
	WAY_NONE = 2,	 /* a route that says no, or forwarding is off */
	WAY_TOO_BIG = 3, /* way.mtu says what would fit */
};

struct way {
	__u32 ifindex;
	__u32 mtu;
	bool by_device; /* the kernel finds the next hop on this device itself */
	struct bpf_redir_neigh next_hop;
};

/*
 * By which the way is judged. The pieces of a datagram go one way, or the small last one overtakes
 * those that the host has to cut up: each counts as the largest that its device brings.
 */
static __always_inline __u32 length_to_fit(struct __sk_buff *skb, const struct weir_ctx *ctx)
{
	__u32 length = wire_length(skb, ctx), index = skb->ifindex;
	struct weir_device *device;

	if (!ctx->frag || !ctx->may_fragment)
		return length;
	device = bpf_map_lookup_elem(&weir_devices, &index);
	return device && device->mtu > length ? device->mtu : length;
}

/* Any next hop will do on weir_vxlan: its egress program knows the node. */
static __always_inline void overlay_hop(const struct weir_ctx *ctx, struct way *way)
{
	struct weir_addr gateway = cfg_addr(cfg.gateway, ctx->v6);

	if (ctx->v6)
		__builtin_memcpy(way->next_hop.ipv6_nh, &gateway, sizeof(gateway));
	else
		way->next_hop.ipv4_nh = gateway.w[3];
}

/*
 * The host's own routing decision for the leaving tuple. `oif`: by this device only, 0: any. Asked
 * as if the packet had come in on weir0: the one device that forwards whatever the host's settings
 * are for the others.
 * `any_size`: the way of a flow, whose next packet may be smaller; a packet that does not fit has
 * no device in the kernel's answer.
 */
__global int find_way(struct __sk_buff *skb, struct weir_ctx *ctx, __u32 oif, bool any_size,
		      struct way *way)
{
	struct bpf_fib_lookup fib = {};
	const struct weir_tuple *n;
	__u32 length;
	long result;

	if (!ctx || !way)
		return WAY_NONE;
	n = leaving(ctx);
	length = length_to_fit(skb, ctx);
	fib.l4_protocol = ctx->proto;
	fib.sport = n->sport;
	fib.dport = n->dport;
	if (!any_size)
		fib.tot_len = length > 0xffff ? 0xffff : length;
	fib.ifindex = cfg.host_ifindex ?: skb->ifindex;
	if (ctx->v6) {
		fib.family = WEIR_AF_INET6;
		__builtin_memcpy(fib.ipv6_src, &n->saddr, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, &n->daddr, sizeof(fib.ipv6_dst));
	} else {
		fib.family = WEIR_AF_INET;
		fib.ipv4_src = n->saddr.w[3];
		fib.ipv4_dst = n->daddr.w[3];
	}
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	way->ifindex = fib.ifindex;
	way->mtu = fib.tot_len; /* a union: the MTU, if the packet did not fit */
	way->next_hop.nh_family = fib.family;
	__builtin_memcpy(way->next_hop.ipv6_nh, fib.ipv6_dst, sizeof(fib.ipv6_dst));
	/*
	 * An answer that the packet is too big names no device. To another node's pod the routes
	 * know the way, which may have changed since the flow began.
	 */
	if (oif && result != BPF_FIB_LKUP_RET_FRAG_NEEDED && !is_overlay(way->ifindex) &&
	    (way->ifindex != oif || (result && result != BPF_FIB_LKUP_RET_NO_NEIGH))) {
		way->ifindex = oif;
		way->by_device = !is_overlay(oif);
		if (!way->by_device)
			overlay_hop(ctx, way);
		return WAY_OUT;
	}
	switch (result) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		if (any_size || !is_overlay(way->ifindex))
			return WAY_OUT;
		way->mtu = narrow_overlay(skb, &n->daddr, length);
		return way->mtu ? WAY_TOO_BIG : WAY_OUT;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return any_size ? WAY_OUT : WAY_TOO_BIG;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		return WAY_HOST;
	default:
		return WAY_NONE;
	}
}

static __always_inline int redirected(struct __sk_buff *skb, struct weir_ctx *ctx, long result)
{
	return result == TC_ACT_REDIRECT ? TC_ACT_REDIRECT : drop(ctx, REDIRECT_FAILED);
}

static __always_inline int send_out(struct __sk_buff *skb, struct weir_ctx *ctx, struct way *way)
{
	__u8 nobody[ETH_ALEN] = {2}; /* bpf_redirect_neigh fills it in, but wants no multicast */

	if (ctx->rewrite && rewrite(skb, ctx))
		return drop(ctx, REWRITE_FAILED);
	if (ensure_link_header(skb, ctx) || set_hop(skb, ctx, nobody, is_ingress(ctx)))
		return drop(ctx, REWRITE_FAILED);
	skb->mark = WEIR_MARK_DELIVERED;
	if (way->by_device)
		return redirected(skb, ctx, bpf_redirect_neigh(way->ifindex, NULL, 0, 0));
	return redirected(
		skb, ctx,
		bpf_redirect_neigh(way->ifindex, &way->next_hop, sizeof(way->next_hop), 0));
}

/* Towards the leaving destination, by the routes. */
__global int forward_out(struct __sk_buff *skb, struct weir_ctx *ctx, __u32 oif)
{
	struct way way = {};

	if (!ctx)
		return TC_ACT_SHOT;
	switch (find_way(skb, ctx, oif, false, &way)) {
	case WAY_OUT:
		return send_out(skb, ctx, &way);
	case WAY_TOO_BIG:
		if (ctx->may_fragment) /* which only the stack can do */
			return to_host(skb, ctx);
		return answer(skb, ctx, WEIR_DROP_TOO_BIG, ANSWER_TOO_BIG, way.mtu);
	default:
		return drop(ctx, NO_ROUTE);
	}
}

/* A packet on its last hop: the stack tells its sender, unless it is to be translated. */
static __always_inline int expired(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	return ctx->rewrite ? drop(ctx, TTL_EXPIRED) : PASS;
}

/*
 * To this pod, if its policies are those under which the flow passed. Those of dev_out do not
 * matter: the host's own packets pass, and pod_to sees the others.
 */
static __always_inline int deliver(struct __sk_buff *skb, struct weir_ctx *ctx,
				   const struct weir_endpoint *ep, bool police)
{
	if (police && policy_changed(policy_word(ep), ctx->epoch))
		return STAGE(POLICY);
	return deliver_local(skb, ctx, ep);
}

/* The receiver's id was stale, or there is none: who has the address now? */
__global int deliver_by_address(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_pod_ref *pod;
	struct weir_endpoint *ep;
	struct weir_addr addr;
	__u32 id;

	if (!ctx)
		return TC_ACT_SHOT;
	addr = leaving(ctx)->daddr;
	pod = bpf_map_lookup_elem(&weir_pods, &addr);
	if (!pod)
		return ctx->rewrite
			       ? refuse(ctx, BACKEND_GONE)
			       : answer(skb, ctx, WEIR_DROP_POD_UNREACHABLE, ANSWER_UNREACHABLE, 0);
	id = pod->endpoint;
	ep = bpf_map_lookup_elem(&weir_endpoints, &id);
	if (!ep || !(ep->flags & WEIR_EP_IN_USE) || !addr_equal(&ep->addr[!!ctx->v6], &addr))
		return drop(ctx, INTERNAL);
	return deliver(skb, ctx, ep, ctx->hook != WEIR_HOOK_DEV_OUT);
}

/* Not to a pod of this node. */
__global int forward_away(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	__u8 flags;

	if (!ctx)
		return TC_ACT_SHOT;
	flags = ctx->ct_flags;
	if (ctx->reply) {
		if (flags & WEIR_CT_FROM_OUTSIDE)
			return forward_out(skb, ctx, ctx->ifindex);
		return flags & WEIR_CT_FROM_HOST && ctx->rewrite ? to_host(skb, ctx)
								 : to_stack(skb, ctx);
	}
	if (!ctx->ifindex)
		return ctx->hook == WEIR_HOOK_DEV_OUT ? to_host(skb, ctx) : to_stack(skb, ctx);
	if (flags & WEIR_CT_FROM_OUTSIDE)
		return flags & WEIR_CT_SNAT ? forward_out(skb, ctx, 0) : to_stack(skb, ctx);
	return forward_out(skb, ctx, flags & WEIR_CT_SNAT ? ctx->ifindex : 0);
}

/* Where a packet of a known flow goes. */
static __always_inline int forward_packet(struct __sk_buff *skb, struct weir_ctx *ctx, bool police)
{
	__u32 id = ctx->receiver;
	struct weir_endpoint *ep;

	if (ctx->ttl <= 1 && is_ingress(ctx) &&
	    (id || ctx->ifindex || ctx->ct_flags & WEIR_CT_FROM_OUTSIDE))
		return expired(skb, ctx);
	if (!id)
		return forward_away(skb, ctx);
	ep = bpf_map_lookup_elem(&weir_endpoints, &id);
	if (ep && addr_equal(&ep->addr[!!ctx->v6], &leaving(ctx)->daddr) &&
	    ep->flags & WEIR_EP_IN_USE)
		return deliver(skb, ctx, ep, police);
	return deliver_by_address(skb, ctx);
}

static __always_inline int forward(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	return forward_packet(skb, ctx, true);
}

/* In dev_out. */
static __always_inline int forward_from_host(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	return forward_packet(skb, ctx, false);
}

#endif
