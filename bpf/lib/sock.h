/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Translation at the socket, between lb_lookup() and the cgroup hooks. These hooks run in process
 * context and can be preempted: state is on the stack, and counters are added to atomically.
 *
 * What these functions leave alone, tc translates or drops packet by packet: doing nothing is
 * always safe here.
 */
#ifndef WEIR_LIB_SOCK_H
#define WEIR_LIB_SOCK_H

#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "config.h"
#include "lb.h"
#include "maps.h"
#include "sock_marks.h"

enum sock_verdict {
	SOCK_REFUSE, /* fail the call, with the error that bpf_set_retval() was given */
	SOCK_LEAVE,
	SOCK_REWRITE, /* the peer is another now: write it back */
};

/* The other end of a call, as the caller means it, in either family. */
struct sock_peer {
	struct weir_addr addr;
	__be16 port;
	__u16 proto;
};

static __always_inline void sock_count(__u32 counter)
{
	__u64 *n = bpf_map_lookup_elem(&weir_counters, &counter);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* Whose namespace the call is made in; NULL: Weir does not know it. */
static __always_inline struct weir_netns *sock_netns(struct bpf_sock_addr *ctx)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);

	return bpf_map_lookup_elem(&weir_netns, &cookie);
}

/*
 * Is this call ours to translate? A namespace that Weir does not know, or that opted out, is left
 * to tc, and so are protocols whose sockets have no such hooks. A pod's loopback is its own.
 */
static __always_inline bool sock_serves(struct bpf_sock_addr *ctx, const struct sock_peer *peer)
{
	struct weir_netns *netns;

	if (peer->proto != IPPROTO_TCP && peer->proto != IPPROTO_UDP)
		return false;
	netns = sock_netns(ctx);
	if (!netns)
		return false;
	if (!netns->endpoint)
		return cfg.flags & WEIR_CFG_SOCK_HOST;
	return (cfg.flags & WEIR_CFG_SOCK_PODS) && !(netns->flags & WEIR_EP_SOCK_OFF) &&
	       !addr_is_loopback(&peer->addr);
}

static __always_inline void sock_key(struct weir_sock_key *key, struct bpf_sock_addr *ctx,
				     const struct sock_peer *peer, __u8 kind)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->cookie = bpf_get_socket_cookie(ctx);
	key->addr = peer->addr;
	key->port = peer->port;
	key->proto = peer->proto;
	key->kind = kind;
}

/*
 * The socket now means this address itself, not a VIP whose backend it is. Without this, a socket
 * that goes from the VIP to the backend's own address would be shown the VIP for ever. Datagrams of
 * a connected socket do not count: an IPv6 socket connected to an IPv4 address gets here with each
 * of them, and names the backend that connect() gave it.
 */
static __always_inline void sock_forget(struct bpf_sock_addr *ctx, const struct sock_peer *peer,
					bool datagram)
{
	struct bpf_sock *sk = ctx->sk;
	struct weir_sock_key key;

	if (datagram && sk && sk->state == BPF_TCP_ESTABLISHED)
		return;
	sock_key(&key, ctx, peer, WEIR_SOCK_REPLY);
	if (bpf_map_lookup_elem(&weir_socks, &key))
		bpf_map_delete_elem(&weir_socks, &key);
}

/*
 * The backend that an earlier datagram of this socket to this VIP went to, if that still serves: a
 * conversation in datagrams stays with one backend when others come and go.
 */
static __always_inline void sock_keep_choice(struct bpf_sock_addr *ctx, const struct sock_peer *vip,
					     struct lb_choice *choice)
{
	struct weir_backend *backend;
	struct weir_sock_key key;
	struct weir_sock *kept;
	__u32 index;

	sock_key(&key, ctx, vip, WEIR_SOCK_CHOICE);
	kept = bpf_map_lookup_elem(&weir_socks, &key);
	if (!kept || kept->service != choice->service ||
	    kept->service_generation != choice->service_generation)
		return;
	index = kept->backend;
	backend = bpf_map_lookup_elem(&weir_backends, &index);
	if (!backend ||
	    (backend->state != WEIR_BACKEND_READY && backend->state != WEIR_BACKEND_DRAINING) ||
	    !addr_equal(&backend->addr, &kept->vip) || backend->port != kept->vip_port)
		return;
	choice->addr = kept->vip;
	choice->port = kept->vip_port;
	choice->backend = index;
}

/* Writes one element of weir_socks, unless it is there and the same. Reading keeps it from ageing.
 */
static __always_inline long sock_note(struct bpf_sock_addr *ctx, const struct sock_peer *from,
				      __u8 kind, const struct sock_peer *to,
				      const struct lb_choice *choice)
{
	struct weir_sock value = {
		.vip = to->addr,
		.vip_port = to->port,
		.service = choice->service,
		.backend = choice->backend,
		.service_generation = choice->service_generation,
	};
	struct weir_sock_key key;
	struct weir_sock *old;

	sock_key(&key, ctx, from, kind);
	old = bpf_map_lookup_elem(&weir_socks, &key);
	if (old && addr_equal(&old->vip, &value.vip) && old->vip_port == value.vip_port &&
	    old->service == value.service && old->backend == value.backend &&
	    old->service_generation == value.service_generation)
		return 0;
	if (!sock_mark(key.cookie))
		return -1;
	return bpf_map_update_elem(&weir_socks, &key, &value, BPF_ANY);
}

