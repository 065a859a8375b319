/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map that crosses an object's boundary (weir/maps.h names them; they are pinned and shared).
 * Each comment says: key -> value; who writes; who reads; how long an element lives; how the size
 * here came about. Sizes are defaults: the loader may set max_entries before load, never
 * afterwards.
 *
 * Arrays that user space changes under readers are BPF_F_MMAPABLE: a store through the mapping is
 * one store, where an update by the system call is a memcpy that a reader may see half done.
 */
#ifndef WEIR_LIB_MAPS_H
#define WEIR_LIB_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "progs.h"
#include "weir/config.h"
#include "weir/ct.h"
#include "weir/endpoint.h"
#include "weir/event.h"
#include "weir/lb.h"
#include "weir/limits.h"
#include "weir/maps.h"
#include "weir/types.h"

/* --- connection tracking --- */

/*
 * One shard. The inner maps of weir_ct4/weir_ct6 have exactly this shape, but for max_entries.
 * Sizes and not types: Linux 6.1 takes a map without BTF, as the loader makes them, for another
 * kind than one with BTF.
 */
struct weir_ct4_shard {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__uint(key_size, sizeof(struct weir_ct_key4));
	__uint(value_size, sizeof(struct weir_ct));
};

struct weir_ct6_shard {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__uint(key_size, sizeof(struct weir_ct_key6));
	__uint(value_size, sizeof(struct weir_ct));
};

/*
 * WEIR_CT_SHARD(weir_ct_hash4(key)) -> hash of tuple -> flow. The loader fills all 64 elements
 * once, before anything is attached, and never replaces one. Elements: written by tc on the first
 * reply, refreshed by tc once a tick, deleted by the sweep (and by user space, to end a flow); read
 * by tc and the CLI. 64 shards of 8192 make 512k entries a family; a translated flow takes two.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, WEIR_CT_SHARDS);
	__type(key, __u32);
	__array(values, struct weir_ct4_shard);
} weir_ct4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, WEIR_CT_SHARDS);
	__type(key, __u32);
	__array(values, struct weir_ct6_shard);
} weir_ct6 SEC(".maps");

/*
 * Hash of tuple -> how many established entries have it, sixteen to a word, the families one after
 * the other. tc only; the loader sets it once, before anything is attached. Half a megabyte a
 * family: small enough for caches that the table itself is too large for, and at 131,072 entries
 * seven of eight hashes that none has are known for that.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * WEIR_CT_COUNT_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} weir_ct_counts SEC(".maps");

/*
 * Tuple -> flow that no reply was seen of. Written and read by tc; leaves on promotion, or when
 * newer flows push it out. Sized for what may be half open at once; preallocated (10 and 12 MB).
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct weir_ct_key4);
	__type(value, struct weir_ct);
} weir_half4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct weir_ct_key6);
	__type(value, struct weir_ct);
} weir_half6 SEC(".maps");

/*
 * Datagram (addresses as the hook saw them, id, protocol) -> ports of its first fragment. tc only;
 * dead after WEIR_FRAG_LIFETIME_TICKS or when pushed out. Sized for datagrams in flight.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct weir_frag_key);
	__type(value, struct weir_frag);
} weir_frags SEC(".maps");

/* --- Services --- */

