/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is known of the packet at hand. A hook's entry program clears it and parses into it
 * (parse.h); the stages that it jumps to find it as it was left. It lives in the scratch memory of
 * the CPU, of which each object has its own: one program and its stages run at a time.
 *
 * It holds no pointers: functions that are not static are verified once, by themselves, whatever
 * calls them, and a pointer would not survive the way there. So all take the skb beside it, and
 * find a flow's entry again by its key. Their pointer arguments are checked for the verifier's
 * sake.
 */
#ifndef WEIR_LIB_CONTEXT_H
#define WEIR_LIB_CONTEXT_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>

#include "addr.h"
#include "config.h"
#include "maps.h"
#include "tick.h"

#define ETH_HEADER_LEN	14
#define IPV6_HEADER_LEN 40

struct weir_tuple {
	struct weir_addr saddr, daddr;
	__be16 sport, dport; /* ICMP echo: the identifier, twice; no ports: zero */
};

union weir_key {
	struct weir_ct_key4 k4;
	struct weir_ct_key6 k6;
};

enum weir_fragment {
	FRAG_NONE = 0,
	FRAG_FIRST = 1,
	FRAG_LATER = 2, /* no layer 4 header */
};

enum weir_icmp {
	CLASS_NONE = 0,
	CLASS_ECHO = 1,
	CLASS_ERROR = 2,
	CLASS_NEIGHBOUR = 3, /* neighbour and router discovery */
	CLASS_LISTENER = 4,  /* multicast listener discovery */
	CLASS_OTHER = 5,
};

struct weir_ctx {
	struct weir_tuple t; /* as the packet came */
	struct weir_tuple n; /* as it leaves; filled if `rewrite` */
	union weir_key key;
	__u32 hash;	/* of key */
	__u32 now;	/* tick */
	__u32 endpoint; /* of the pod whose veth this is, 0: a device */
	__u32 sender;	/* of the flow, in this packet's direction: endpoint id, 0: not local */
	__u32 receiver;
	__u32 ifindex; /* of the flow's entry; filled if the receiver is not local, or in dev_in */
	__u64 policy;  /* word of the pod whose veth this is */
	__u32 epoch;   /* of the policy under which the flow passed at the receiver */
	__u32 rule;    /* WEIR_EVENT_RULE that denied it */
	__be32 frag_id;
	__u16 l3; /* offsets; l3 is 14, or 0 on a device without link layer */
	__u16 l4;
	__u16 length; /* from l3 to the end, as the IP header says */
	__u8 l4_len;  /* length of the layer 4 header */
	__u8 hook;    /* enum weir_hook; the direction of a drop has the same number */
	__u8 v6;
	__u8 proto;
	__u8 tcp_flags;
	__u8 ttl;
	__u8 frag; /* enum weir_fragment */
	__u8 icmp; /* enum weir_icmp */
	__u8 icmp_type;
	__u8 may_fragment; /* IPv4 without DF */
	__u8 second;	   /* the source is the key's second end */
	__u8 reply;	   /* the packet goes against the flow's original direction */
	__u8 ct_flags;	   /* of the flow's entry */
	__u8 half;	   /* the entry is in the half-open table */
	__u8 stale;	   /* a dead entry holds the key in the established table */
	__u8 device;	   /* enum weir_device_kind of the device, of device hooks */
	__u8 rewrite;	   /* n differs from t */
	__u8 rejects;	   /* the policy that denied it answers */
};

/*
 * Verified once, not at each call. What its pointer arguments point to is "memory" to the verifier,
 * which Linux 6.1 does not take as a key or value of a map: keys are copied to the stack first, and
 * entries are built in the scratch.
 */
#define __global __attribute__((noinline))

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Besides TC_ACT_*, functions return "go on in this stage"; only finish() jumps. */
#define STAGE_BASE   0x100
#define STAGE(stage) (STAGE_BASE + WEIR_STAGE_##stage)

/* Not ours, or done with: programs after this one run, too. */
#define PASS TC_ACT_UNSPEC