/*
 * The address that the packets of this socket would come from. A socket of the host that is not
 * bound has none yet: the unspecified address, which the table of ranges knows (weir/lb.h).
 */
static __always_inline void sock_client(struct bpf_sock_addr *ctx, const struct sock_peer *peer,
					struct weir_addr *client)
{
	bool v4 = addr_is_v4(&peer->addr);
	struct weir_netns *netns = sock_netns(ctx);
	struct bpf_sock *sk = ctx->sk;
	struct weir_endpoint *ep;
	__u32 id = netns ? netns->endpoint : 0;

	__builtin_memset(client, 0, sizeof(*client));
	if (v4)
		addr_set4(client, 0);
	if (id) {
		ep = bpf_map_lookup_elem(&weir_endpoints, &id);
		if (ep)
			*client = ep->addr[!v4];
	} else if (sk && v4) {
		addr_set4(client, sk->src_ip4);
	} else if (sk) {
		client->w[0] = sk->src_ip6[0];
		client->w[1] = sk->src_ip6[1];
		client->w[2] = sk->src_ip6[2];
		client->w[3] = sk->src_ip6[3];
	}
}

/*
 * A load-balancer address that does not admit this client. A pod's packets are dropped by tc, which
 * counts them. The host's would leave untranslated: no hook looks at them again. So the call fails,
 * with EPERM as a firewall on this host would have it.
 */
static __always_inline enum sock_verdict sock_not_admitted(struct bpf_sock_addr *ctx)
{
	struct weir_netns *netns = sock_netns(ctx);

	if (netns && netns->endpoint)
		return SOCK_LEAVE;
	bpf_set_retval(-EPERM);
	sock_count(WEIR_COUNTER_SOCK_NOT_ADMITTED);
	return SOCK_REFUSE;
}

/*
 * Turns `peer` from a VIP into a backend of it. `datagram`: asked again for each datagram of an
 * unconnected socket.
 */
static __noinline enum sock_verdict sock_forward(struct bpf_sock_addr *ctx, struct sock_peer *peer,
						 bool datagram)
{
	struct lb_choice choice = {};
	struct sock_peer vip = *peer;
	struct weir_addr client;
	int verdict;

	if (!sock_serves(ctx, peer))
		return SOCK_LEAVE;
	verdict = lb_lookup(&peer->addr, peer->port, peer->proto, true, &choice);
	if (verdict == LB_CLIENT) {
		sock_client(ctx, peer, &client);
		verdict = lb_lookup_for(&client, true, &choice);
	}
	switch (verdict) {
	case LB_FOUND:
		break;
	case LB_NO_ENDPOINT:
		bpf_set_retval(-ECONNREFUSED);
		sock_count(WEIR_COUNTER_SOCK_REFUSED);
		return SOCK_REFUSE;
	case LB_SOURCE_RANGE:
		return sock_not_admitted(ctx);
	case LB_MISS:
		sock_forget(ctx, peer, datagram);
		return SOCK_LEAVE;
	default: /* tc drops these and says why, or finds the table settled */
		return SOCK_LEAVE;
	}
	if (datagram)
		sock_keep_choice(ctx, &vip, &choice);
	if (addr_is_v4(&choice.addr) != addr_is_v4(&vip.addr))
		return SOCK_LEAVE;
	peer->addr = choice.addr;
	peer->port = choice.port;
	/* A reply that cannot be shown as the VIP's is worse than translation by packet. */
	if (sock_note(ctx, peer, WEIR_SOCK_REPLY, &vip, &choice))
		return SOCK_LEAVE;
	if (datagram)
		sock_note(ctx, &vip, WEIR_SOCK_CHOICE, peer, &choice);
	sock_count(WEIR_COUNTER_SOCK_TRANSLATED);
	return SOCK_REWRITE;
}

/*
 * Turns `peer` from a backend into the VIP that this socket asked for. `datagram`: any sender may
 * own the address by now, so the Service must be the one it was; a connected stream is what it is.
 */
static __noinline bool sock_reverse(struct bpf_sock_addr *ctx, struct sock_peer *peer,
				    bool datagram)
{
	struct weir_service *service;
	struct weir_sock_key key;
	struct weir_sock *sock;
	__u32 index;

	sock_key(&key, ctx, peer, WEIR_SOCK_REPLY);
	sock = bpf_map_lookup_elem(&weir_socks, &key);
	if (!sock)
		return false;
	if (datagram) {
		index = sock->service;
		service = bpf_map_lookup_elem(&weir_services, &index);
		if (!service || service->generation != sock->service_generation)
			return false;
	}
	peer->addr = sock->vip;
	peer->port = sock->vip_port;
	return true;
}

#endif
