/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From bytes to struct weir_ctx: both families, IPv4 options, IPv6 extension headers. */
#ifndef WEIR_LIB_PARSE_H
#define WEIR_LIB_PARSE_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/icmpv6.h>
#include <linux/tcp.h>

#include "context.h"

enum parse_result {
	PARSE_IP = 0,
	PARSE_ARP = 1,
	PARSE_OTHER = 2, /* neither IP nor ARP */
	PARSE_BAD = 3,
};

/* Bytes made linear before parsing, where they are not: link layer, IP with options, TCP. */
#define PARSE_PULL 128

/* linux/icmp.h draws in headers of the C library. */
#define ICMP4_ECHO_REPLY   0
#define ICMP4_ECHO_REQUEST 8

#define IP_DF	  0x4000
#define IP_MF	  0x2000
#define IP_OFFSET 0x1fff

static __always_inline __u8 icmp_class(bool v6, __u8 type)
{
	if (v6) {
		if (type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY)
			return CLASS_ECHO;
		if (type >= 1 && type <= 4)
			return CLASS_ERROR;
		if (type >= 133 && type <= 137)
			return CLASS_NEIGHBOUR;
		return (type >= 130 && type <= 132) || type == 143 ? CLASS_LISTENER : CLASS_OTHER;
	}
	/* 3 unreachable, 11 time exceeded, 12 parameter problem */
	if (type == ICMP4_ECHO_REPLY || type == ICMP4_ECHO_REQUEST)
		return CLASS_ECHO;
	return type == 3 || type == 11 || type == 12 ? CLASS_ERROR : CLASS_OTHER;
}

/* Ports, TCP flags, ICMP type. The packet's layer 4 header is at ctx->l4 and within reach. */
static __always_inline int parse_l4(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u8 *l4 = packet_at(data, ctx->l4);

	switch (ctx->proto) {
	case IPPROTO_TCP:
		if (l4 + sizeof(struct tcphdr) > (__u8 *)end)
			return PARSE_BAD;
		ctx->t.sport = *(__be16 *)l4;
		ctx->t.dport = *(__be16 *)(l4 + 2);
		ctx->l4_len = (l4[12] >> 4) * 4;
		ctx->tcp_flags = l4[13];
		return ctx->l4_len < sizeof(struct tcphdr) ? PARSE_BAD : PARSE_IP;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		ctx->l4_len = ctx->proto == IPPROTO_UDP ? 8 : 12;
		if (l4 + 8 > (__u8 *)end)
			return PARSE_BAD;
		ctx->t.sport = *(__be16 *)l4;
		ctx->t.dport = *(__be16 *)(l4 + 2);
		return PARSE_IP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (ctx->v6 != (ctx->proto == IPPROTO_ICMPV6))
			return PARSE_IP; /* the other family's ICMP: a protocol like any other */
		ctx->l4_len = 8;
		if (l4 + 8 > (__u8 *)end) {
			/* MLD and others may be shorter than an echo, but not than their type */
			if (l4 + 4 > (__u8 *)end)
				return PARSE_BAD;
			ctx->icmp_type = l4[0];
			ctx->icmp = CLASS_OTHER;
			return PARSE_IP;
		}
		ctx->icmp_type = l4[0];
		ctx->icmp = icmp_class(ctx->v6, l4[0]);
		if (ctx->icmp == CLASS_ECHO)
			ctx->t.sport = ctx->t.dport = *(__be16 *)(l4 + 4);
		return PARSE_IP;
	default:
		return PARSE_IP;
	}
}

static __always_inline int parse_ip4(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = packet_at(data, ctx->l3);
	__u16 offset;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return PARSE_BAD;
	ctx->length = bpf_ntohs(ip->tot_len);
	if (ctx->length < ip->ihl * 4 || ctx->l3 + ctx->length > skb->len)
		return PARSE_BAD;
	addr_set4(&ctx->t.saddr, ip->saddr);
	addr_set4(&ctx->t.daddr, ip->daddr);
	ctx->proto = ip->protocol;
	ctx->ttl = ip->ttl;
	ctx->l4 = ctx->l3 + ip->ihl * 4;
	offset = bpf_ntohs(ip->frag_off);
	ctx->may_fragment = !(offset & IP_DF);
	if (offset & (IP_MF | IP_OFFSET)) {
		ctx->frag_id = ip->id;
		ctx->frag = offset & IP_OFFSET ? FRAG_LATER : FRAG_FIRST;
		/* A second piece that overlaps the TCP header could rewrite what was checked. */
		if (ip->protocol == IPPROTO_TCP && (offset & IP_OFFSET) == 1)
			return PARSE_BAD;
	}
	return PARSE_IP;
}

