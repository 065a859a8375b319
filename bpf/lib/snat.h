/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Source ports of translated flows: a bounded search for one whose reply key is free. Taking the
 * port is inserting the reply entry, so two CPUs cannot take the same.
 */
#ifndef WEIR_LIB_SNAT_H
#define WEIR_LIB_SNAT_H

#include "partner.h"

static __always_inline bool in_snat_range(__be16 port)
{
	__u16 number = bpf_ntohs(port);

	return number >= cfg.snat_min && number <= cfg.snat_max;
}

/*
 * Does a socket of this host receive what `peer` sends to (`own`, port)? The range is reserved with
 * the host, but a program may bind there on purpose.
 */
__global int host_socket_at(struct __sk_buff *skb, struct weir_ctx *ctx,
			    const struct weir_tuple *from_peer)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size;

	if (!ctx || !from_peer)
		return 0;
	if (ctx->v6) {
		__builtin_memcpy(tuple.ipv6.saddr, &from_peer->saddr, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &from_peer->daddr, 16);
		tuple.ipv6.sport = from_peer->sport;
		tuple.ipv6.dport = from_peer->dport;
		size = sizeof(tuple.ipv6);
	} else {
		tuple.ipv4.saddr = from_peer->saddr.w[3];
		tuple.ipv4.daddr = from_peer->daddr.w[3];
		tuple.ipv4.sport = from_peer->sport;
		tuple.ipv4.dport = from_peer->dport;
		size = sizeof(tuple.ipv4);
	}
	if (ctx->proto == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else if (ctx->proto == IPPROTO_UDP)
		sk = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		return false;
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/*
 * Takes the reply key of ctx->n for the scratch's second entry, made from its first. 0, -EEXIST:
 * another flow has it, or another error.
 */
__global int take_reply_key(struct weir_ctx *ctx)
{
	struct weir_scratch *s = scratch();
	union weir_key key = {};
	struct weir_ct *old;
	__u8 second;
	__u32 hash;
	long err;

	if (!ctx || !s)
		return -1;
	hash = key_of(&key, &ctx->n, ctx->v6, ctx->proto, &second);
	s->ct[1] = s->ct[0];
	make_partner(&s->ct[1], ctx, hash, second);
	if (!writes_allowed())
		return 0;
	old = est_find_rare(&key, hash, ctx->v6);
	if (old) {
		if (ct_alive(old, ctx->now, true) && !rewrites_alike(old, &s->ct[1]))
			return -17;
		est_delete(&key, hash, ctx->v6);
	}
	err = half_insert(&key, ctx->v6, &s->ct[1], BPF_NOEXIST);
	if (err != -17)
		return err;
	old = half_find(&key, hash, ctx->v6);
	if (old && ct_alive(old, ctx->now, true) && !rewrites_alike(old, &s->ct[1]))
		return -17;
	return half_insert(&key, ctx->v6, &s->ct[1], BPF_ANY);
}

struct port_search {
	struct __sk_buff *skb;
	struct weir_ctx *ctx;
	__u32 at;
	__s32 result;
};

/* One try; 1 ends the search. */
static long try_port(__u32 index, struct port_search *search)
{
	__u32 size = (__u32)cfg.snat_max - cfg.snat_min + 1;
	struct weir_ctx *ctx = search->ctx;
	struct weir_tuple from_peer;

	ctx->n.sport = bpf_htons(cfg.snat_min + search->at);
	if (ctx->icmp)
		ctx->n.dport = ctx->n.sport;
	search->at = search->at + 1 < size ? search->at + 1 : 0;
	tuple_reverse(&from_peer, &ctx->n);
	if (!host_socket_at(search->skb, ctx, &from_peer)) {
		search->result = take_reply_key(ctx);
		if (search->result != -17)
			return 1;
	}
	count(SNAT_RETRY);
	return 0;
}

/*
 * Chooses a source port for ctx->n, whose source address is set, and takes its reply key.
 * -EEXIST: every port tried is taken. bpf_loop() is slower than a loop, but verified once; most
 * searches end at the first port.
 */
__global int take_port(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct port_search search = {.skb = skb, .ctx = ctx};

	if (!ctx)
		return -1;
	search.at = bpf_get_prandom_u32() % ((__u32)cfg.snat_max - cfg.snat_min + 1);
	search.result = -17;
	bpf_loop(WEIR_SNAT_TRIES, try_port, &search, 0);
	return search.result;
}

#endif
