/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Load-balancing tables. A lookup is one hash and two array reads whatever the number of Services:
 *
 *   vips {address, port, proto, scope} -> service index -> extent {first, count, tag}
 *        -> slots[first + random % count]
 *
 * Writers keep these rules, so that a reader never acts on a mixture of two states:
 *  - a vips value is written once; changing it is a new element, which the kernel links before it
 *    unlinks the old, and its check word tells a reader that met a recycled one (weir_vip_check);
 *  - an extent is one aligned 64-bit word, replaced by one store. New slots are filled first, into
 *    slots of no live extent; old ones are reused only after a grace period;
 *  - slots of an extent ascend by backend, none comes twice: a given one is found by halving;
 *  - a slot carries the tag of its extent; a mismatch means the reader raced: it reads the extent
 *    once more and, if that fails too, drops with a reason;
 *  - a backend's address, port and protocol never change while its id is referenced by any slot:
 *    so a slot can hold a copy of them, and a new flow need not look at backends[], which says what
 *    becomes of the flows that a backend has;
 *  - a slot's word {backend, tag} is cleared before the rest of it changes and written last.
 * Index 0 of services, slots and backends is never used.
 */
#ifndef WEIR_LB_H
#define WEIR_LB_H

#include "types.h"

enum weir_vip_scope {
	WEIR_VIP_SERVICE =
		0, /* ClusterIP, external IP, load-balancer IP, hostPort with an address */
	WEIR_VIP_NODEPORT =
		1, /* address all zero but for the family: [0..3]=0 IPv6, v4-mapped any IPv4 */
};

struct weir_vip_key {
	struct weir_addr addr;
	__be16 port;
	__u8 proto; /* IPPROTO_* */
	__u8 scope; /* enum weir_vip_scope */
};
WEIR_ABI_KEY(struct weir_vip_key, 20);

enum weir_vip_flags {
	WEIR_VIP_EXTERNAL = 1 << 0, /* external policy applies: NodePort, external IP, LB IP */
	WEIR_VIP_CLUSTER_IP = 1 << 1,
	WEIR_VIP_SOURCE_RANGES = 1 << 2, /* LB IP with loadBalancerSourceRanges */
};

/*
 * loadBalancerSourceRanges of a Service port: a longest-prefix table by {service, client}. Asked
 * only for addresses with WEIR_VIP_SOURCE_RANGES, once a flow; nothing found: refused. A client
 * whose address is not known yet, a socket of the host that is not bound, asks with the unspecified
 * address (0.0.0.0 or ::), whose entry stands for the host's own address.
 */
struct weir_range_key {
	__u32 prefixlen; /* WEIR_RANGE_SERVICE_BITS and the prefix's 0..128 */
	__u32 service;	 /* index in weir_services, always matched whole */
	struct weir_addr addr;
};
WEIR_ABI_KEY(struct weir_range_key, 24);
#define WEIR_RANGE_SERVICE_BITS 32

enum weir_range_verdict {
	WEIR_RANGE_REFUSE = 0,
	WEIR_RANGE_ADMIT = 1,
};

struct weir_vip {
	__u32 service; /* index in weir_services */
	__u32 flags;   /* enum weir_vip_flags */
	__u32 check;   /* weir_vip_check(key, service, flags) */
};
WEIR_ABI_VALUE(struct weir_vip, 12);

/* A word that tells, but for one chance in 2^32, a value of this key from any mixture of values. */
static inline __u32 weir_vip_check(const struct weir_vip_key *key, __u32 service, __u32 flags)
{
	__u32 h = 0x9e3779b9u ^ service * 0x85ebca6bu ^ flags * 0xc2b2ae35u;
	__u32 part[5] = {key->addr.w[0], key->addr.w[1], key->addr.w[2], key->addr.w[3],
			 (__u32)key->port | (__u32)key->proto << 16 | (__u32)key->scope << 24};

	for (int i = 0; i < 5; i++) {
		h ^= part[i];
		h *= 0x01000193u;
		h ^= h >> 15;
	}
	return h;
}

/* Extent word: first slot (27 bits) | count (17 bits) | tag (20 bits). Count 0: no usable endpoint.
 */
#define WEIR_EXTENT_FIRST_BITS 27
#define WEIR_EXTENT_COUNT_BITS 17
#define WEIR_EXTENT_TAG_BITS   20
#define WEIR_EXTENT(first, count, tag)                                                             \
	((__u64)(first) | (__u64)(count) << WEIR_EXTENT_FIRST_BITS |                               \
	 (__u64)(tag) << (WEIR_EXTENT_FIRST_BITS + WEIR_EXTENT_COUNT_BITS))
#define WEIR_EXTENT_FIRST(e) ((__u32)((e) & ((1u << WEIR_EXTENT_FIRST_BITS) - 1)))
#define WEIR_EXTENT_COUNT(e)                                                                       \
	((__u32)((e) >> WEIR_EXTENT_FIRST_BITS & ((1u << WEIR_EXTENT_COUNT_BITS) - 1)))
#define WEIR_EXTENT_TAG(e) ((__u32)((e) >> (WEIR_EXTENT_FIRST_BITS + WEIR_EXTENT_COUNT_BITS)))