struct frag_header6 {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/*
 * Walks from `next` over the extension headers at ctx->l4 to what they carry. A static function of
 * its own: hardly any packet has one.
 */
__global int parse_extensions(struct __sk_buff *skb, struct weir_ctx *ctx, __u8 next)
{
	if (!ctx)
		return PARSE_BAD;
	for (int i = 0; i < WEIR_MAX_EXT_HEADERS; i++) {
		struct frag_header6 header;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_FRAGMENT && next != IPPROTO_DSTOPTS && next != IPPROTO_AH) {
			ctx->proto = next;
			return PARSE_IP;
		}
		if (bpf_skb_load_bytes(skb, ctx->l4, &header, sizeof(header)))
			return PARSE_BAD;
		if (next == IPPROTO_FRAGMENT) {
			__u16 offset = bpf_ntohs(header.offset);

			ctx->l4 += 8;
			ctx->frag_id = header.id;
			if (offset & 0xfff8) {
				ctx->frag = FRAG_LATER;
				ctx->proto = header.next;
				return PARSE_IP;
			}
			if (offset & 1) /* else a whole packet in one fragment */
				ctx->frag = FRAG_FIRST;
		} else if (next == IPPROTO_AH) {
			ctx->l4 += (header.reserved + 2) * 4;
		} else {
			ctx->l4 += (header.reserved + 1) * 8;
		}
		next = header.next;
	}
	return PARSE_BAD;
}

static __always_inline int parse_ip6(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = packet_at(data, ctx->l3);

	if ((void *)(ip + 1) > end || ip->version != 6)
		return PARSE_BAD;
	ctx->v6 = 1;
	ctx->length = bpf_ntohs(ip->payload_len) + IPV6_HEADER_LEN;
	if (ctx->l3 + ctx->length > skb->len && ip->payload_len)
		return PARSE_BAD;
	__builtin_memcpy(&ctx->t.saddr, &ip->saddr, sizeof(ctx->t.saddr) * 2);
	ctx->ttl = ip->hop_limit;
	ctx->l4 = ctx->l3 + IPV6_HEADER_LEN;
	ctx->proto = ip->nexthdr;
	if (ip->nexthdr == IPPROTO_TCP || ip->nexthdr == IPPROTO_UDP ||
	    ip->nexthdr == IPPROTO_ICMPV6)
		return PARSE_IP;
	return parse_extensions(skb, ctx, ip->nexthdr);
}

/*
 * Fills a zeroed context. `l3` is where the network header is. The rest of a fragmented datagram
 * after the first piece has no ports yet: the FRAGMENT stage finds them.
 */
__global int parse(struct __sk_buff *skb, struct weir_ctx *ctx, __u8 hook, __u16 l3)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	int result;

	if (!ctx)
		return PARSE_BAD;
	ctx->hook = hook;
	ctx->l3 = l3;
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return PARSE_ARP;
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
		return PARSE_OTHER;
	if (data + ETH_HEADER_LEN + sizeof(struct ipv6hdr) + sizeof(struct tcphdr) > end &&
	    skb->len > (__u32)(end - data))
		bpf_skb_pull_data(skb, skb->len < PARSE_PULL ? skb->len : PARSE_PULL);
	result = skb->protocol == bpf_htons(ETH_P_IP) ? parse_ip4(skb, ctx) : parse_ip6(skb, ctx);
	if (result != PARSE_IP)
		return result;
	if (ctx->l4 > 0x3ff)
		return PARSE_BAD;
	ctx->now = tick_now();
	if (ctx->frag == FRAG_LATER)
		return PARSE_IP;
	return parse_l4(skb, ctx);
}

#endif
