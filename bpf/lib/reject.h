/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Answers to packets that are dropped: TCP reset, ICMP unreachable, ICMP too big. The packet itself
 * becomes the answer and goes back the way it came.
 */
#ifndef WEIR_LIB_REJECT_H
#define WEIR_LIB_REJECT_H

#include "context.h"
#include "count.h"
#include "event.h"
#include "forward.h"

#define REJECT_TTL 64

/* Bucket of answers, behind those of all drop reasons. */
#define REJECT_BUCKET 255

/* Quoted at most: IPv6 header, some extension headers, a TCP header. */
#define REJECT_QUOTE 120

#define ICMP6_UNREACHABLE 1
#define ICMP6_TOO_BIG	  2

static __always_inline __u32 sum16(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Sum of the pseudo header, both families (the v4-mapped prefix is taken off again). */
static __always_inline __u32 pseudo_sum(const struct weir_ctx *ctx, __u32 length, __u8 proto)
{
	__u64 sum = (__u64)bpf_htonl(length) + bpf_htonl(proto);

	for (int i = ctx->v6 ? 0 : 3; i < 4; i++)
		sum += (__u64)ctx->t.saddr.w[i] + ctx->t.daddr.w[i];
	return csum_fold32(sum);
}

struct reset {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 offset, flags;
	__be16 window, check, urgent;
};

/* Turns source and destination round in the link and network headers. */
static __always_inline long turn_round(struct __sk_buff *skb, struct weir_ctx *ctx, __u32 length)
{
	struct {
		__u8 dst[ETH_ALEN], src[ETH_ALEN];
	} eth, back;
	long err = 0;

	if (ctx->l3) {
		err = bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth));
		__builtin_memcpy(back.dst, eth.src, ETH_ALEN);
		__builtin_memcpy(back.src, eth.dst, ETH_ALEN);
		err = err ?: bpf_skb_store_bytes(skb, 0, &back, sizeof(back), 0);
	}
	if (err)
		return err;
	if (ctx->v6) {
		struct weir_addr pair[2] = {ctx->t.daddr, ctx->t.saddr};
		__be16 payload = bpf_htons(length - IPV6_HEADER_LEN);
		__u8 ttl = REJECT_TTL;

		err = bpf_skb_store_bytes(skb, ctx->l3 + 8, pair, sizeof(pair), 0);
		err = err ?: bpf_skb_store_bytes(skb, ctx->l3 + 4, &payload, 2, 0);
		return err ?: bpf_skb_store_bytes(skb, ctx->l3 + 7, &ttl, 1, 0);
	}
	return err;
}

/* A fresh IPv4 header without options. */
static __always_inline long write_ip4(struct __sk_buff *skb, struct weir_ctx *ctx, __u32 offset,
				      __u32 length, __u8 proto)
{
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .tot_len = bpf_htons(length),
			   .frag_off = bpf_htons(IP_DF),
			   .ttl = REJECT_TTL,
			   .protocol = proto,
			   .saddr = ctx->t.daddr.w[3],
			   .daddr = ctx->t.saddr.w[3]};
	__s64 sum = bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0);

	ip.check = ~sum16(sum16(sum));
	return bpf_skb_store_bytes(skb, offset, &ip, sizeof(ip), 0);
}

/*
 * RST as RFC 9293 says (3.10.7.1): to a segment with ACK, its acknowledgement number is our
 * sequence number; to one without, we acknowledge all of it. IP options and extension headers stay.
 */
static __always_inline int make_reset(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct reset old, rst = {};
	__u32 header = ctx->l4 - ctx->l3, ports, payload, sum;
	bool unfinished;

	if (bpf_skb_load_bytes(skb, ctx->l4, &old, sizeof(old)))
		return -1;
	payload = ctx->length - header - ctx->l4_len;
	rst.sport = old.dport;
	rst.dport = old.sport;
	rst.offset = 5 << 4;
	if (old.flags & TCP_ACK) {
		rst.flags = TCP_RST;
		rst.seq = old.ack;
	} else {
		rst.flags = TCP_RST | TCP_ACK;
		rst.ack = bpf_htonl(bpf_ntohl(old.seq) + payload + !!(old.flags & TCP_SYN) +
				    !!(old.flags & TCP_FIN));
	}
	/*
	 * A checksum that the device is to finish holds the sum of the pseudo header alone, and
	 * will be finished in the answer, too.
	 */
	sum = pseudo_sum(ctx, ctx->length - header, IPPROTO_TCP);
	unfinished = sum16(sum) == old.check;
	sum = pseudo_sum(ctx, sizeof(rst), IPPROTO_TCP);
	if (bpf_skb_change_tail(skb, ctx->l4 + sizeof(rst), 0))
		return -1;
	if (unfinished) {
		rst.check = sum16(sum);
	} else {
		ports = bpf_csum_diff(NULL, 0, (__be32 *)&rst, sizeof(rst), sum);
		rst.check = ~sum16(sum16(ports));
	}
	if (bpf_skb_store_bytes(skb, ctx->l4, &rst, sizeof(rst), 0) ||
	    turn_round(skb, ctx, header + sizeof(rst)))
		return -1;
	if (ctx->v6)
		return 0;
	if (header != sizeof(struct iphdr)) {
		/* options: keep them, and correct what they stand beside */
		__be32 pair[2] = {ctx->t.daddr.w[3], ctx->t.saddr.w[3]};
		__be16 was = bpf_htons(ctx->length), length = bpf_htons(header + sizeof(rst));

		return bpf_l3_csum_replace(skb, ctx->l3 + 10, was, length, 2) ||
		       bpf_skb_store_bytes(skb, ctx->l3 + 2, &length, 2, 0) ||
		       bpf_skb_store_bytes(skb, ctx->l3 + 12, pair, sizeof(pair), 0);
	}
	return write_ip4(skb, ctx, ctx->l3, header + sizeof(rst), IPPROTO_TCP);
}