/* skb->cb words handed to the REJECT stage. */
enum weir_cb {
	CB_REASON = 0, /* enum weir_drop_reason */
	CB_ANSWER = 1, /* enum weir_answer */
	CB_MTU = 2,
};

enum weir_answer {
	ANSWER_REFUSED = 0,	/* TCP reset, else port unreachable */
	ANSWER_UNREACHABLE = 1, /* host (address) unreachable */
	ANSWER_TOO_BIG = 2,	/* fragmentation needed, packet too big */
	ANSWER_PROHIBITED = 3,	/* TCP reset, else administratively prohibited */
};

/*
 * `data` plus an offset kept in memory, where the verifier forgets its bounds. Bounds it again,
 * where the compiler, who knows better, cannot take that away.
 */
static __always_inline void *packet_at(void *data, __u32 offset)
{
#ifdef __bpf__
	asm volatile("%0 &= 0x3ff" : "+r"(offset));
#else /* compiled for the host by tests */
	offset &= 0x3ff;
#endif
	return data + offset;
}

static __always_inline bool is_syn(const struct weir_ctx *ctx)
{
	return ctx->proto == IPPROTO_TCP && (ctx->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline bool is_syn_ack(const struct weir_ctx *ctx)
{
	return ctx->proto == IPPROTO_TCP &&
	       (ctx->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK);
}

static __always_inline bool has_ports(const struct weir_ctx *ctx)
{
	return ctx->proto == IPPROTO_TCP || ctx->proto == IPPROTO_UDP || ctx->proto == IPPROTO_SCTP;
}

/* An address of the configuration by family, read as it is: the compiler must not assume zero. */
static __always_inline struct weir_addr cfg_addr(const volatile struct weir_addr pair[2], bool v6)
{
	const volatile struct weir_addr *addr = v6 ? &pair[1] : &pair[0];
	struct weir_addr copy = {{addr->w[0], addr->w[1], addr->w[2], addr->w[3]}};

	return copy;
}

static __always_inline bool is_cfg_addr(const volatile struct weir_addr pair[2], bool v6,
					const struct weir_addr *addr)
{
	struct weir_addr own = cfg_addr(pair, v6);

	return addr_equal(&own, addr);
}

static __always_inline bool addr_is_multicast(const struct weir_addr *addr)
{
	__u32 last = bpf_ntohl(addr->w[3]);

	if (addr_is_v4(addr))
		return (last >> 28) == 0xe || last == 0xffffffff;
	return (bpf_ntohl(addr->w[0]) >> 24) == 0xff;
}

static __always_inline bool addr_is_link_local6(const struct weir_addr *addr)
{
	return (bpf_ntohl(addr->w[0]) >> 22) == 0xfe80 >> 6;
}

static __always_inline bool tuple_equal(const struct weir_tuple *a, const struct weir_tuple *b)
{
	return a->sport == b->sport && a->dport == b->dport && addr_equal(&a->saddr, &b->saddr) &&
	       addr_equal(&a->daddr, &b->daddr);
}

static __always_inline void tuple_reverse(struct weir_tuple *to, const struct weir_tuple *from)
{
	to->saddr = from->daddr;
	to->daddr = from->saddr;
	to->sport = from->dport;
	to->dport = from->sport;
}

/* State too large for the stack; one a CPU and load, never shared, never pinned. */
struct weir_scratch {
	struct weir_ctx ctx;
	struct weir_ct ct[2]; /* of the flow that begins: this packet's entry, the other */
	__u8 bytes[192];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_scratch);
} weir_scratch SEC(".maps");

static __always_inline struct weir_scratch *scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&weir_scratch, &zero);
}

/* How an entry program begins. */
static __always_inline struct weir_ctx *entry_context(void)
{
	struct weir_scratch *s = scratch();

	if (!s)
		return NULL;
	__builtin_memset(&s->ctx, 0, sizeof(s->ctx));
	return &s->ctx;
}

/* The context as the program left it that jumped to this stage. */
static __always_inline struct weir_ctx *stage_context(void)
{
	struct weir_scratch *s = scratch();

	return s ? &s->ctx : NULL;
}

#endif
