/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Configuration of a load of the programs: `const volatile` read-only data, set before load, so
 * that the verifier removes what is switched off. To change it, load again and swap.
 */
#ifndef WEIR_CONFIG_H
#define WEIR_CONFIG_H

#include "types.h"

enum weir_config_flags {
	WEIR_CFG_SOCK_PODS = 1 << 0, /* the socket hooks serve pods */
	WEIR_CFG_SOCK_HOST = 1 << 1, /* the socket hooks serve host processes */
	WEIR_CFG_MASQ4 = 1 << 2,     /* masquerade pods that leave, IPv4 */
	WEIR_CFG_MASQ6 = 1 << 3,
	WEIR_CFG_FLOW_EVENTS = 1 << 4,	 /* emit flow start and end events */
	WEIR_CFG_DRY_RUN = 1 << 5,	 /* an unattached instance: write nothing to shared maps */
	WEIR_CFG_REDIRECT_PEER = 1 << 6, /* the kernel offers bpf_redirect_peer on veth */
};

/* Lifetimes of tracked flows, in ticks (WEIR_TICK_SHIFT). */
struct weir_timeouts {
	__u32 tcp_syn; /* half open */
	__u32 tcp_established;
	__u32 tcp_closing; /* FIN or RST seen */
	__u32 udp_new;	   /* one way so far */
	__u32 udp_established;
	__u32 icmp;
	__u32 sctp_new;
	__u32 sctp_established;
	__u32 other;
	__u32 pad;
};
WEIR_ABI_VALUE(struct weir_timeouts, 40);

struct weir_config {
	__u32 flags;	    /* enum weir_config_flags */
	__u32 bank;	    /* 0 or 1: where this build keeps its stages */
	__u32 host_ifindex; /* weir0 */
	__u16 nodeport_min; /* host byte order, both inclusive */
	__u16 nodeport_max;
	__u16 snat_min; /* source ports of translated flows; reserved with the host */
	__u16 snat_max;
	__u32 event_wake_mask; /* bytes of a piece of weir_events less one (WEIR_EVENT_PIECES) */
	__u64 host_netns_cookie;
	struct weir_addr
		router[2]; /* weir0's own addresses, [0] IPv4, [1] IPv6; zero: family off */
	struct weir_addr gateway[2]; /* the pods' next hop: link-local, the same on every veth */
	__u8 host_mac[6];	     /* MAC of the host side of every pod's veth */
	__u16 overlay_port;	     /* UDP, host byte order; 0: none */
	struct weir_timeouts timeout;
	__u32 overlay_ifindex; /* weir_vxlan; 0: there is none */
	__u32 pad;
};
WEIR_ABI_VALUE(struct weir_config, 152);

#endif