enum weir_extent_scope {
	WEIR_SCOPE_CLUSTER = 0,
	WEIR_SCOPE_LOCAL = 1,
	WEIR_SCOPES = 2,
};

enum weir_service_flags {
	WEIR_SVC_INTERNAL_LOCAL = 1 << 0, /* internalTrafficPolicy: Local */
	WEIR_SVC_EXTERNAL_LOCAL = 1 << 1, /* externalTrafficPolicy: Local */
	WEIR_SVC_ANY_ENDPOINT =
		1 << 2, /* usable endpoints exist somewhere: empty scope drops, not rejects */
	WEIR_SVC_AFFINITY = 1 << 3, /* sessionAffinity: ClientIP */
	WEIR_SVC_IN_USE = 1 << 4,
};

enum weir_lb_algorithm {
	WEIR_LB_RANDOM = 0,
	WEIR_LB_ROUND_ROBIN = 1,
	WEIR_LB_MAGLEV = 2,
	WEIR_LB_LEAST_CONN = 3,
};

/* One Service port of one family; all its VIPs and its NodePort point here. */
struct weir_service {
	__u64 extent[WEIR_SCOPES]; /* WEIR_EXTENT words */
	__u32 flags;		   /* enum weir_service_flags */
	__u8 algorithm;		   /* enum weir_lb_algorithm */
	__u8 proto;
	__be16 port; /* of the Service, for display */
	__u32 affinity_seconds;
	__u32 generation; /* grows each time the index is given to another Service port */
	__u64 id;	  /* stable hash of namespace/name/port/protocol/family, for re-adoption */
	__u32 maglev_size;
	__u32 spare[5];
};
WEIR_ABI_VALUE(struct weir_service, 64);

/* Half a cache line, never across two. */
struct weir_slot {
	struct weir_addr addr; /* of the backend, as weir_backends has it */
	__be16 port;
	__u16 pad;
	__u32 spare;
	__u32 backend; /* index in weir_backends */
	__u32 tag;     /* of the extent it belongs to */
};
WEIR_ABI_VALUE(struct weir_slot, 32);

enum weir_backend_state {
	WEIR_BACKEND_FREE = 0,
	WEIR_BACKEND_READY = 1,
	WEIR_BACKEND_DRAINING = 2, /* in no extent; keeps its flows */
	WEIR_BACKEND_REMOVED = 3,  /* left the Service, a live pod still owns the address */
	WEIR_BACKEND_GONE = 4,	   /* nobody owns the address: TCP is reset, UDP moves */
};

struct weir_backend {
	struct weir_addr addr;
	__be16 port;
	__u8 proto;
	__u8 state;	  /* enum weir_backend_state */
	__u32 generation; /* grows each time the id is given to another backend */
	__u32 spare[2];
};
WEIR_ABI_VALUE(struct weir_backend, 32);

/*
 * sessionAffinity: ClientIP. The backend that a client's last new flow went to, by Service port: it
 * counts while it is in the Service's extent and affinity_seconds have not passed since that flow.
 * The client is who asks lb_lookup_for(). One word each, so never half of one.
 */
struct weir_affinity_key {
	__u32 service;	  /* index in weir_services */
	__u32 generation; /* of that index */
	struct weir_addr client;
};
WEIR_ABI_KEY(struct weir_affinity_key, 24);

struct weir_affinity {
	__u32 backend; /* index in weir_backends */
	__u32 used;    /* tick of the flow */
};
WEIR_ABI_VALUE(struct weir_affinity, 8);

/*
 * What the socket hooks did for a socket: lets recvmsg and getpeername show the VIP again, and tc
 * attribute a new flow to its Service. An unconnected socket has a second element for each VIP: the
 * backend its datagrams go to.
 */
enum weir_sock_kind {
	WEIR_SOCK_REPLY = 0,  /* key: the backend, as the packets show it; value: the VIP */
	WEIR_SOCK_CHOICE = 1, /* key: the VIP; value: the backend, in the fields of the VIP */
};

struct weir_sock_key {
	__u64 cookie;
	struct weir_addr addr;
	__be16 port;
	__u8 proto;
	__u8 kind; /* enum weir_sock_kind */
	__u8 pad[4];
};
WEIR_ABI_KEY(struct weir_sock_key, 32);

struct weir_sock {
	struct weir_addr vip;
	__be16 vip_port;
	__u16 flags;
	__u32 service;
	__u32 backend;
	__u32 service_generation;
};
WEIR_ABI_VALUE(struct weir_sock, 32);

/*
 * Which sockets may have an element in weir_socks: a bit for each of 32 cookies in a row, below the
 * row's number. Cookies grow, so a word is taken over by newer rows; an older row that finds it
 * taken knows nothing, and one that finds a yet older row knows that it has no such socket.
 */
#define WEIR_SOCK_MARK_WORDS	   (1u << 14)
#define WEIR_SOCK_MARK_ROW(cookie) ((__u32)((cookie) >> 5))
#define WEIR_SOCK_MARK_BIT(cookie) (1ULL << ((cookie) & 31))

#endif
