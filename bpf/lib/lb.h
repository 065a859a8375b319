/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Service lookup and backend selection: what every hook uses. It touches neither packet nor socket,
 * and writes nothing but which backend a client of a Service with affinity has had. The rules that
 * make it safe against a writer are in weir/lb.h.
 */
#ifndef WEIR_LIB_LB_H
#define WEIR_LIB_LB_H

#include "addr.h"
#include "config.h"
#include "count.h"
#include "maps.h"
#include "tick.h"

enum lb_verdict {
	LB_MISS = 0,	     /* no Service has this address and port */
	LB_FOUND = 1,	     /* lb_choice is filled */
	LB_NO_ENDPOINT = 2,  /* refuse: no usable endpoint anywhere */
	LB_NO_LOCAL = 3,     /* drop: policy Local, and the usable endpoints are elsewhere */
	LB_RACE = 4,	     /* drop: the tables changed twice under the lookup */
	LB_SOURCE_RANGE = 5, /* drop: the Service does not admit this client */
	LB_CLIENT = 6,	     /* who asks decides: lb_lookup_for() goes on, else refuse */
};

struct lb_choice {
	struct weir_addr addr; /* of the backend */
	__be16 port;
	__u16 pad;
	__u32 service; /* index; set from LB_NO_ENDPOINT on, too */
	__u32 backend;
	__u32 vip_flags;	  /* enum weir_vip_flags */
	__u32 service_flags;	  /* enum weir_service_flags */
	__u32 service_generation; /* to notice that the index was given away */
};

/*
 * A vips element by key, checked against recycling: the element found may have become another
 * key's before its value was read.
 */
static __always_inline bool vip_find(const struct weir_vip_key *key, struct weir_vip *out,
				     bool *torn)
{
	for (int try = 0; try < 2; try++) {
		struct weir_vip *vip = bpf_map_lookup_elem(&weir_vips, key);

		if (!vip)
			return false;
		*out = *(volatile struct weir_vip *)vip;
		if (out->check == weir_vip_check(key, out->service, out->flags))
			return true;
		count(SERVICE_RETRY);
	}
	*torn = true;
	return false;
}

/* Is the address a ClusterIP (of whatever port)? Asked only once an exact lookup has missed. */
static __always_inline bool vip_is_cluster_ip(const struct weir_addr *addr)
{
	struct weir_vip_key key = {.addr = *addr, .scope = WEIR_VIP_SERVICE};

	return bpf_map_lookup_elem(&weir_vips, &key);
}

/*
 * May this number be a NodePort or hostPort? A Service may keep a NodePort from outside of the
 * range, and a hostPort has any number.
 */
static __always_inline bool nodeport_number(__be16 port)
{
	__u16 number = bpf_ntohs(port);
	__u32 word = number >> 6;
	__u64 *bits;

	if (number >= cfg.nodeport_min && number <= cfg.nodeport_max)
		return true;
	bits = bpf_map_lookup_elem(&weir_node_ports, &word);
	return bits && *bits >> (number & 63) & 1;
}

/* May this address and port be a NodePort of this host? */
static __always_inline bool nodeport_candidate(const struct weir_addr *addr, __be16 port)
{
	__u32 *flags;

	if (!nodeport_number(port))
		return false;
	flags = bpf_map_lookup_elem(&weir_node_addrs, addr);
	return flags && (*flags & WEIR_NODE_ADDR_NODEPORT);
}

static __always_inline enum weir_extent_scope lb_scope(__u32 vip_flags, __u32 service_flags,
						       bool near)
{
	__u32 policy =
		vip_flags & WEIR_VIP_EXTERNAL ? WEIR_SVC_EXTERNAL_LOCAL : WEIR_SVC_INTERNAL_LOCAL;

	/* External traffic that starts on this node is load-balanced as if it were internal. */
	if (vip_flags & WEIR_VIP_EXTERNAL && near)
		return WEIR_SCOPE_CLUSTER;
	return service_flags & policy ? WEIR_SCOPE_LOCAL : WEIR_SCOPE_CLUSTER;
}

/* A slot of an extent. LB_RACE: it is another extent's by now. */
static __always_inline enum lb_verdict lb_take(__u64 extent, __u32 place, struct lb_choice *choice)
{
	__u32 index = WEIR_EXTENT_FIRST(extent) + place;
	struct weir_slot *slot = bpf_map_lookup_elem(&weir_slots, &index);
	__u64 word;

	if (!slot)
		return LB_RACE;
	word = *(volatile __u64 *)&slot->backend; /* and tag, at once */
	if ((word >> 32) != WEIR_EXTENT_TAG(extent) || !(__u32)word)
		return LB_RACE;
	choice->backend = (__u32)word;
	choice->addr = slot->addr;
	choice->port = slot->port;
	barrier();
	return *(volatile __u64 *)&slot->backend == word ? LB_FOUND : LB_RACE;
}

static __always_inline enum lb_verdict lb_pick(__u64 extent, struct lb_choice *choice)
{
	__u64 random = bpf_get_prandom_u32();

	return lb_take(extent, (__u32)(random * WEIR_EXTENT_COUNT(extent) >> 32), choice);
}

/* The slot of this backend, by halving: slots of an extent ascend by backend. */
static __always_inline enum lb_verdict lb_find(__u64 extent, __u32 backend,
					       struct lb_choice *choice)
{
	__u32 place = 0, left = WEIR_EXTENT_COUNT(extent);

