// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Services at the socket: a connection to a VIP is made to a backend of it from the start, so that
 * its packets need no translation, and the application goes on seeing the VIP.
 *
 * An IPv6 socket that talks to an IPv4 address names it v4-mapped, which is how the tables hold all
 * IPv4: the IPv6 hooks serve both families.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/sock.h"

/* What the kernel understands. */
enum {
	FAIL = 0,
	PROCEED = 1,
};

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void read4(struct bpf_sock_addr *ctx, struct sock_peer *peer)
{
	addr_set4(&peer->addr, ctx->user_ip4);
	peer->port = ctx->user_port;
	peer->proto = ctx->protocol;
}

static __always_inline void read6(struct bpf_sock_addr *ctx, struct sock_peer *peer)
{
	peer->addr.w[0] = ctx->user_ip6[0];
	peer->addr.w[1] = ctx->user_ip6[1];
	peer->addr.w[2] = ctx->user_ip6[2];
	peer->addr.w[3] = ctx->user_ip6[3];
	peer->port = ctx->user_port;
	peer->proto = ctx->protocol;
}

static __always_inline void write4(struct bpf_sock_addr *ctx, const struct sock_peer *peer)
{
	ctx->user_ip4 = peer->addr.w[3];
	ctx->user_port = peer->port;
}

static __always_inline void write6(struct bpf_sock_addr *ctx, const struct sock_peer *peer)
{
	ctx->user_ip6[0] = peer->addr.w[0];
	ctx->user_ip6[1] = peer->addr.w[1];
	ctx->user_ip6[2] = peer->addr.w[2];
	ctx->user_ip6[3] = peer->addr.w[3];
	ctx->user_port = peer->port;
}

static __always_inline int forward4(struct bpf_sock_addr *ctx, bool datagram)
{
	struct sock_peer peer;

	read4(ctx, &peer);
	switch (sock_forward(ctx, &peer, datagram)) {
	case SOCK_REFUSE:
		return FAIL;
	case SOCK_REWRITE:
		write4(ctx, &peer);
		return PROCEED;
	default:
		return PROCEED;
	}
}

static __always_inline int forward6(struct bpf_sock_addr *ctx, bool datagram)
{
	struct sock_peer peer;

	read6(ctx, &peer);
	switch (sock_forward(ctx, &peer, datagram)) {
	case SOCK_REFUSE:
		return FAIL;
	case SOCK_REWRITE:
		write6(ctx, &peer);
		return PROCEED;
	default:
		return PROCEED;
	}
}

static __always_inline int reverse4(struct bpf_sock_addr *ctx, bool datagram)
{
	struct sock_peer peer;

	read4(ctx, &peer);
	if (sock_reverse(ctx, &peer, datagram))
		write4(ctx, &peer);
	return PROCEED;
}

static __always_inline int reverse6(struct bpf_sock_addr *ctx, bool datagram)
{
	struct sock_peer peer;

	read6(ctx, &peer);
	if (sock_reverse(ctx, &peer, datagram))
		write6(ctx, &peer);
	return PROCEED;
}

SEC("cgroup/connect4")
int sock_connect4(struct bpf_sock_addr *ctx)
{
	return forward4(ctx, false);
}

SEC("cgroup/connect6")
int sock_connect6(struct bpf_sock_addr *ctx)
{
	return forward6(ctx, false);
}

SEC("cgroup/sendmsg4")
int sock_sendmsg4(struct bpf_sock_addr *ctx)
{
	return forward4(ctx, true);
}

SEC("cgroup/sendmsg6")
int sock_sendmsg6(struct bpf_sock_addr *ctx)
{
	return forward6(ctx, true);
}

SEC("cgroup/recvmsg4")
int sock_recvmsg4(struct bpf_sock_addr *ctx)
{
	return reverse4(ctx, true);
}

SEC("cgroup/recvmsg6")
int sock_recvmsg6(struct bpf_sock_addr *ctx)
{
	return reverse6(ctx, true);
}

SEC("cgroup/getpeername4")
int sock_getpeername4(struct bpf_sock_addr *ctx)
{
	return reverse4(ctx, false);
}

SEC("cgroup/getpeername6")
int sock_getpeername6(struct bpf_sock_addr *ctx)
{
	return reverse6(ctx, false);
}