struct icmp_message {
	__u8 type, code;
	__be16 check;
	__be32 mtu;
};

static __always_inline void icmp_kind(const struct weir_ctx *ctx, __u32 kind, __u32 mtu,
				      struct icmp_message *icmp)
{
	if (kind == ANSWER_TOO_BIG) {
		icmp->type = ctx->v6 ? ICMP6_TOO_BIG : 3;
		icmp->code = ctx->v6 ? 0 : 4;
		icmp->mtu = bpf_htonl(mtu);
		return;
	}
	icmp->type = ctx->v6 ? ICMP6_UNREACHABLE : 3;
	if (kind == ANSWER_UNREACHABLE)
		icmp->code = ctx->v6 ? 3 : 1;
	else if (kind == ANSWER_PROHIBITED)
		icmp->code = ctx->v6 ? 1 : 13;
	else
		icmp->code = ctx->v6 ? 4 : 3;
}

/* Bytes of layer 4 to quote: what its receiver looks at, and no less than what the kernel keeps. */
static __always_inline __u32 quoted_l4(const struct weir_ctx *ctx)
{
	return ctx->proto == IPPROTO_TCP ? 20 : ctx->proto == IPPROTO_SCTP ? 12 : 8;
}

static __always_inline int make_icmp(struct __sk_buff *skb, struct weir_ctx *ctx, __u32 kind,
				     __u32 mtu)
{
	__u32 header = ctx->v6 ? IPV6_HEADER_LEN : sizeof(struct iphdr);
	__u32 quote = ctx->l4 - ctx->l3 + quoted_l4(ctx);
	__u32 room = header + sizeof(struct icmp_message);
	struct icmp_message icmp = {};
	struct weir_scratch *s = scratch();
	__u32 sum;

	if (quote > ctx->length)
		quote = ctx->length;
	if (!s || quote > REJECT_QUOTE || quote < sizeof(struct iphdr))
		return -1;
	if (ctx->l3 + quote < skb->len && bpf_skb_change_tail(skb, ctx->l3 + quote, 0))
		return -1;
	__builtin_memset(s->bytes, 0, REJECT_QUOTE + 8);
	/* Before 6.18 the verifier has forgotten the bounds: say them again, one by one. */
	barrier_var(quote);
	if (quote > REJECT_QUOTE)
		return -1;
	barrier_var(quote);
	if (quote < sizeof(struct iphdr) || bpf_skb_load_bytes(skb, ctx->l3, s->bytes, quote))
		return -1;
	icmp_kind(ctx, kind, mtu, &icmp);
	sum = ctx->v6 ? pseudo_sum(ctx, sizeof(icmp) + quote, IPPROTO_ICMPV6) : 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)s->bytes, REJECT_QUOTE, sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&icmp, sizeof(icmp), sum);
	icmp.check = ~sum16(sum16(sum));
	if (bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, ctx->l3 + header, &icmp, sizeof(icmp), 0))
		return -1;
	if (!ctx->v6)
		return turn_round(skb, ctx, 0) ||
		       write_ip4(skb, ctx, ctx->l3, room + quote, IPPROTO_ICMP);
	{
		__u8 start[8] = {0x60, 0, 0, 0, 0, 0, IPPROTO_ICMPV6, REJECT_TTL};

		return bpf_skb_store_bytes(skb, ctx->l3, start, sizeof(start), 0) ||
		       turn_round(skb, ctx, room + quote);
	}
}

/* Only one who exists and asked alone is answered: no broadcast, no error, no later piece. */
static __always_inline bool may_answer(struct weir_ctx *ctx)
{
	__u32 suppressed;

	if (ctx->frag == FRAG_LATER || ctx->icmp == CLASS_ERROR || addr_is_zero(&ctx->t.saddr) ||
	    addr_is_multicast(&ctx->t.saddr) || addr_is_multicast(&ctx->t.daddr))
		return false;
	if (ctx->proto == IPPROTO_TCP && ctx->tcp_flags & TCP_RST)
		return false;
	return bucket_take(REJECT_BUCKET, &suppressed);
}

/* The whole stage: account the drop, then answer if one may. */
__global int reject(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	__u32 kind = skb->cb[CB_ANSWER], mtu = skb->cb[CB_MTU];
	__u32 reason = skb->cb[CB_REASON];
	bool reset;

	if (!ctx)
		return TC_ACT_SHOT;
	ctx->rewrite = 0;
	reset = (kind == ANSWER_REFUSED || kind == ANSWER_PROHIBITED) && ctx->proto == IPPROTO_TCP;
	account_drop(skb, ctx, reason < WEIR_DROP_REASONS ? reason : WEIR_DROP_INTERNAL);
	if (!may_answer(ctx))
		return TC_ACT_SHOT;
	if (reset ? make_reset(skb, ctx) : make_icmp(skb, ctx, kind, mtu))
		return TC_ACT_SHOT;
	count(REJECTS_SENT);
	if (ctx->hook == WEIR_HOOK_DEV_OUT)
		return to_host(skb, ctx);
	skb->mark = WEIR_MARK_DELIVERED;
	return bpf_redirect(skb->ifindex, 0);
}

#endif
