/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Flow events: a flow's start, its end, and drops. Written to one ring buffer, losses counted. */
#ifndef WEIR_EVENT_H
#define WEIR_EVENT_H

#include "types.h"

enum weir_event_type {
	WEIR_EVENT_FLOW_NEW = 1,
	WEIR_EVENT_FLOW_END = 2,
	WEIR_EVENT_DROP = 3,
};

enum weir_event_end {
	WEIR_END_NONE = 0,
	WEIR_END_CLOSED = 1, /* FIN both ways or RST */
	WEIR_END_EXPIRED = 2,
};

struct weir_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u8 type;     /* enum weir_event_type */
	__u8 reason;   /* drop: enum weir_drop_reason; end: enum weir_event_end */
	__u8 family;   /* 4 or 6 */
	__u8 proto;
	__u8 hook;     /* enum weir_hook, where it was seen */
	__u8 ct_flags; /* enum weir_ct_flags */
	__u8 ct_kind;  /* enum weir_ct_kind */
	__u8 tcp_flags;
	struct weir_addr saddr; /* as sent by the originator */
	struct weir_addr daddr;
	struct weir_addr nat_saddr; /* as delivered; equal where nothing is translated */
	struct weir_addr nat_daddr;
	__be16 sport, dport, nat_sport, nat_dport;
	__u32 service; /* index in weir_services, 0: none */
	__u32 backend;
	__u32 endpoint[2]; /* local source and destination */
	__u32 ifindex;
	union {
		__u32 length;	   /* drop: bytes of the packet */
		__u32 egress_rule; /* start: WEIR_EVENT_RULE that let it out of its source */
	};
	union {
		__u32 duration; /* end: ticks from start to last packet */
		__u32 rule;	/* drop by policy, and start: WEIR_EVENT_RULE that kept it from its
				   destination or let it in; of a drop, for either end */
	};
	__u32 suppressed; /* drops like this one not reported since the last that was */
};
WEIR_ABI_VALUE(struct weir_event, 120);

/* A policy rule by its set and its number in there; 0: none. */
#define WEIR_EVENT_RULE(set, number) ((__u32)(__u16)(set) << 16 | (__u16)(number))
#define WEIR_EVENT_RULE_SET(rule)    ((__u16)((rule) >> 16))
#define WEIR_EVENT_RULE_NUMBER(rule) ((__u16)(rule))

/* A record of the ring buffer: 8 bytes of its own and an event. */
#define WEIR_EVENT_BYTES 128
/* The reader is woken when the next of so many pieces of the buffer is begun, and by the sweep. */
#define WEIR_EVENT_PIECES 8

/* Per-CPU packets and bytes, indexed by reason and direction (weir_drops). */
struct weir_count {
	__u64 packets;
	__u64 bytes;
};
WEIR_ABI_VALUE(struct weir_count, 16);

enum weir_direction {
	WEIR_FROM_POD = 0,
	WEIR_TO_POD = 1,
	WEIR_FROM_OUTSIDE = 2,
	WEIR_FROM_HOST = 3,
	WEIR_DIRECTIONS = 4,
};

/* Token bucket of drop events, one a reason: a flood of drops costs few events. */
struct weir_bucket {
	__u64 refilled_ns;
	__u32 tokens;
	__u32 suppressed;
};
WEIR_ABI_VALUE(struct weir_bucket, 16);
#define WEIR_DROP_EVENTS_BURST	    64
#define WEIR_DROP_EVENTS_PER_SECOND 64

enum weir_drop_reason {
#define WEIR_DROP(name, label, text) WEIR_DROP_##name,
#include "drop_reasons.def"
#undef WEIR_DROP
	WEIR_DROP_REASONS,
};

enum weir_counter {
#define WEIR_COUNTER(name, metric, text) WEIR_COUNTER_##name,
#include "counters.def"
#undef WEIR_COUNTER
	WEIR_COUNTERS,
};

#endif