	for (int i = 0; i < WEIR_EXTENT_COUNT_BITS && left > 1; i++) {
		__u32 half = left / 2, index = WEIR_EXTENT_FIRST(extent) + place + half;
		struct weir_slot *slot = bpf_map_lookup_elem(&weir_slots, &index);

		if (!slot)
			return LB_RACE;
		if (*(volatile __u32 *)&slot->backend <= backend)
			place += half;
		left -= half;
	}
	if (lb_take(extent, place, choice) != LB_FOUND || choice->backend != backend)
		return LB_RACE;
	return LB_FOUND;
}

#define NS_PER_SECOND 1000000000ULL

/* The backend that this client has had lately, if it still serves; else any. Remembers it. */
static __always_inline enum lb_verdict lb_pick_for(const struct weir_addr *client, __u64 extent,
						   __u32 seconds, struct lb_choice *choice)
{
	struct weir_affinity_key key = {.service = choice->service,
					.generation = choice->service_generation,
					.client = *client};
	struct weir_affinity *kept = bpf_map_lookup_elem(&weir_affinity, &key);
	struct weir_affinity now = {.used = tick_now()}, was = {};

	if (kept)
		*(__u64 *)&was = *(volatile __u64 *)kept;
	if (!was.backend ||
	    (__u64)(now.used - was.used) << WEIR_TICK_SHIFT >= seconds * NS_PER_SECOND ||
	    lb_find(extent, was.backend, choice) != LB_FOUND) {
		if (lb_pick(extent, choice) != LB_FOUND)
			return LB_RACE;
	}
	now.backend = choice->backend;
	if ((now.backend != was.backend || now.used != was.used) && writes_allowed())
		bpf_map_update_elem(&weir_affinity, &key, &now, BPF_ANY);
	return LB_FOUND;
}

/* `client` NULL: not known yet. */
static __always_inline enum lb_verdict lb_select(const struct weir_addr *client, bool near,
						 struct lb_choice *choice)
{
	__u32 index = choice->service; /* on the stack: see __global */
	struct weir_service *service = bpf_map_lookup_elem(&weir_services, &index);
	enum lb_verdict verdict;
	__u64 extent;

	if (!service || !index)
		return LB_RACE;
	for (int try = 0; try < 2; try++) {
		choice->service_flags = *(volatile __u32 *)&service->flags;
		choice->service_generation = service->generation;
		extent =
			*(volatile __u64 *)&service
				 ->extent[lb_scope(choice->vip_flags, choice->service_flags, near)];
		/* Flags that changed meanwhile may be those of another list than the one read. */
		if (*(volatile __u32 *)&service->flags != choice->service_flags)
			verdict = LB_RACE;
		else if (!WEIR_EXTENT_COUNT(extent))
			return choice->service_flags & WEIR_SVC_ANY_ENDPOINT ? LB_NO_LOCAL
									     : LB_NO_ENDPOINT;
		else if (!(choice->service_flags & WEIR_SVC_AFFINITY))
			verdict = lb_pick(extent, choice);
		else if (!client)
			return LB_CLIENT;
		else
			verdict = lb_pick_for(client, extent, service->affinity_seconds, choice);
		if (verdict == LB_FOUND)
			return LB_FOUND;
		count(SERVICE_RETRY);
	}
	return LB_RACE;
}

/*
 * The Service behind (addr, port, proto), and a backend of it. `near`: the client is a pod of this
 * node or the host itself. Service addresses come before NodePorts.
 */
__noinline int lb_lookup(const struct weir_addr *addr, __be16 port, __u8 proto, bool near,
			 struct lb_choice *choice)
{
	struct weir_vip_key key = {.port = port, .proto = proto, .scope = WEIR_VIP_SERVICE};
	bool torn = false, found;
	struct weir_vip vip;

	if (!addr || !choice) /* never; the function is verified by itself */
		return LB_RACE;
	key.addr = *addr;
	found = vip_find(&key, &vip, &torn);
	if (!found && !torn && nodeport_candidate(&key.addr, port)) {
		key.scope = WEIR_VIP_NODEPORT;
		if (key.addr.w[2] == WEIR_V4_PREFIX && !key.addr.w[1] && !key.addr.w[0])
			key.addr.w[3] = 0;
		else
			__builtin_memset(&key.addr, 0, sizeof(key.addr));
		found = vip_find(&key, &vip, &torn);
	}
	if (!found)
		return torn ? LB_RACE : LB_MISS;
	choice->service = vip.service;
	choice->vip_flags = vip.flags;
	if (vip.flags & WEIR_VIP_SOURCE_RANGES)
		return LB_CLIENT;
	return lb_select(NULL, near, choice);
}

/*
 * Goes on where lb_lookup() returned LB_CLIENT: does the Service admit this client, and which
 * backend has it had? The unspecified address stands for this host (weir/lb.h). Never LB_CLIENT.
 */
__noinline int lb_lookup_for(const struct weir_addr *client, bool near, struct lb_choice *choice)
{
	struct weir_range_key key = {.prefixlen = WEIR_RANGE_SERVICE_BITS + 128};
	struct weir_addr who;
	__u32 *verdict;

	if (!client || !choice) /* never; the function is verified by itself */
		return LB_RACE;
	who = *client;
	if (choice->vip_flags & WEIR_VIP_SOURCE_RANGES) {
		key.service = choice->service;
		key.addr = who;
		verdict = bpf_map_lookup_elem(&weir_ranges, &key);
		if (!verdict || *verdict != WEIR_RANGE_ADMIT)
			return LB_SOURCE_RANGE;
	}
	return lb_select(&who, near, choice);
}

#endif
