/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Connection tracking: keys, the two tables, lookup, lifetimes. The model is in weir/ct.h. */
#ifndef WEIR_LIB_CONNTRACK_H
#define WEIR_LIB_CONNTRACK_H

#include "context.h"
#include "count.h"
#include "event.h"

/* Is (addr a, port a) above (addr b, port b)? By network byte order, as bytes compare. */
static __always_inline bool end_above(const struct weir_addr *a, __be16 port_a,
				      const struct weir_addr *b, __be16 port_b, bool v6)
{
	if (v6) {
		for (int i = 0; i < 3; i++)
			if (a->w[i] != b->w[i])
				return bpf_ntohl(a->w[i]) > bpf_ntohl(b->w[i]);
	}
	if (a->w[3] != b->w[3])
		return bpf_ntohl(a->w[3]) > bpf_ntohl(b->w[3]);
	return bpf_ntohs(port_a) > bpf_ntohs(port_b);
}

/* Fills a zeroed key; returns its hash. *second: the source became the second end. */
static __always_inline __u32 key_of(union weir_key *key, const struct weir_tuple *t, bool v6,
				    __u8 proto, __u8 *second)
{
	*second = end_above(&t->saddr, t->sport, &t->daddr, t->dport, v6);
	if (v6) {
		key->k6.addr[0] = *second ? t->daddr : t->saddr;
		key->k6.addr[1] = *second ? t->saddr : t->daddr;
		key->k6.port[0] = *second ? t->dport : t->sport;
		key->k6.port[1] = *second ? t->sport : t->dport;
		key->k6.proto = proto;
		return weir_ct_hash6(&key->k6);
	}
	key->k4.addr[0] = *second ? t->daddr.w[3] : t->saddr.w[3];
	key->k4.addr[1] = *second ? t->saddr.w[3] : t->daddr.w[3];
	key->k4.port[0] = *second ? t->dport : t->sport;
	key->k4.port[1] = *second ? t->sport : t->dport;
	key->k4.proto = proto;
	return weir_ct_hash4(&key->k4);
}

/* --- counts of established entries by hash (weir/ct.h) --- */

#define COUNT_TRIES 8

/* One entry more, or less, has this hash. False: too much goes on there for now. */
__global int ct_count(__u32 hash, bool v6, bool more)
{
	__u32 index = WEIR_CT_COUNT_WORD(hash, v6), shift = WEIR_CT_COUNT_SHIFT(hash);
	__u64 *word = bpf_map_lookup_elem(&weir_ct_counts, &index);
	__u64 old, next, own;

	if (!word)
		return true;
	for (int try = 0; try < COUNT_TRIES; try++) {
		old = *(volatile __u64 *)word;
		own = old >> shift & 15;
		if (own == WEIR_CT_COUNT_UNKNOWN)
			return true;
		if (own == (more ? WEIR_CT_COUNT_MAX : WEIR_CT_COUNT_NONE))
			next = old & ~(15ULL << shift);
		else
			next = more ? old + (1ULL << shift) : old - (1ULL << shift);
		if (__sync_val_compare_and_swap(word, old, next) == old)
			return true;
	}
	return false;
}

/* Certain that there is no established entry with this hash? */
static __always_inline bool est_has_none(__u32 hash, bool v6)
{
	__u32 index = WEIR_CT_COUNT_WORD(hash, v6);
	__u64 *word = bpf_map_lookup_elem(&weir_ct_counts, &index);

	return word &&
	       (*(volatile __u64 *)word >> WEIR_CT_COUNT_SHIFT(hash) & 15) == WEIR_CT_COUNT_NONE;
}

/* --- table access, the only place where the families differ --- */

static __always_inline struct weir_ct *est_find(const union weir_key *key, __u32 hash, bool v6)
{
	__u32 shard = WEIR_CT_SHARD(hash);
	void *map;

	if (v6) {
		map = bpf_map_lookup_elem(&weir_ct6, &shard);
		return map ? bpf_map_lookup_elem(map, &key->k6) : NULL;
	}
	map = bpf_map_lookup_elem(&weir_ct4, &shard);
	return map ? bpf_map_lookup_elem(map, &key->k4) : NULL;
}

/* The same where none is expected. */
static __always_inline struct weir_ct *est_find_rare(const union weir_key *key, __u32 hash, bool v6)
{
	return est_has_none(hash, v6) ? NULL : est_find(key, hash, v6);
}

static __always_inline long est_insert(const union weir_key *key, __u32 hash, bool v6,
				       const struct weir_ct *ct)
{
	__u32 shard = WEIR_CT_SHARD(hash);
	long err = -1;
	void *map;

	if (!ct_count(hash, v6, true))
		return -1;
	if (v6) {
		map = bpf_map_lookup_elem(&weir_ct6, &shard);
		if (map)
			err = bpf_map_update_elem(map, &key->k6, ct, BPF_NOEXIST);
	} else {
		map = bpf_map_lookup_elem(&weir_ct4, &shard);
		if (map)
			err = bpf_map_update_elem(map, &key->k4, ct, BPF_NOEXIST);
	}
	if (err)
		ct_count(hash, v6, false);
	return err;
}

