/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ARP and neighbour discovery from a pod. A pod may speak of its own address and ask for its
 * gateway, which is answered here: every veth's host side has the same address and MAC.
 */
#ifndef WEIR_LIB_NEIGHBOUR_H
#define WEIR_LIB_NEIGHBOUR_H

#include <linux/if_ether.h>

#include "context.h"
#include "event.h"
#include "reject.h"

#define ARP_REQUEST 1
#define ARP_REPLY   2

#define ND_ROUTER_SOLICIT   133
#define ND_NEIGHBOUR_ASK    135
#define ND_NEIGHBOUR_ANSWER 136

#define ND_FLAGS_ANSWER 0xe0 /* router, solicited, override */
#define ND_OPT_TARGET	2

struct arp_packet {
	__be16 hardware, protocol;
	__u8 hardware_len, protocol_len;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target[4];
};

static __always_inline __be32 word_of(const __u8 bytes[4])
{
	__be32 word;

	__builtin_memcpy(&word, bytes, sizeof(word));
	return word;
}

static __always_inline void host_mac(__u8 mac[ETH_ALEN])
{
	for (int i = 0; i < ETH_ALEN; i++)
		mac[i] = cfg.host_mac[i];
}

/* Sends the packet, which has become an answer, back to the pod. */
static __always_inline int send_back(struct __sk_buff *skb, struct weir_ctx *ctx,
				     const __u8 pod_mac[ETH_ALEN])
{
	__u8 macs[2 * ETH_ALEN];

	__builtin_memcpy(macs, pod_mac, ETH_ALEN);
	host_mac(macs + ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return drop(ctx, REWRITE_FAILED);
	skb->mark = WEIR_MARK_DELIVERED;
	return bpf_redirect(skb->ifindex, 0);
}

__global int arp(struct __sk_buff *skb, struct weir_ctx *ctx, const struct weir_endpoint *ep)
{
	struct arp_packet packet;
	__be32 own, sender, target;
	struct weir_addr gateway = cfg_addr(cfg.gateway, false);
	bool same_mac = true;

	if (!ctx || !ep)
		return TC_ACT_SHOT;
	own = ep->addr[0].w[3];
	if (bpf_skb_load_bytes(skb, ETH_HEADER_LEN, &packet, sizeof(packet)) ||
	    packet.protocol != bpf_htons(ETH_P_IP) || packet.protocol_len != 4)
		return drop(ctx, MALFORMED);
	for (int i = 0; i < ETH_ALEN; i++)
		same_mac &= packet.sender_mac[i] == ep->mac[i];
	sender = word_of(packet.sender);
	target = word_of(packet.target);
	addr_set4(&ctx->t.saddr, sender);
	addr_set4(&ctx->t.daddr, target);
	if (!same_mac || addr_is_zero(&ep->addr[0]) || (sender && sender != own))
		return drop(ctx, SPOOFED_ARP);
	if (target == own || packet.operation != bpf_htons(ARP_REQUEST))
		return sender == own || target == own ? PASS : drop(ctx, SPOOFED_ARP);
	if (target != gateway.w[3])
		return drop(ctx, SPOOFED_ARP);
	packet.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(packet.target_mac, ep->mac, ETH_ALEN);
	__builtin_memcpy(packet.target, &sender, 4);
	__builtin_memcpy(packet.sender, &target, 4);
	host_mac(packet.sender_mac);
	if (bpf_skb_store_bytes(skb, ETH_HEADER_LEN, &packet, sizeof(packet), 0))
		return drop(ctx, REWRITE_FAILED);
	return send_back(skb, ctx, ep->mac);
}

struct nd_message {
	__u8 type, code;
	__be16 check;
	__u8 flags, reserved[3];
	struct weir_addr target;
};

struct nd_answer {
	struct nd_message nd;
	__u8 option, option_len; /* in units of eight bytes */
	__u8 mac[ETH_ALEN];
};

/* Advertises the gateway to the pod that solicited it from ctx->t.saddr. */
static __always_inline int advertise_gateway(struct __sk_buff *skb, struct weir_ctx *ctx,
					     const struct weir_endpoint *ep)
{
	struct weir_addr pair[2] = {cfg_addr(cfg.gateway, true), ctx->t.saddr};
	struct nd_answer answer = {};
	__u8 start[8] = {0x60, 0, 0, 0, 0, sizeof(answer), IPPROTO_ICMPV6, 255};
	__u32 sum;

	answer.nd.type = ND_NEIGHBOUR_ANSWER;
	answer.nd.flags = ND_FLAGS_ANSWER;
	answer.nd.target = pair[0];
	answer.option = ND_OPT_TARGET;
	answer.option_len = 1;
	host_mac(answer.mac);
	ctx->t.daddr = pair[0]; /* the pseudo header is of the answer */
	sum = pseudo_sum(ctx, sizeof(answer), IPPROTO_ICMPV6);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&answer, sizeof(answer), sum);
	answer.nd.check = ~sum16(sum16(sum));
	if (bpf_skb_change_tail(skb, ctx->l4 + sizeof(answer), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HEADER_LEN, start, sizeof(start), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HEADER_LEN + 8, pair, sizeof(pair), 0) ||
	    bpf_skb_store_bytes(skb, ctx->l4, &answer, sizeof(answer), 0))
		return drop(ctx, REWRITE_FAILED);
	return send_back(skb, ctx, ep->mac);
}

__global int neighbour6(struct __sk_buff *skb, struct weir_ctx *ctx, const struct weir_endpoint *ep)
{
	struct nd_message nd;
	bool own, from_nobody;

	if (!ctx || !ep)
		return TC_ACT_SHOT;
	from_nobody = addr_is_zero(&ctx->t.saddr);
	if (!from_nobody && !addr_is_link_local6(&ctx->t.saddr) &&
	    !addr_equal(&ctx->t.saddr, &ep->addr[1]))
		return drop(ctx, SPOOFED_ND);
	if (ctx->icmp_type == ND_ROUTER_SOLICIT)
		return PASS; /* nobody advertises here */
	if (ctx->icmp_type != ND_NEIGHBOUR_ASK && ctx->icmp_type != ND_NEIGHBOUR_ANSWER)
		return drop(ctx, SPOOFED_ND);
	if (bpf_skb_load_bytes(skb, ctx->l4, &nd, sizeof(nd)) ||
	    ctx->l4 != ETH_HEADER_LEN + IPV6_HEADER_LEN)
		return drop(ctx, MALFORMED);
	if (is_cfg_addr(cfg.gateway, true, &nd.target)) {
		if (ctx->icmp_type == ND_NEIGHBOUR_ASK && !from_nobody)
			return advertise_gateway(skb, ctx, ep);
		return drop(ctx, SPOOFED_ND);
	}
	own = addr_equal(&nd.target, &ep->addr[1]) || addr_is_link_local6(&nd.target);
	return own ? PASS : drop(ctx, SPOOFED_ND);
}

#endif
