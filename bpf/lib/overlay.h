/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Between nodes without a common link: one VXLAN device, whose far end is chosen for each packet
 * here. What leaves by it asks weir_peers where its destination is; what comes in asks it whether
 * its source belongs to the node that sent it. The host's routes say what leaves by it.
 */
#ifndef WEIR_LIB_OVERLAY_H
#define WEIR_LIB_OVERLAY_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stddef.h>

#include "context.h"
#include "event.h"
#include "parse.h"

#define WEIR_AF_INET  2
#define WEIR_AF_INET6 10

static __always_inline bool is_overlay(__u32 ifindex)
{
	return cfg.overlay_ifindex && ifindex == cfg.overlay_ifindex;
}

static __always_inline bool is_overlay_port(const struct weir_ctx *ctx, __be16 port)
{
	return cfg.overlay_port && ctx->proto == IPPROTO_UDP && port == bpf_htons(cfg.overlay_port);
}

static __always_inline struct weir_peer *peer_of(const struct weir_addr *addr)
{
	struct weir_cidr_key key = {.prefixlen = 128, .addr = *addr};

	return bpf_map_lookup_elem(&weir_peers, &key);
}

static __always_inline bool is_peer_node(const struct weir_addr *addr)
{
	struct weir_peer *peer = peer_of(addr);

	return peer && peer->flags & WEIR_PEER_NODE;
}

/* --- in --- */

/* Does the packet's source belong to the node that encapsulated it? */
static __always_inline bool from_owner(struct __sk_buff *skb, const struct weir_ctx *ctx)
{
	struct weir_peer *peer = peer_of(&ctx->t.saddr);
	struct bpf_tunnel_key tunnel = {};
	struct weir_addr outer;
	bool v4;

	if (!peer)
		return false;
	v4 = addr_is_v4(&peer->outer);
	if (bpf_skb_get_tunnel_key(skb, &tunnel, sizeof(tunnel), v4 ? 0 : BPF_F_TUNINFO_IPV6) ||
	    tunnel.tunnel_id != WEIR_OVERLAY_VNI)
		return false;
	if (v4)
		addr_set4(&outer, bpf_htonl(tunnel.remote_ipv4));
	else
		__builtin_memcpy(&outer, tunnel.remote_ipv6, sizeof(outer));
	return addr_equal(&outer, &peer->outer);
}

/* --- out --- */

static __always_inline bool inner_daddr(struct __sk_buff *skb, struct weir_addr *addr)
{
	__be32 v4;

	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return !bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, daddr), addr,
					   sizeof(*addr));
	if (skb->protocol != bpf_htons(ETH_P_IP) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, daddr), &v4, sizeof(v4)))
		return false;
	addr_set4(addr, v4);
	return true;
}

/*
 * All nodes' devices have the same address, so that whoever decapsulates a frame takes it for its
 * own; a frame from that address would be taken for an echo.
 */
static __always_inline long set_overlay_macs(struct __sk_buff *skb)
{
	__u8 macs[2 * ETH_ALEN];

	for (int i = 0; i < ETH_ALEN; i++)
		macs[i] = macs[ETH_ALEN + i] = cfg.host_mac[i];
	macs[ETH_ALEN] ^= 0x10;
	return bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0);
}

/* Bytes of the largest packet on the wire: of each segment, where the device will cut it. */
static __always_inline __u32 wire_length(struct __sk_buff *skb, const struct weir_ctx *ctx)
{
	__u32 gso = skb->gso_size;

	return gso ? ctx->l4 - ctx->l3 + ctx->l4_len + gso : ctx->length;
}

/* The outer headers over IPv6, and an inner packet that has room on any way. */
#define OUTER6_BYTES 70
#define FITS_ANYHOW  (1280 - OUTER6_BYTES)

/*
 * What an inner packet to `daddr` may have at most, if `length` bytes are too many for the way to
 * its node; 0: they are not. Nobody fragments outer packets of IPv6; what this host has learnt of
 * the way is with its route to the node.
 */
__global int narrow_overlay(struct __sk_buff *skb, const struct weir_addr *daddr, __u32 length)
{
	struct bpf_fib_lookup fib = {};
	struct weir_peer *peer;

	if (!daddr || length <= FITS_ANYHOW)
		return 0;
	peer = peer_of(daddr);
	if (!peer || addr_is_v4(&peer->outer))
		return 0;
	length += OUTER6_BYTES;
	fib.family = WEIR_AF_INET6;
	fib.l4_protocol = IPPROTO_UDP;
	fib.dport = bpf_htons(cfg.overlay_port);
	fib.tot_len = length > 0xffff ? 0xffff : length;
	fib.ifindex = cfg.host_ifindex;
	__builtin_memcpy(fib.ipv6_src, &peer->local, sizeof(fib.ipv6_src));
	__builtin_memcpy(fib.ipv6_dst, &peer->outer, sizeof(fib.ipv6_dst));
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return 0;
	return fib.tot_len > OUTER6_BYTES ? fib.tot_len - OUTER6_BYTES : 0;
}

static __always_inline long set_tunnel(struct __sk_buff *skb, const struct weir_peer *peer)
{
	struct bpf_tunnel_key tunnel = {.tunnel_id = WEIR_OVERLAY_VNI};

	if (addr_is_v4(&peer->outer)) {
		tunnel.remote_ipv4 = bpf_ntohl(peer->outer.w[3]);
		tunnel.local_ipv4 = bpf_ntohl(peer->local.w[3]);
		/* The inner checksums cover what matters. */
		return bpf_skb_set_tunnel_key(skb, &tunnel, sizeof(tunnel), BPF_F_ZERO_CSUM_TX);
	}
	__builtin_memcpy(tunnel.remote_ipv6, &peer->outer, sizeof(tunnel.remote_ipv6));
	__builtin_memcpy(tunnel.local_ipv6, &peer->local, sizeof(tunnel.local_ipv6));
	return bpf_skb_set_tunnel_key(skb, &tunnel, sizeof(tunnel), BPF_F_TUNINFO_IPV6);
}

/* Egress of the device: from pods and from the host alike. */
static __always_inline int encapsulate(struct __sk_buff *skb, struct weir_ctx *ctx)
{
	struct weir_addr daddr = {};
	struct weir_peer *peer = inner_daddr(skb, &daddr) ? peer_of(&daddr) : NULL;
	__u32 mtu = 0;

	if (!peer) {
		parse(skb, ctx, WEIR_HOOK_DEV_OUT, ETH_HEADER_LEN);
		return drop(ctx, OVERLAY_NO_PEER);
	}
	/* Of the host itself: find_way() has not asked. */
	if ((skb->mark & WEIR_MARK_MASK) != WEIR_MARK_DELIVERED && !addr_is_v4(&peer->outer)) {
		if (parse(skb, ctx, WEIR_HOOK_DEV_OUT, ETH_HEADER_LEN) == PARSE_IP)
			mtu = narrow_overlay(skb, &daddr, wire_length(skb, ctx));
		if (mtu)
			return answer(skb, ctx, WEIR_DROP_TOO_BIG, ANSWER_TOO_BIG, mtu);
	}
	if (set_tunnel(skb, peer) || set_overlay_macs(skb)) {
		parse(skb, ctx, WEIR_HOOK_DEV_OUT, ETH_HEADER_LEN);
		return drop(ctx, REWRITE_FAILED);
	}
	/* The device that the outer packet leaves by need not look at it. */
	skb->mark = WEIR_MARK_DELIVERED;
	return PASS;
}

#endif
