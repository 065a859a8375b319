/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The two entries of a translated flow, and their move from half open to established.
 *
 * "Partner" is the other entry of a translated flow. Its key is the tuple that this entry rewrites
 * to, and it rewrites back to this entry's tuple; whoever holds the key without doing so is some
 * other flow and is left alone.
 */
#ifndef WEIR_LIB_PARTNER_H
#define WEIR_LIB_PARTNER_H

#include "conntrack.h"

static __always_inline bool rewrites_to(const struct weir_ct *ct, const struct weir_tuple *t)
{
	return ct->nat_port[0] == t->sport && ct->nat_port[1] == t->dport &&
	       addr_equal(&ct->nat_addr[0], &t->saddr) && addr_equal(&ct->nat_addr[1], &t->daddr);
}

static __always_inline bool rewrites_alike(const struct weir_ct *a, const struct weir_ct *b)
{
	return a->nat_port[0] == b->nat_port[0] && a->nat_port[1] == b->nat_port[1] &&
	       addr_equal(&a->nat_addr[0], &b->nat_addr[0]) &&
	       addr_equal(&a->nat_addr[1], &b->nat_addr[1]);
}

static __always_inline void set_rewrite(struct weir_ct *ct, const struct weir_tuple *t)
{
	ct->nat_addr[0] = t->saddr;
	ct->nat_addr[1] = t->daddr;
	ct->nat_port[0] = t->sport;
	ct->nat_port[1] = t->dport;
}

/*
 * Turns a copy of this packet's entry into its partner. `n_second`: the source of the rewritten
 * tuple is the second end of the partner's key.
 */
static __always_inline void make_partner(struct weir_ct *partner, const struct weir_ctx *ctx,
					 __u32 hash, __u8 n_second)
{
	struct weir_tuple back;
	__u8 flags = partner->flags &
		     ~(WEIR_CT_ORIG_SECOND | WEIR_CT_REWRITE_ORIG | WEIR_CT_REWRITE_REPLY);

	tuple_reverse(&back, &ctx->t);
	set_rewrite(partner, &back);
	flags |= ctx->reply ? WEIR_CT_REWRITE_ORIG : WEIR_CT_REWRITE_REPLY;
	if (n_second != ctx->reply)
		flags |= WEIR_CT_ORIG_SECOND;
	partner->flags = flags;
	partner->check = hash;
}

/* Moves a half-open entry to the established table. 0: it stays where it is. */
__global int ct_promote(struct weir_ctx *ctx, const union weir_key *from, __u32 hash,
			const struct weir_ct *ct)
{
	struct weir_scratch *s = scratch();
	union weir_key key;
	struct weir_ct *old;
	long err;

	if (!ctx || !from || !ct || !s)
		return 0;
	key = *from; /* on the stack: see __global */
	s->ct[0] = *ct;
	if (s->ct[0].check != hash) /* pushed out while we copied it */
		return 0;
	err = est_insert(&key, hash, ctx->v6, &s->ct[0]);
	if (err == -17 /* EEXIST */) {
		old = est_find(&key, hash, ctx->v6);
		if (old && !ct_alive(old, ctx->now, true)) {
			est_delete(&key, hash, ctx->v6);
			err = est_insert(&key, hash, ctx->v6, &s->ct[0]);
		} else {
			err = 0; /* another CPU was first: its entry is the flow */
		}
	}
	if (err) {
		count(CT_PROMOTE_FAILED);
		return 0;
	}
	half_delete(&key, ctx->v6);
	return 1;
}

/* The other entry of a translated flow: where it must be, and what is there. */
struct partner {
	union weir_key key;
	__u32 hash;
	struct weir_ct *half; /* half open; NULL: it is established, or another flow has the key */
};

/*
 * Keeps the partner alive and in step, moves it along, or writes it again. Leaves in `to` what
 * ct_promote_both() needs, if `ctx->half`. False: the partner was pushed out, and another flow has
 * its key by now.
 */
static __always_inline bool partner_sync(struct weir_ctx *ctx, struct weir_ct *ct,
					 struct partner *to)
{
	struct weir_ct *partner, *half;
	struct weir_tuple back;
	struct weir_scratch *s;
	__u8 second;

	to->hash = key_of(&to->key, &ctx->n, ctx->v6, ctx->proto, &second);
	tuple_reverse(&back, &ctx->t);
	partner = est_find(&to->key, to->hash, ctx->v6);
	if (!partner || !rewrites_to(partner, &back)) {
		half = half_find(&to->key, to->hash, ctx->v6);
		if (half && rewrites_to(half, &back))
			partner = to->half = half;
		else if (half && ct_alive(half, ctx->now, true))
			return false;
	}
	if (partner && !rewrites_to(partner, &back)) {
		if (ct_alive(partner, ctx->now, true))
			return false;
		est_delete(&to->key, to->hash, ctx->v6);
		partner = NULL;
	}
	if (partner) {
		ct->tcp_flags[0] |= partner->tcp_flags[0];
		ct->tcp_flags[1] |= partner->tcp_flags[1];
		if (ctx->proto == IPPROTO_TCP && tcp_is_over(ct))
			ct->flags |= WEIR_CT_CLOSED;
		ct->flags |= partner->flags & WEIR_CT_SEEN_REPLY;
		ct->expires = ctx->now + ct_timeout(ct, ctx->proto);
		partner->tcp_flags[0] = ct->tcp_flags[0];
		partner->tcp_flags[1] = ct->tcp_flags[1];
		partner->flags |= ct->flags & (WEIR_CT_CLOSED | WEIR_CT_SEEN_REPLY);
		partner->expires = ct->expires;
		if (to->half && !ctx->half && ct->flags & WEIR_CT_SEEN_REPLY)
			ct_promote(ctx, &to->key, to->hash, partner);
		return true;
	}
	s = scratch();
	if (!s)
		return true;
	s->ct[1] = *ct;
	make_partner(&s->ct[1], ctx, to->hash, second);
	count(CT_PARTNER_RESTORED);
	if (ct->flags & WEIR_CT_SEEN_REPLY && !est_insert(&to->key, to->hash, ctx->v6, &s->ct[1]))
		return true;
	half_insert(&to->key, ctx->v6, &s->ct[1], BPF_ANY);
	to->half = half_find(&to->key, to->hash, ctx->v6);
	return true;
}

/* Back to where it was half open, while there is no room for both halves of the flow. */
static __always_inline void ct_demote(const union weir_key *key, __u32 hash, bool v6)
{
	struct weir_ct *ct = est_find(key, hash, v6);
	struct weir_scratch *s = scratch();

	if (!ct || !s)
		return;
	s->ct[0] = *ct;
	if (!half_insert(key, v6, &s->ct[0], BPF_ANY))
		est_delete(key, hash, v6);
}

/*
 * Moves this packet's entry and its partner. Neither moves without the other: the one left behind
 * could be pushed out, and packets of its direction would pass as they are.
 */
static __always_inline void ct_promote_both(struct weir_ctx *ctx, const union weir_key *key,
					    const struct weir_ct *ct, const struct partner *partner)
{
	if (!ct_promote(ctx, key, ctx->hash, ct) || !partner->half)
		return;
	if (!ct_promote(ctx, &partner->key, partner->hash, partner->half))
		ct_demote(key, ctx->hash, ctx->v6);
}

#endif
