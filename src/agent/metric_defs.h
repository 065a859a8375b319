// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

/// Every metric but those of counters.def, once: what is registered and what docs/metrics.md says
/// come from this table. Internal to the metrics.
namespace weir::metrics {

enum class Type : unsigned char { kCounter, kGauge, kHistogram };

struct Definition {
    std::string_view name;
    Type type;
    std::string_view labels;  ///< for the reference
    std::string_view help;
};

enum Id : unsigned char {
    kBuildInfo,
    kReady,
    kDroppedPackets,
    kDroppedBytes,
    kTableEntries,
    kTableCapacity,
    kTableBytes,
    kIpamAddresses,
    kIpamCapacity,
    kProblems,
    kPods,
    kPolicies,
    kPodsClosed,
    kPodsLate,
    kServices,
    kBackends,
    kFlowReaders,
    kFlowReaderLost,
    kApiRefused,
    kProgramming,
    kNetworkProgramming,
    kCniRequests,
    kCniSeconds,
    kResident,
    kCpuSeconds,
    kKubeConnected,
    kKubeSynced,
    kKubeSilence,
    kKubeLag,
    kKubeLists,
    kKubeWatches,
    kKubeEvents,
    kKubeBytes,
    kKubeFailures,
    kKubeRefused,
    kKubeLeader,
    kKubeNotes,
    kIdCount,
};

inline constexpr Definition kDefinitions[] = {
    {"weir_build_info", Type::kGauge, "version, commit", "1, with the build as labels."},
    {"weir_ready", Type::kGauge, "", "1 if the agent is ready, as /readyz says."},
    {"weir_dropped_packets_total", Type::kCounter, "reason, direction",
     "Packets dropped; reasons are in drop-reasons.md."},
    {"weir_dropped_bytes_total", Type::kCounter, "reason, direction", "Bytes of dropped packets."},
    {"weir_table_entries", Type::kGauge, "table", "Entries in a kernel table."},
    {"weir_table_capacity", Type::kGauge, "table", "Entries a kernel table can hold."},
    {"weir_table_memory_bytes", Type::kGauge, "table", "Kernel memory of a table."},
    {"weir_ipam_addresses", Type::kGauge, "family, state",
     "Pod addresses in use, or released a moment ago and not given out yet (cooling)."},
    {"weir_ipam_capacity", Type::kGauge, "family", "Addresses that pods of this node can have."},
    {"weir_problems", Type::kGauge, "kind", "Objects that could not be used, by kind."},
    {"weir_pods", Type::kGauge, "", "Pods wired on this node."},
    {"weir_policies", Type::kGauge, "", "NetworkPolicies and ClusterNetworkPolicies known."},
    {"weir_pods_closed", Type::kGauge, "",
     "Pods of this node to and from which nothing passes: their policies are not known, or do not "
     "fit into the tables."},
    {"weir_pods_late_total", Type::kCounter, "",
     "Pods that started before their policies were known."},
    {"weir_service_ports", Type::kGauge, "", "Service ports in the kernel tables."},
    {"weir_backends", Type::kGauge, "", "Backends in the kernel tables."},
    {"weir_flow_readers", Type::kGauge, "", "Readers that follow the flow records."},
    {"weir_flow_reader_lost_total", Type::kCounter, "",
     "Flow records that a reader was too slow for."},
    {"weir_api_refused_total", Type::kCounter, "reason",
     "Requests to the local API and the metrics listener that were not served: permission, "
     "malformed, too_large, timeout, or connections (too many of them)."},
    {"weir_programming_duration_seconds", Type::kHistogram, "",
     "Time from the event of an object to the kernel tables."},
    {"kubeproxy_network_programming_duration_seconds", Type::kHistogram, "",
     "Time from the change of a Service's endpoints, as the cluster stamped it, to the kernel "
     "tables."},
    {"weir_cni_requests_total", Type::kCounter, "command, code",
     "Requests of the container runtime by error code of the CNI specification; 0 is success."},
    {"weir_cni_request_duration_seconds", Type::kHistogram, "command",
     "Time a request of the container runtime took in the agent."},
    {"process_resident_memory_bytes", Type::kGauge, "", "Resident memory of the agent."},
    {"process_cpu_seconds_total", Type::kCounter, "", "CPU time of the agent."},
    {"weir_kube_connected", Type::kGauge, "kind", "1 while a watch of the kind is open."},
    {"weir_kube_synced", Type::kGauge, "kind", "1 once all objects of the kind have been read."},
    {"weir_kube_silence_seconds", Type::kGauge, "kind",
     "Time since the API server last sent anything about the kind; bookmarks come every minute."},
    {"weir_kube_lag_seconds", Type::kGauge, "kind",
     "Of the last changes of the kind, from their arrival to the agent's store."},
    {"weir_kube_lists_total", Type::kCounter, "kind", "Complete lists read from the API server."},
    {"weir_kube_watches_total", Type::kCounter, "kind", "Watches opened."},
    {"weir_kube_events_total", Type::kCounter, "kind", "Changes and bookmarks read."},
    {"weir_kube_received_bytes_total", Type::kCounter, "kind", "Bytes of answers, before TLS."},
    {"weir_kube_failures_total", Type::kCounter, "kind", "Requests and watches that ended badly."},
    {"weir_kube_refused_total", Type::kCounter, "kind",
     "Changes of objects with mistakes, which changed nothing."},
    {"weir_kube_leader", Type::kGauge, "",
     "1 while this agent is the elected one, which writes what concerns the whole cluster."},
    {"weir_kube_notes_total", Type::kCounter, "result",
     "What was to be told by Events: created; repeated, another count of one; suppressed, beyond "
     "the limits for an object or over all; failed, not taken by the server."},
};
static_assert(std::size(kDefinitions) == kIdCount);

}  // namespace weir::metrics
