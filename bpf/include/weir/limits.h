/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Versions, fixed sizes and index assignments known to both sides. */
#ifndef WEIR_LIMITS_H
#define WEIR_LIMITS_H

/* Part of the pin path: maps of another layout are never adopted by mistake. */
#define WEIR_ABI_VERSION 1

/* Unit of all stored times: bpf_ktime_get_coarse_ns() >> WEIR_TICK_SHIFT, about 1.07 s. */
#define WEIR_TICK_SHIFT 30

/* Established connections: shards of one hash each; one is swept at a time (ct.h). */
#define WEIR_CT_SHARDS 64

/* Time between two shards of the in-kernel sweep: every shard of both families in about 13 s. */
#define WEIR_SWEEP_INTERVAL_NS 100000000ULL

/*
 * Words of weir_node_ports: bit `port & 63` of word `port >> 6` is set before a Service answers on
 * that number, and stays: flows may outlive the Service.
 */
#define WEIR_NODE_PORT_WORDS 1024

/* Headers the parser walks over before it gives up (counted as a drop or left to the host stack).
 */
#define WEIR_MAX_EXT_HEADERS 6

/* Ports tried by one SNAT allocation before it is counted as exhausted. */
#define WEIR_SNAT_TRIES 32

/*
 * Slots of the program array. The permanent stub on a hook jumps to its hook's slot; a program
 * reaches its own further stages in the bank of its own build, so that two builds never mix stages
 * while one takes over from the other.
 */
enum weir_hook {
	WEIR_HOOK_POD_FROM = 0, /* host side of a pod's veth, ingress: from the pod */
	WEIR_HOOK_POD_TO = 1,	/* host side of a pod's veth, egress: sent to the pod by the host */
	WEIR_HOOK_DEV_IN = 2,	/* external device and weir_vxlan, ingress */
	WEIR_HOOK_DEV_OUT = 3,	/* these, weir0 and (hooks off) lo, egress: from the host */
	WEIR_HOOK_COUNT = 4,
};

enum weir_stage {
	WEIR_STAGE_NEW_FLOW = 0,   /* no tracked flow: select, translate, track */
	WEIR_STAGE_ICMP_ERROR = 1, /* an ICMP error about a flow that we may have translated */
	WEIR_STAGE_REJECT = 2,	   /* answer with ICMP port unreachable or TCP RST */
	WEIR_STAGE_FRAGMENT = 3,   /* fragments: find or remember the ports */
	WEIR_STAGE_NEIGHBOUR = 4,  /* ARP and neighbour discovery from a pod */
	WEIR_STAGE_POLICY = 5,	   /* a tracked flow whose policies have changed */
	WEIR_STAGE_COUNT = 8,
};

#define WEIR_BANKS 2
/* Each (bank, hook) has its own copies of the stages: a stage is compiled into its hook's object.
 */
#define WEIR_STAGE_SLOT(bank, hook, stage)                                                         \
	(WEIR_HOOK_COUNT + ((bank) * WEIR_HOOK_COUNT + (hook)) * WEIR_STAGE_COUNT + (stage))
#define WEIR_PROG_SLOTS WEIR_STAGE_SLOT(WEIR_BANKS, 0, 0)

/* The network that encapsulated packets belong to; a tunnel key without it is not of ours. */
#define WEIR_OVERLAY_VNI 0x57

/* skb->mark of packets that deliver_local() has already policed and translated. */
#define WEIR_MARK_DELIVERED 0x57000000
#define WEIR_MARK_MASK	    0xff000000

#endif
