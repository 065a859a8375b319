/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Local pods, devices and addresses. */
#ifndef WEIR_ENDPOINT_H
#define WEIR_ENDPOINT_H

#include "limits.h"
#include "types.h"

enum weir_endpoint_flags {
	WEIR_EP_IN_USE = 1 << 0,
	WEIR_EP_SOCK_OFF = 1 << 1, /* its namespace opted out of the socket hooks */
	/* `generation` and `policy` are in the element. Builds without policies left it unset: they
	 * had a generation of 32 bits in the upper half of policy[0], and zeros in the rest. */
	WEIR_EP_POLICED = 1 << 2,
};

/*
 * A pod of this node, array by endpoint id (1...). The filters on its veth carry the id as their
 * classid. An address check (addr against the packet's) tells whether an id held elsewhere is
 * stale.
 */
struct weir_endpoint {
	struct weir_addr addr[2]; /* [0] IPv4 (v4-mapped), [1] IPv6; zero: none */
	__u32 ifindex;		  /* host side of the veth */
	__u32 flags;		  /* enum weir_endpoint_flags */
	__u8 mac[6];		  /* of the pod's own interface */
	__u16 generation;	  /* grows each time the id is given to another pod */
	__u64 policy[WEIR_BANKS]; /* WEIR_POLICY_WORD, for the programs of either bank */
};
WEIR_ABI_VALUE(struct weir_endpoint, 64);

/* Address -> endpoint id. The endpoint's own addr is the check against a recycled element. */
struct weir_pod_ref {
	__u32 endpoint;
};
WEIR_ABI_VALUE(struct weir_pod_ref, 4);

/* An external device, by ifindex; also the fallback from a veth's ifindex to its endpoint. */
enum weir_device_kind {
	WEIR_DEV_EXTERNAL = 1,
	WEIR_DEV_POD = 2,
	WEIR_DEV_HOST = 3,    /* weir0 */
	WEIR_DEV_OVERLAY = 4, /* weir_vxlan */
};

struct weir_device {
	struct weir_addr addr[2]; /* SNAT source by family; zero: none */
	__u32 kind;		  /* enum weir_device_kind */
	__u32 endpoint;		  /* of WEIR_DEV_POD */
	__u32 mtu;
	__u8 mac[6];
	__u8 l3; /* 1: no link-layer header */
	__u8 pad;
	__u32 spare[3];
};
WEIR_ABI_VALUE(struct weir_device, 64);

/* Network namespaces that the socket hooks serve, by their cookie. */
struct weir_netns {
	__u32 endpoint; /* 0: the host */
	__u32 flags;	/* enum weir_endpoint_flags */
};
WEIR_ABI_VALUE(struct weir_netns, 8);

/* Longest-prefix table of address ranges that matter to new flows only. prefix: 0..128. */
struct weir_cidr_key {
	__u32 prefixlen;
	struct weir_addr addr;
};
WEIR_ABI_KEY(struct weir_cidr_key, 20);

enum weir_cidr_flags {
	WEIR_CIDR_SERVICE =
		1 << 0,		/* ClusterIPs come from here: a miss is refused, never forwarded */
	WEIR_CIDR_POD = 1 << 1, /* pods of this cluster: no masquerade */
	WEIR_CIDR_NO_MASQ = 1 << 2,    /* configured exceptions */
	WEIR_CIDR_LOCAL_PODS = 1 << 3, /* this node's own pod range: a miss is not forwarded */
};

/*
 * Another node, by what it owns: its pod ranges and its own addresses (keyed by weir_cidr_key).
 * Packets to its pods go to `outer`, and what comes encapsulated from it says so of itself.
 */
enum weir_peer_flags {
	WEIR_PEER_NODE = 1 << 0, /* the prefix is an address of the node itself */
};

struct weir_peer {
	struct weir_addr outer; /* where the node takes encapsulated packets */
	struct weir_addr local; /* this node's address of that family; zero: the kernel's choice */
	__u32 flags;		/* enum weir_peer_flags */
	__u32 spare;
};
WEIR_ABI_VALUE(struct weir_peer, 40);

/* Flags of an address of this host (weir_node_addrs). */
enum weir_node_addr_flags {
	WEIR_NODE_ADDR_NODEPORT = 1 << 0, /* NodePorts answer on it */
};

#endif
