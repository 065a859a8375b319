/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map, once: WEIR_MAP(name, what for). Definitions are in bpf/lib/maps.h; the names here are
 * those of the pins below <bpffs>/weir/v<WEIR_ABI_VERSION>/maps/.
 */
#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#define WEIR_MAP_LIST(WEIR_MAP)                                                                    \
	WEIR_MAP(weir_ct4, "established flows, IPv4, sharded")                                     \
	WEIR_MAP(weir_ct6, "established flows, IPv6, sharded")                                     \
	WEIR_MAP(weir_ct_counts, "established flows by hash")                                      \
	WEIR_MAP(weir_half4, "flows without a reply yet, IPv4")                                    \
	WEIR_MAP(weir_half6, "flows without a reply yet, IPv6")                                    \
	WEIR_MAP(weir_frags, "ports of fragmented datagrams")                                      \
	WEIR_MAP(weir_vips, "Service addresses and ports")                                         \
	WEIR_MAP(weir_services, "Service ports")                                                   \
	WEIR_MAP(weir_slots, "slots of all Services")                                              \
	WEIR_MAP(weir_backends, "backends")                                                        \
	WEIR_MAP(weir_ranges, "clients that load-balancer addresses admit")                        \
	WEIR_MAP(weir_affinity, "backends that clients of ClientIP affinity have had")             \
	WEIR_MAP(weir_node_ports, "numbers that NodePorts and hostPorts have had")                 \
	WEIR_MAP(weir_socks, "sockets translated at connect or sendmsg")                           \
	WEIR_MAP(weir_sock_marks, "sockets that may be among them")                                \
	WEIR_MAP(weir_endpoints, "local pods")                                                     \
	WEIR_MAP(weir_pods, "local pods by address")                                               \
	WEIR_MAP(weir_devices, "devices by index")                                                 \
	WEIR_MAP(weir_node_addrs, "addresses of this host")                                        \
	WEIR_MAP(weir_netns, "network namespaces the socket hooks serve")                          \
	WEIR_MAP(weir_cidrs, "Service, pod and exception ranges")                                  \
	WEIR_MAP(weir_peers, "other nodes by their ranges and addresses")                          \
	WEIR_MAP(weir_drops, "drops by reason and direction")                                      \
	WEIR_MAP(weir_counters, "other counters")                                                  \
	WEIR_MAP(weir_buckets, "token buckets of drop events")                                     \
	WEIR_MAP(weir_events, "flow events")                                                       \
	WEIR_MAP(weir_sweep, "the sweep's timer")                                                  \
	WEIR_MAP(weir_progs, "programs behind the stubs")

/*
 * Those of policy, which each load of the programs has of its own (bpf/lib/policy_maps.h). Their
 * pins end in the bank of the programs: <name>_0, <name>_1.
 */
#define WEIR_POLICY_MAP_LIST(WEIR_MAP)                                                             \
	WEIR_MAP(weir_policy_addrs, "addresses that policies tell apart")                          \
	WEIR_MAP(weir_policy_cidrs, "ranges that policies tell apart")                             \
	WEIR_MAP(weir_policy_slots, "what these are to policies")                                  \
	WEIR_MAP(weir_policy_rows, "what policies say of each")                                    \
	WEIR_MAP(weir_policy_cells, "ranges of ports of these")                                    \
	WEIR_MAP(weir_policy_rules, "rules of all policy sets")                                    \
	WEIR_MAP(weir_policy_sets, "policy sets")                                                  \
	WEIR_MAP(weir_policy_hits, "hits of policy rules")

#endif
