/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ICMP errors about tracked flows. The quoted packet is of one direction, the error goes in the
 * other. Where a packet in the error's direction would be rewritten, the error is rewritten alike:
 * its destination is the quoted sender's true address, and the quote becomes the packet as that
 * sender sent it.
 */
#ifndef WEIR_LIB_ICMP_H
#define WEIR_LIB_ICMP_H

#include "conntrack.h"
#include "context.h"
#include "nat.h"
#include "parse.h"

enum icmp_result {
	ICMP_RELATED = 0,   /* ctx->n and so on describe the error's way */
	ICMP_UNRELATED = 1, /* about no tracked flow */
	ICMP_TRUNCATED = 2, /* the quote is too short to tell */
};

/* What the error quotes. */
struct quote {
	struct weir_tuple t; /* as quoted */
	struct weir_tuple n; /* as its sender sent it */
	__u16 l3, l4;
	__u16 l4_length; /* of the packet quoted, as its header says; 0: one piece of a datagram */
	__u8 proto;
	__u8 later; /* a piece without layer 4 header */
};

static __always_inline int quote_parse4(struct __sk_buff *skb, struct weir_ctx *ctx,
					struct quote *q)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return ICMP_TRUNCATED;
	addr_set4(&q->t.saddr, ip.saddr);
	addr_set4(&q->t.daddr, ip.daddr);
	q->proto = ip.protocol;
	q->l4 = q->l3 + ip.ihl * 4;
	if (!(ip.frag_off & bpf_htons(IP_OFFSET | IP_MF)))
		q->l4_length = bpf_ntohs(ip.tot_len) - ip.ihl * 4;
	q->later = !!(bpf_ntohs(ip.frag_off) & IP_OFFSET);
	return ICMP_RELATED;
}

static __always_inline int quote_parse6(struct __sk_buff *skb, struct weir_ctx *ctx,
					struct quote *q)
{
	struct ipv6hdr ip;
	struct frag_header6 frag;

	if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)) || ip.version != 6)
		return ICMP_TRUNCATED;
	__builtin_memcpy(&q->t, &ip.saddr, 2 * sizeof(struct weir_addr));
	q->proto = ip.nexthdr;
	q->l4 = q->l3 + IPV6_HEADER_LEN;
	if (q->proto != IPPROTO_FRAGMENT) {
		q->l4_length = bpf_ntohs(ip.payload_len);
		return ICMP_RELATED;
	}
	if (bpf_skb_load_bytes(skb, q->l4, &frag, sizeof(frag)))
		return ICMP_TRUNCATED;
	q->proto = frag.next;
	q->l4 += 8;
	q->later = !!(bpf_ntohs(frag.offset) & 0xfff8);
	return ICMP_RELATED;
}

static __always_inline int quote_parse(struct __sk_buff *skb, struct weir_ctx *ctx, struct quote *q)
{
	struct {
		__be16 port[2];
		__be16 id;
		__be16 seq;
	} l4;
	int result;

	q->l3 = ctx->l4 + 8;
	result = ctx->v6 ? quote_parse6(skb, ctx, q) : quote_parse4(skb, ctx, q);
	if (result)
		return result;
	if (q->later)
		return ICMP_TRUNCATED;
	if (bpf_skb_load_bytes(skb, q->l4, &l4, sizeof(l4)))
		return ICMP_TRUNCATED;
	switch (q->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		q->t.sport = l4.port[0];
		q->t.dport = l4.port[1];
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (icmp_class(ctx->v6, bpf_ntohs(l4.port[0]) >> 8) == CLASS_ECHO)
			q->t.sport = q->t.dport = l4.id;
		break;
	}
	return ICMP_RELATED;
}

/* Does the receiver, on another node, know the flow's far end by an address of this node? */
static __always_inline bool lent_source(const struct weir_ctx *ctx)
{
	return ctx->ct_flags & WEIR_CT_SNAT && !ctx->reply && !ctx->receiver;
}

/*
 * Finds the flow of the quote and turns the context into the error's: direction, entry, and the
 * tuple that it leaves with.
 */
__global int icmp_relate(struct __sk_buff *skb, struct weir_ctx *ctx, struct quote *q)
{
	struct weir_tuple outer;
	struct weir_ct *ct;
	__u8 proto;
	int result;

	if (!ctx || !q)
		return ICMP_TRUNCATED;
	outer = ctx->t;
	proto = ctx->proto;
	result = quote_parse(skb, ctx, q);
	if (result)
		return result;
	ctx->t = q->t;
	ctx->proto = q->proto;
	ct = ct_find(ctx);
	ctx->t = outer;
	ctx->proto = proto;
	if (!ct)
		return ICMP_UNRELATED;
	ctx->second = !ctx->second; /* the error's direction is the other one */
	ct_apply(ctx, ct);
	if (!ctx->rewrite)
		return ICMP_RELATED;
	/* nat_* is the rewritten tuple of this direction; the quote is of the other. */
	tuple_reverse(&q->n, &ctx->n);
	ctx->n = ctx->t;
	ctx->n.daddr = q->n.saddr;
	/*
	 * The far end says it by the name that the receiver knows it by. A router on the way keeps
	 * its own, unless another node is to hear it, which believes an address only of its owner.
	 */
	if (addr_equal(&ctx->t.saddr, &q->t.daddr) || lent_source(ctx))
		ctx->n.saddr = q->n.daddr;
	return ICMP_RELATED;
}