static __always_inline void est_delete(const union weir_key *key, __u32 hash, bool v6)
{
	__u32 shard = WEIR_CT_SHARD(hash);
	long err = -1;
	void *map;

	if (v6) {
		map = bpf_map_lookup_elem(&weir_ct6, &shard);
		if (map)
			err = bpf_map_delete_elem(map, &key->k6);
	} else {
		map = bpf_map_lookup_elem(&weir_ct4, &shard);
		if (map)
			err = bpf_map_delete_elem(map, &key->k4);
	}
	if (!err)
		ct_count(hash, v6, false);
}

/* The check word tells an element that was pushed out and given to another flow meanwhile. */
static __always_inline struct weir_ct *half_find(const union weir_key *key, __u32 hash, bool v6)
{
	struct weir_ct *ct = v6 ? bpf_map_lookup_elem(&weir_half6, &key->k6)
				: bpf_map_lookup_elem(&weir_half4, &key->k4);

	return ct && ct->check == hash ? ct : NULL;
}

static __always_inline long half_insert(const union weir_key *key, bool v6,
					const struct weir_ct *ct, __u64 flags)
{
	return v6 ? bpf_map_update_elem(&weir_half6, &key->k6, ct, flags)
		  : bpf_map_update_elem(&weir_half4, &key->k4, ct, flags);
}

static __always_inline void half_delete(const union weir_key *key, bool v6)
{
	if (v6)
		bpf_map_delete_elem(&weir_half6, &key->k6);
	else
		bpf_map_delete_elem(&weir_half4, &key->k4);
}

/* --- lookup --- */

/*
 * An entry counts while it has not expired; a SYN does not count as part of a flow that has ended.
 */
static __always_inline bool ct_alive(const struct weir_ct *ct, __u32 now, bool syn)
{
	return (__s32)(ct->expires - now) > 0 && !(syn && ct->flags & WEIR_CT_CLOSED);
}

/* What the entry found means for this packet: direction, rewritten tuple. */
static __always_inline void ct_apply(struct weir_ctx *ctx, const struct weir_ct *ct)
{
	__u8 flags = ct->flags;

	ctx->ct_flags = flags;
	ctx->reply = ctx->second != !!(flags & WEIR_CT_ORIG_SECOND);
	ctx->sender = ctx->reply ? ct->endpoint[1] : ct->endpoint[0];
	ctx->receiver = ctx->reply ? ct->endpoint[0] : ct->endpoint[1];
	ctx->epoch = ctx->reply ? ct->verdict[0].epoch : ct->verdict[1].epoch; /* another line */
	if (!ctx->receiver || ctx->hook == WEIR_HOOK_DEV_IN)
		ctx->ifindex = ct->ifindex;
	ctx->rewrite = !!(flags & (ctx->reply ? WEIR_CT_REWRITE_REPLY : WEIR_CT_REWRITE_ORIG));
	if (!ctx->rewrite)
		return;
	ctx->n.saddr = ct->nat_addr[0];
	ctx->n.daddr = ct->nat_addr[1];
	ctx->n.sport = ct->nat_port[0];
	ctx->n.dport = ct->nat_port[1];
}

static __always_inline bool ct_take(struct weir_ctx *ctx, struct weir_ct *ct, bool half)
{
	if (!ct || !ct_alive(ct, ctx->now, is_syn(ctx)))
		return false;
	ctx->half = half;
	ct_apply(ctx, ct);
	return true;
}

/*
 * The flow of the packet: established, then half open; then established again, for it may have
 * moved between the two looks (a SYN starts flows, it never meets one that moves).
 */
static __always_inline struct weir_ct *ct_find(struct weir_ctx *ctx)
{
	union weir_key key = {}; /* on the stack: see __global */
	struct weir_ct *ct;

	ctx->hash = key_of(&key, &ctx->t, ctx->v6, ctx->proto, &ctx->second);
	ctx->key = key;
	ct = is_syn(ctx) ? est_find_rare(&key, ctx->hash, ctx->v6)
			 : est_find(&key, ctx->hash, ctx->v6);
	if (ct_take(ctx, ct, false))
		return ct;
	ctx->stale = !!ct;
	ct = half_find(&key, ctx->hash, ctx->v6);
	if (ct_take(ctx, ct, true))
		return ct;
	if (is_syn(ctx))
		return NULL;
	ct = est_find_rare(&key, ctx->hash, ctx->v6);
	if (ct_take(ctx, ct, false))
		return ct;
	ctx->stale = !!ct;
	return NULL;
}

/* --- life --- */

static __always_inline __u32 ct_timeout(const struct weir_ct *ct, __u8 proto)
{
	bool both = ct->flags & WEIR_CT_SEEN_REPLY;

	switch (proto) {
	case IPPROTO_TCP:
		if (ct->flags & WEIR_CT_CLOSED)
			return cfg.timeout.tcp_closing;
		return both ? cfg.timeout.tcp_established : cfg.timeout.tcp_syn;
	case IPPROTO_UDP:
		return both ? cfg.timeout.udp_established : cfg.timeout.udp_new;
	case IPPROTO_SCTP:
		return both ? cfg.timeout.sctp_established : cfg.timeout.sctp_new;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return cfg.timeout.icmp;
	default:
		return cfg.timeout.other;
	}
}

/* Of TCP flags seen both ways: RST from anybody, or FIN from both. */
static __always_inline bool tcp_is_over(const struct weir_ct *ct)
{
	__u8 any = ct->tcp_flags[0] | ct->tcp_flags[1], both = ct->tcp_flags[0] & ct->tcp_flags[1];

	return any & TCP_RST || both & TCP_FIN;
}

#endif
