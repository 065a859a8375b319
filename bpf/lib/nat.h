/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rewriting a packet's addresses and ports, with its checksums. */
#ifndef WEIR_LIB_NAT_H
#define WEIR_LIB_NAT_H

#include <stddef.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "context.h"
#include "crc32c.h"

#define ICMP_CHECKSUM 2 /* offset, both families */

/* One's complement sum of (new - old) over 32-bit words, for the csum helpers. */
static __always_inline __u32 csum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

static __always_inline __u64 csum_words(__u64 sum, const __be32 *from, const __be32 *to, int words)
{
	for (int i = 0; i < words; i++)
		sum += (__u64)(__u32)~from[i] + to[i];
	return sum;
}

static __always_inline __u64 csum_half(__u64 sum, __be16 from, __be16 to)
{
	return sum + (__u16)~from + to;
}

/* IPv4 is v4-mapped on both sides, so equal words cancel and both families sum alike. */
static __always_inline __u32 csum_addresses(const struct weir_tuple *from,
					    const struct weir_tuple *to)
{
	__u64 sum = csum_words(0, from->saddr.w, to->saddr.w, 4);

	return csum_fold32(csum_words(sum, from->daddr.w, to->daddr.w, 4));
}

/*
 * Changes a layer 4 checksum by `diff` of the pseudo header. A checksum that the device summed
 * itself (CHECKSUM_COMPLETE) is over the whole packet: for IPv6 a change of address and of checksum
 * cancel out there, which the helper does not take into account; so put back what it took away.
 */
static __always_inline long csum_pseudo(struct __sk_buff *skb, struct weir_ctx *ctx, __u32 offset,
					__u32 diff, __u64 flags)
{
	long err = bpf_l4_csum_replace(skb, offset, 0, diff, BPF_F_PSEUDO_HDR | flags);

	if (!err && ctx->v6)
		bpf_csum_update(skb, diff);
	return err;
}

/*
 * A change of `diff` in what a checksum covers. The IPv4 header's own: a change of address and of
 * checksum cancel out in a sum made by the device.
 */
static __always_inline __u16 csum_apply(__u16 check, __u32 diff)
{
	__u64 sum = (__u64)diff + (__u16)~check;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(__u16)sum;
}

/* Writes addresses into an IP header within reach: parse() has pulled it in. */
static __always_inline long write_addresses(struct __sk_buff *skb, struct weir_ctx *ctx,
					    const struct weir_tuple *n, __u32 diff)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	void *l3 = packet_at(data, ctx->l3);

	if (ctx->v6) {
		struct ipv6hdr *ip = l3;

		if ((void *)(ip + 1) > end)
			return -1;
		__builtin_memcpy(&ip->saddr, &n->saddr, sizeof(n->saddr));
		__builtin_memcpy(&ip->daddr, &n->daddr, sizeof(n->daddr));
	} else {
		struct iphdr *ip = l3;

		if ((void *)(ip + 1) > end)
			return -1;
		ip->saddr = n->saddr.w[3];
		ip->daddr = n->daddr.w[3];
		ip->check = csum_apply(ip->check, diff);
	}
	return 0;
}

/* The same for ports, which parse() has read there. */
static __always_inline long write_ports(struct __sk_buff *skb, struct weir_ctx *ctx,
					const struct weir_tuple *n)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__be16 *port = packet_at(data, ctx->l4);

	if ((void *)(port + 2) > end)
		return -1;
	port[0] = n->sport;
	port[1] = n->dport;
	return 0;
}

/* SCTP has no pseudo header; a checksum of zero is one that the device will compute. */
static __always_inline long rewrite_sctp(struct __sk_buff *skb, struct weir_ctx *ctx,
					 const struct weir_tuple *n)
{
	__u32 old = (__u32)ctx->t.sport | (__u32)ctx->t.dport << 16;
	__u32 new = (__u32)n->sport | (__u32)n->dport << 16;
	__u32 crc, rest = ctx->l3 + ctx->length - ctx->l4 - 4;
	long err;

	if (old == new)
		return 0;
	if (bpf_skb_load_bytes(skb, ctx->l4 + 8, &crc, sizeof(crc)))
		return -1;
	err = bpf_skb_store_bytes(skb, ctx->l4, &new, sizeof(new), 0);
	if (err || !crc)
		return err;
	crc ^= crc32c_delta(old ^ new, rest & 0xffff);
	return bpf_skb_store_bytes(skb, ctx->l4 + 8, &crc, sizeof(crc), 0);
}

static __always_inline long rewrite_l4(struct __sk_buff *skb, struct weir_ctx *ctx,
				       const struct weir_tuple *n, __u32 diff)
{
	__u32 check, flags = 0, port_diff;
	long err = 0;

	switch (ctx->proto) {
	case IPPROTO_TCP:
		check = ctx->l4 + offsetof(struct tcphdr, check);
		break;
	case IPPROTO_UDP:
		check = ctx->l4 + offsetof(struct udphdr, check);
		flags = BPF_F_MARK_MANGLED_0;
		break;
	case IPPROTO_SCTP:
		return rewrite_sctp(skb, ctx, n);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		check = ctx->l4 + ICMP_CHECKSUM;
		if (ctx->v6 && ctx->icmp)
			err = csum_pseudo(skb, ctx, check, diff, 0);
		if (err || ctx->icmp != CLASS_ECHO || ctx->t.sport == n->sport)
			return err;
		port_diff = csum_fold32(csum_half(0, ctx->t.sport, n->sport));
		err = bpf_l4_csum_replace(skb, check, 0, port_diff, 0);
		return err ?: bpf_skb_store_bytes(skb, ctx->l4 + 4, &n->sport, 2, 0);
	default:
		return 0;
	}
	err = csum_pseudo(skb, ctx, check, diff, flags);
	port_diff = csum_fold32(
		csum_half(csum_half(0, ctx->t.sport, n->sport), ctx->t.dport, n->dport));
	if (err || !port_diff || (ctx->t.sport == n->sport && ctx->t.dport == n->dport))
		return err;
	err = bpf_l4_csum_replace(skb, check, 0, port_diff, flags);
	return err ?: write_ports(skb, ctx, n);
}

/*
 * Makes the packet ctx->n instead of ctx->t. Pieces after the first of a datagram have no layer 4
 * header: only their addresses change, for the checksum is in the first piece. Non-zero: refused
 * by the kernel, the packet may be half changed and must be dropped.
 */
__global int rewrite(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	long err = 0;
	__u32 diff;

	if (!ctx)
		return -1;
	diff = csum_addresses(&ctx->t, &ctx->n);
	if (ctx->frag != FRAG_LATER)
		err = rewrite_l4(skb, ctx, &ctx->n, diff);
	return err ?: write_addresses(skb, ctx, &ctx->n, diff);
}

#endif