/*
 * VIP, port, protocol, scope -> Service index. Written by the agent (insert and delete only), read
 * by tc and the socket hooks. Also one marker for each ClusterIP, {address, 0, 0, SERVICE}: tells
 * an unknown port of a Service from an address of none. Not preallocated: memory follows use.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct weir_vip_key);
	__type(value, struct weir_vip);
} weir_vips SEC(".maps");

/* Service index (1...) -> extents and flags. Agent writes by mapping; tc and socket hooks read. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct weir_service);
} weir_services SEC(".maps");

/*
 * Slot (1...) -> a backend, where it listens, and the tag of its extent. As above. Two scopes of
 * 100k endpoints, with room for old extents that wait for their grace period.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 524288);
	__type(key, __u32);
	__type(value, struct weir_slot);
} weir_slots SEC(".maps");

/*
 * Backend index (1...) -> address, port, state. As above; read for flows that exist, once a tick,
 * and for datagrams of sockets that have chosen.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 131072);
	__type(key, __u32);
	__type(value, struct weir_backend);
} weir_backends SEC(".maps");

/*
 * Port number / 64 -> 64 bits, set for numbers that were ever NodePorts or hostPorts here. Agent
 * writes by mapping, before the VIP; tc and socket hooks ask for numbers outside of the NodePort
 * range.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WEIR_NODE_PORT_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} weir_node_ports SEC(".maps");

/*
 * Service index and client prefix -> enum weir_range_verdict. Agent writes (an element is put
 * before any address needs it); tc and socket hooks read for new flows to addresses with source
 * ranges.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct weir_range_key);
	__type(value, __u32);
} weir_ranges SEC(".maps");

/*
 * Service port and client -> its backend, of Services with ClientIP affinity. Written and read by
 * tc and the socket hooks for new flows. Lives until pushed out.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct weir_affinity_key);
	__type(value, struct weir_affinity);
} weir_affinity SEC(".maps");

/*
 * Socket cookie and backend -> the VIP it asked for. Written by the socket hooks; read by them and
 * by tc, once a flow. Lives until pushed out.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct weir_sock_key);
	__type(value, struct weir_sock);
} weir_socks SEC(".maps");

/*
 * Row of socket cookies -> who of them may be in weir_socks (weir/lb.h). Written by the socket
 * hooks; read by tc, once a flow, in place of a lookup for each socket that never asked for a
 * Service. 128 kB: half a million sockets in a row, and those of now next to each other.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WEIR_SOCK_MARK_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} weir_sock_marks SEC(".maps");

/* --- this host --- */

/* Endpoint id (1...) -> pod. Agent writes (ADD, DEL, policy); tc reads. One a pod of this node. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct weir_endpoint);
} weir_endpoints SEC(".maps");

/* Pod address -> endpoint id. Agent writes; tc reads for new flows. Two a pod. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct weir_addr);
	__type(value, struct weir_pod_ref);
} weir_pods SEC(".maps");

/* Interface index -> device. Agent writes; tc reads. All pods' veths and all external devices. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct weir_device);
} weir_devices SEC(".maps");

/* Address of this host -> enum weir_node_addr_flags. Agent writes; tc and socket hooks read. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct weir_addr);
	__type(value, __u32);
} weir_node_addrs SEC(".maps");

/* Network namespace cookie -> whose it is. Agent writes; socket hooks read. One a pod. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct weir_netns);
} weir_netns SEC(".maps");

/* Prefix -> enum weir_cidr_flags. Agent writes; tc reads for new flows. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct weir_cidr_key);
	__type(value, __u32);
} weir_cidrs SEC(".maps");

/*
 * Prefix -> the other node that owns it. Agent writes; tc reads, once a packet, on weir_vxlan only.
 * Up to four a node: its pod ranges and its addresses.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct weir_cidr_key);
	__type(value, struct weir_peer);
} weir_peers SEC(".maps");

/* --- what people see --- */

/* reason * WEIR_DIRECTIONS + direction -> packets and bytes. Programs write; agent and CLI read. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256 * WEIR_DIRECTIONS);
	__type(key, __u32);
	__type(value, struct weir_count);
} weir_drops SEC(".maps");

/* enum weir_counter -> count. Room for counters of later builds that adopt the map. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} weir_counters SEC(".maps");

/* Drop reason -> token bucket of its events, one a CPU so that no lock is needed. Programs only. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct weir_bucket);
} weir_buckets SEC(".maps");

/* struct weir_event records. Programs write, the agent drains; full: lost and counted. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} weir_events SEC(".maps");

/* --- machinery --- */

/*
 * 0 -> the sweep's timer and its figures (user space reads struct weir_sweep_stats after the
 * timer's 16 bytes). The timer lives as long as the map is pinned, whoever started it.
 */
struct weir_sweep_slot {
	struct bpf_timer timer;
	struct weir_sweep_stats stats;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_sweep_slot);
} weir_sweep SEC(".maps");

#endif