/* Replaces 2 or 4 bytes; adds the change to *sum as the ICMP checksum sees it. */
static __always_inline long patch16(struct __sk_buff *skb, struct weir_ctx *ctx, __u32 offset,
				    __be16 from, __be16 to, __u64 *sum)
{
	/* 16-bit words at even distance from the ICMP header keep their weight. */
	*sum = csum_half(*sum, from, to);
	return bpf_skb_store_bytes(skb, offset, &to, sizeof(to), 0);
}

/* The layer 4 checksum inside the quote, if the quote reaches that far. */
static __always_inline long quote_checksum(struct __sk_buff *skb, struct weir_ctx *ctx,
					   struct quote *q, __u32 diff, __u64 *sum)
{
	__u32 offset;
	__u64 change;
	__be16 old, new;

	switch (q->proto) {
	case IPPROTO_TCP:
		offset = q->l4 + 16;
		break;
	case IPPROTO_UDP:
		offset = q->l4 + 6;
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		offset = q->l4 + 2;
		break;
	default:
		return 0;
	}
	if (bpf_skb_load_bytes(skb, offset, &old, sizeof(old)))
		return 0;
	if (!old && q->proto == IPPROTO_UDP)
		return 0;
	change = (__u64)diff + (__u16)~old;
	change = (change & 0xffff) + (change >> 16);
	change = (change & 0xffff) + (change >> 16);
	change = (change & 0xffff) + (change >> 16);
	new = ~(__u16)change;
	return patch16(skb, ctx, offset, old, new, sum);
}

/* SCTP sums nothing but itself: its checksum, if it is quoted, changes with the ports. */
static __always_inline long quote_crc32c(struct __sk_buff *skb, struct weir_ctx *ctx,
					 struct quote *q, __u64 *sum)
{
	__u32 old_ports = (__u32)q->t.sport | (__u32)q->t.dport << 16;
	__u32 new_ports = (__u32)q->n.sport | (__u32)q->n.dport << 16;
	__u32 old, new;
	long err;

	if (old_ports == new_ports || q->l4_length < 12)
		return 0;
	if (bpf_skb_load_bytes(skb, q->l4 + 8, &old, sizeof(old)) || !old)
		return 0;
	new = old ^ crc32c_delta(old_ports ^ new_ports, q->l4_length - 4);
	err = patch16(skb, ctx, q->l4 + 8, (__u16)old, (__u16) new, sum);
	return err ?: patch16(skb, ctx, q->l4 + 10, old >> 16, new >> 16, sum);
}

static __always_inline long quote_rewrite4(struct __sk_buff *skb, struct weir_ctx *ctx,
					   struct quote *q, __u32 diff)
{
	__be32 pair[2] = {q->n.saddr.w[3], q->n.daddr.w[3]};
	long err;

	/* An IPv4 header sums to zero before and after: nothing to add to the ICMP checksum. */
	err = bpf_l3_csum_replace(skb, q->l3 + offsetof(struct iphdr, check), 0, diff, 0);
	return err
		       ?: bpf_skb_store_bytes(skb, q->l3 + offsetof(struct iphdr, saddr), pair,
					      sizeof(pair), 0);
}

static __always_inline long quote_ports(struct __sk_buff *skb, struct weir_ctx *ctx,
					struct quote *q, __u64 *sum)
{
	long err;

	if (q->proto == IPPROTO_ICMP || q->proto == IPPROTO_ICMPV6) {
		if (q->t.sport == q->n.sport)
			return 0;
		return patch16(skb, ctx, q->l4 + 4, q->t.sport, q->n.sport, sum);
	}
	err = patch16(skb, ctx, q->l4, q->t.sport, q->n.sport, sum);
	return err ?: patch16(skb, ctx, q->l4 + 2, q->t.dport, q->n.dport, sum);
}

/* Writes the error with its quote as icmp_relate() decided. Non-zero: refused by the kernel. */
__global int icmp_rewrite(struct __sk_buff *skb, struct weir_ctx *ctx, struct quote *q)
{
	__u64 inner = 0, sum = 0;
	__u32 addresses;
	bool echo;
	long err;

	if (!ctx || !q)
		return -1;
	addresses = csum_addresses(&q->t, &q->n);
	echo = q->proto == IPPROTO_ICMP || q->proto == IPPROTO_ICMPV6;
	/* what the checksum inside covers: ports, and the pseudo header unless it is ICMPv4's */
	inner = csum_half(inner, q->t.sport, q->n.sport);
	if (!echo)
		inner = csum_half(inner, q->t.dport, q->n.dport);
	if (q->proto != IPPROTO_ICMP)
		inner += addresses;
	if (q->proto == IPPROTO_SCTP)
		err = quote_crc32c(skb, ctx, q, &sum);
	else
		err = quote_checksum(skb, ctx, q, csum_fold32(inner), &sum);
	err = err ?: quote_ports(skb, ctx, q, &sum);
	if (ctx->v6) {
		sum += addresses;
		err = err
			      ?: bpf_skb_store_bytes(skb, q->l3 + 8, &q->n,
						     2 * sizeof(struct weir_addr), 0);
	} else {
		err = err ?: quote_rewrite4(skb, ctx, q, addresses);
	}
	return err ?: bpf_l4_csum_replace(skb, ctx->l4 + 2, 0, csum_fold32(sum), 0);
}

#endif
