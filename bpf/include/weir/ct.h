/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connection tracking.
 *
 * A key is the tuple as a hook sees it, made independent of direction: the end with the lower
 * (address, port) comes first. A flow that is not translated is one entry. A translated flow is
 * two:
 *
 *   client -> VIP       key {client, VIP}      rewrites packets of the original direction
 *   backend -> client'  key {backend, client'} rewrites packets of the reply direction
 *
 * (client' differs from client when the source is translated too.) Each holds the whole rewritten
 * tuple, so either partner's key can be computed from the other entry, and a lost partner
 * re-created. A packet in the other direction of an entry matches it and passes unchanged: hooks
 * may see one packet twice without harm.
 *
 * Flows start in an LRU table ("half") and move to the sharded established tables when the first
 * reply is seen, so a flood of new flows cannot evict an established one.
 */
#ifndef WEIR_CT_H
#define WEIR_CT_H

#include "types.h"

struct weir_ct_key4 {
	__be32 addr[2];
	__be16 port[2]; /* ICMP echo: the identifier, twice */
	__u8 proto;
	__u8 pad[3];
};
WEIR_ABI_KEY(struct weir_ct_key4, 16);

struct weir_ct_key6 {
	struct weir_addr addr[2];
	__be16 port[2];
	__u8 proto;
	__u8 pad[3];
};
WEIR_ABI_KEY(struct weir_ct_key6, 40);

static inline __u32 weir_ct_mix(__u32 hash, __u32 word)
{
	hash = (hash ^ word) * 0x9e3779b1u;
	return hash ^ hash >> 15;
}

/* Of a key; chooses the shard and is the check word of the entry. */
static inline __u32 weir_ct_hash4(const struct weir_ct_key4 *key)
{
	__u32 hash = weir_ct_mix(key->proto, key->addr[0]);

	hash = weir_ct_mix(hash, key->addr[1]);
	return weir_ct_mix(hash, (__u32)key->port[0] << 16 | key->port[1]);
}

static inline __u32 weir_ct_hash6(const struct weir_ct_key6 *key)
{
	__u32 hash = key->proto;

	for (int i = 0; i < 4; i++)
		hash = weir_ct_mix(weir_ct_mix(hash, key->addr[0].w[i]), key->addr[1].w[i]);
	return weir_ct_mix(hash, (__u32)key->port[0] << 16 | key->port[1]);
}

/* Element of weir_ct4 / weir_ct6 that holds keys of this hash: its highest six bits. */
#define WEIR_CT_SHARD(hash) ((hash) >> 26)

enum weir_ct_flags {
	WEIR_CT_ORIG_SECOND = 1 << 0,	/* the originator is the key's second end */
	WEIR_CT_REWRITE_ORIG = 1 << 1,	/* nat_* applies to packets of the original direction */
	WEIR_CT_REWRITE_REPLY = 1 << 2, /* nat_* applies to packets of the reply direction */
	WEIR_CT_SEEN_REPLY = 1 << 3,
	WEIR_CT_SNAT = 1 << 4, /* the source is translated (masquerade, hairpin) */
	WEIR_CT_FROM_OUTSIDE =
		1 << 5, /* arrived on the external device `ifindex`; replies leave there */
	WEIR_CT_FROM_HOST = 1 << 6, /* originated by this host */
	WEIR_CT_CLOSED = 1 << 7,    /* RST, or FIN both ways: a SYN starts a new flow */
};

/*
 * How many established entries share a hash (weir_ct_counts): whoever expects none, the first
 * packet of a flow, need not look into the table, which costs a line or two that no cache holds.
 * Four bits a hash, sixteen to a word; 0: not known, look. 1: no entry; else one more than there
 * are. Too many, or anything that does not fit, makes it 0 for good: so a map of zeros, or one that
 * an entry was deleted past, costs time and never a flow. A count grows before an entry comes, and
 * shrinks after it has gone. The loader sets all to 1 together with empty tables.
 */
#define WEIR_CT_COUNTS	      (1u << 20) /* of each family */
#define WEIR_CT_COUNT_WORDS   (WEIR_CT_COUNTS / 16)
#define WEIR_CT_COUNTS_NONE   0x1111111111111111ULL
#define WEIR_CT_COUNT_UNKNOWN 0
#define WEIR_CT_COUNT_NONE    1
#define WEIR_CT_COUNT_MAX     15
/* Where the count of a hash is: element of weir_ct_counts, first bit of four. */
#define WEIR_CT_COUNT_WORD(hash, v6)                                                               \
	(((hash) & (WEIR_CT_COUNTS - 1)) / 16 + ((v6) ? WEIR_CT_COUNT_WORDS : 0))
#define WEIR_CT_COUNT_SHIFT(hash) ((hash) % 16 * 4)

/*
 * What let the flow pass at a local end; all zero: nothing yet. It holds while the endpoint's
 * policy word has this epoch (weir/policy.h). What was denied is not kept.
 */
struct weir_ct_verdict {
	__u32 epoch;
	__u16 set;
	__u16 rule;
};
WEIR_ABI_VALUE(struct weir_ct_verdict, 8);

struct weir_ct {
	__u32 seen;		      /* tick of the last packet */
	__u32 expires;		      /* tick at which the entry is dead, whoever still holds it */
	__u8 flags;		      /* enum weir_ct_flags */
	__u8 tcp_flags[2];	      /* TCP flags seen, [0] original direction, [1] reply */
	__u8 kind;		      /* enum weir_ct_kind */
	__be16 nat_port[2];	      /* rewritten source and destination port */
	struct weir_addr nat_addr[2]; /* rewritten source and destination address */
	__u32 endpoint[2]; /* local endpoint at [0] the packet source of the original direction
			      after translation is undone, [1] its final destination; 0: not local
			    */
	__u32 service;	   /* index in weir_services, 0: none */
	__u32 backend;	   /* index in weir_backends, 0: none */
	/* second cache line: of an established flow between pods only the epoch is read in it */
	__u32 ifindex; /* external device of WEIR_CT_FROM_OUTSIDE, or of the masqueraded way out */
	__u32 created; /* tick */
	struct weir_ct_verdict verdict[2]; /* of the ends as in endpoint[] */
	__u32 check;  /* weir_ct_hash of the key: tells an element recycled under a reader */
	__u32 origin; /* enum weir_ct_origin */
};
/* With its key it fits the kernel's allocations of 192 bytes, in either family. */
WEIR_ABI_VALUE(struct weir_ct, 96);

enum weir_ct_kind {
	WEIR_CT_PLAIN = 0,
	WEIR_CT_SERVICE = 1,	/* through a Service VIP translated here */
	WEIR_CT_MASQUERADE = 2, /* a pod's flow to the outside */
	WEIR_CT_SOCKET = 3,	/* a plain flow whose socket was translated at connect() */
};

/* Of a flow with WEIR_CT_FROM_HOST; 0: a build without policies began it. */
enum weir_ct_origin {
	/* A process of this host, by where its packets came from and whatever address they have: no
	 * policy keeps it from the pods that are here. */
	WEIR_CT_OF_HOST = 1 << 0,
	WEIR_CT_OF_GUEST = 1 << 1, /* forwarded for somebody behind a device of this host */
};

/* Fragments of one datagram: the ports of its first fragment. */
struct weir_frag_key {
	struct weir_addr saddr;
	struct weir_addr daddr;
	__be32 id;
	__u32 proto;
};
WEIR_ABI_KEY(struct weir_frag_key, 40);

struct weir_frag {
	__be16 port[2]; /* source, destination */
	__u32 seen;	/* tick; older than WEIR_FRAG_LIFETIME_TICKS: not this datagram */
};
WEIR_ABI_VALUE(struct weir_frag, 8);
#define WEIR_FRAG_LIFETIME_TICKS 15

/* Why a flow record was emitted, and the sweep's own state: one element, kept by its pinned map. */
struct weir_sweep_stats {
	__u64 last_run_ns;
	__u64 runs;
	__u64 expired;
	__u32 next_shard;
	__u32 pad;
};
WEIR_ABI_VALUE(struct weir_sweep_stats, 32);

#endif
