// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/api_ipam.h"

/// What the local API says of the agent itself; see api_types.h.
namespace weir::api {

/// A document or object that could not be used.
struct Problem {
    std::string source;
    std::string file;
    uint64_t line = 0;
    std::string object;
    std::string field;
    std::string message;
    std::string since;

    static constexpr void fields(auto&& add) {
        add("source", &Problem::source, "where the object comes from: \"file:DIR\"");
        add("file", &Problem::file, "file that holds it");
        add("line", &Problem::line, "line in the file, 0 if it has none");
        add("object", &Problem::object, "kind and name: \"Service shop/api\"");
        add("field", &Problem::field, "path of the field at fault: \"spec.ports[0].port\"");
        add("message", &Problem::message, "what is wrong and what is in force meanwhile");
        add("since", &Problem::since, "RFC 3339 time at which it was first seen");
    }
};

/// How one kind is read from an API server.
struct KindState {
    std::string kind;
    std::string state;
    std::string since;
    bool synced = false;
    double silent_seconds = 0;
    double lag_seconds = 0;
    std::string resource_version;
    uint64_t lists = 0;
    uint64_t watches = 0;
    uint64_t events = 0;
    uint64_t bytes = 0;
    uint64_t failures = 0;
    uint64_t refused = 0;
    std::string error;

    static constexpr void fields(auto&& add) {
        add("kind", &KindState::kind, "\"Service\"");
        add("state", &KindState::state,
            "\"watching\"; \"disconnected\", what is known stays; \"absent\" from the cluster");
        add("since", &KindState::since, "RFC 3339 time since which it is watched, or not");
        add("synced", &KindState::synced, "all objects of the kind have been read once");
        add("silent_seconds", &KindState::silent_seconds,
            "time since anything came; bookmarks come every minute");
        add("lag_seconds", &KindState::lag_seconds,
            "of the last changes, from their arrival to the agent's store");
        add("resource_version", &KindState::resource_version, "where a watch goes on");
        add("lists", &KindState::lists, "complete lists read");
        add("watches", &KindState::watches, "watches opened");
        add("events", &KindState::events, "changes and bookmarks read");
        add("bytes", &KindState::bytes, "bytes received, as on the wire before TLS");
        add("failures", &KindState::failures, "requests and watches that ended badly");
        add("refused", &KindState::refused, "changes with mistakes, which changed nothing");
        add("error", &KindState::error, "why it is not watched");
    }
};

/// Which agent writes what concerns the whole cluster.
struct Leader {
    std::string node;
    bool self = false;
    std::string since;
    uint64_t transitions = 0;
    std::string error;

    static constexpr void fields(auto&& add) {
        add("node", &Leader::node,
            "the elected agent's node; empty if there is none, or no cluster");
        add("self", &Leader::self, "it is this agent");
        add("since", &Leader::since, "RFC 3339 time since which this agent sees it elected");
        add("transitions", &Leader::transitions, "how often another agent was elected");
        add("error", &Leader::error, "why nothing is known of the election now");
    }
};

struct Source {
    std::string name;
    bool synced = false;
    std::map<std::string, uint64_t> objects;
    std::vector<KindState> kinds;
    std::vector<Problem> problems;

    static constexpr void fields(auto&& add) {
        add("name", &Source::name, "\"file:DIR\", or the URLs of the API servers");
        add("synced", &Source::synced, "everything it holds has been read once");
        add("objects", &Source::objects, "number of objects by kind");
        add("kinds", &Source::kinds, "how each kind is read; empty for files");
        add("problems", &Source::problems, "what of it cannot be used");
    }
};

/// A place where programs are attached.
struct Hook {
    std::string name;
    std::string target;
    std::string method;
    bool attached = false;

    static constexpr void fields(auto&& add) {
        add("name", &Hook::name, "\"pod_from\", \"sock_connect4\", …");
        add("target", &Hook::target, "device, cgroup, or \"pods\" for every pod's device");
        add("method", &Hook::method, "tcx, clsact or cgroup");
        add("attached", &Hook::attached, "it is in force");
    }
};

struct Map {
    std::string name;
    std::string what;
    uint64_t entries = 0;
    uint64_t capacity = 0;
    uint64_t bytes = 0;

    static constexpr void fields(auto&& add) {
        add("name", &Map::name, "name of the kernel map");
        add("what", &Map::what, "what it holds");
        add("entries", &Map::entries, "entries in use");
        add("capacity", &Map::capacity, "entries it can hold");
        add("bytes", &Map::bytes, "kernel memory");
    }
};

struct Sweep {
    double last_run_seconds = 0;
    uint64_t runs = 0;
    uint64_t expired = 0;

    static constexpr void fields(auto&& add) {
        add("last_run_seconds", &Sweep::last_run_seconds, "seconds since it last ran");
        add("runs", &Sweep::runs, "shards swept since the map was made");
        add("expired", &Sweep::expired, "entries it removed");
    }
};

struct Datapath {
    std::string socket_hooks;
    std::string device_attach;
    std::string build;
    std::vector<std::string> devices;
    std::vector<std::string> devices_left_alone;
    std::vector<Hook> hooks;
    std::vector<Map> maps;
    Sweep sweep;
    uint64_t kernel_bytes = 0;

    static constexpr void fields(auto&& add) {
        add("socket_hooks", &Datapath::socket_hooks, "all, host or off");
        add("device_attach", &Datapath::device_attach, "how devices are hooked: tcx or clsact");
        add("build", &Datapath::build, "build of the programs that run");
        add("devices", &Datapath::devices, "external devices");
        add("devices_left_alone", &Datapath::devices_left_alone,
            "devices that lead somewhere and are not Weir's: pods that leave by them keep their "
            "own address");
        add("hooks", &Datapath::hooks, "where programs are attached");
        add("maps", &Datapath::maps, "kernel maps");
        add("sweep", &Datapath::sweep, "expiry of tracked flows, which the kernel does itself");
        add("kernel_bytes", &Datapath::kernel_bytes, "kernel memory of all maps");
    }
};

/// How pods of other nodes are reached.
struct Routing {
    std::string mode;
    std::string device;
    uint64_t port = 0;
    uint64_t mtu = 0;
    uint64_t nodes = 0;
    uint64_t native = 0;
    uint64_t overlay = 0;
    std::vector<std::string> elsewhere;

    static constexpr void fields(auto&& add) {
        add("mode", &Routing::mode, "native, vxlan or auto");
        add("device", &Routing::device, "the overlay's device; empty: there is none");
        add("port", &Routing::port, "UDP port of VXLAN; 0: there is none");
        add("mtu", &Routing::mtu, "MTU of pods wired now, and of the overlay");
        add("nodes", &Routing::nodes, "other nodes whose pods are routed to");
        add("native", &Routing::native, "pod ranges reached over a shared link");
        add("overlay", &Routing::overlay, "pod ranges reached by VXLAN");
        add("elsewhere", &Routing::elsewhere,
            "pod ranges beyond a router, which the network between the nodes has to know");
    }
};

/// Policies of this node's pods.
struct PolicyState {
    uint64_t policies = 0;
    uint64_t sets = 0;
    uint64_t closed = 0;
    uint64_t late = 0;
    std::vector<Map> tables;
    uint64_t kernel_bytes = 0;
    std::string error;

    static constexpr void fields(auto&& add) {
        add("policies", &PolicyState::policies, "NetworkPolicies and ClusterNetworkPolicies known");
        add("sets", &PolicyState::sets,
            "lists of rules in force; pods under the same policies share one");
        add("closed", &PolicyState::closed,
            "pods of this node to and from which nothing passes; the problems say which and why");
        add("late", &PolicyState::late,
            "pods that started before their policies were known, and so without any traffic");
        add("tables", &PolicyState::tables, "tables of policy");
        add("kernel_bytes", &PolicyState::kernel_bytes, "kernel memory of these");
        add("error", &PolicyState::error, "why policies are not followed now");
    }
};

/// Something of others on this host that stands in the way, or may.
struct Finding {
    std::string what;
    std::string remedy;

    static constexpr void fields(auto&& add) {
        add("what", &Finding::what, "another network's interface or configuration, or a firewall");
        add("remedy", &Finding::remedy, "what it does to Weir, and what to do");
    }
};

struct CniCount {
    std::string command;
    uint64_t code = 0;
    uint64_t count = 0;

    static constexpr void fields(auto&& add) {
        add("command", &CniCount::command, "ADD, DEL, CHECK, GC or STATUS");
        add("code", &CniCount::code, "error code of the CNI specification, 0 for success");
        add("count", &CniCount::count, "how often since the agent started");
    }
};

struct FlowStats {
    uint64_t history = 0;
    uint64_t history_capacity = 0;
    uint64_t readers = 0;
    uint64_t lost = 0;

    static constexpr void fields(auto&& add) {
        add("history", &FlowStats::history, "records kept");
        add("history_capacity", &FlowStats::history_capacity, "records that can be kept");
        add("readers", &FlowStats::readers, "readers that follow");
        add("lost", &FlowStats::lost, "events lost in the kernel's buffer");
    }
};

/// GET /v1/status
struct Status {
    std::string node;
    std::string version;
    std::string kernel;
    uint64_t abi = 0;
    uint64_t pid = 0;
    double uptime_seconds = 0;
    bool ready = false;
    std::vector<std::string> reasons;
    std::string cgroup_root;
    std::string run_dir;
    std::string cni_conf;
    std::string cni_bin;
    uint64_t rss_bytes = 0;
    std::vector<Source> sources;
    Leader leader;
    Datapath datapath;
    Routing routing;
    PolicyState policy;
    std::vector<Finding> findings;
    std::vector<IpamPool> ipam;
    std::vector<CniCount> cni;
    FlowStats flows;

    static constexpr void fields(auto&& add) {
        add("node", &Status::node, "name of this node");
        add("version", &Status::version, "version of the agent");
        add("kernel", &Status::kernel, "version of the kernel");
        add("abi", &Status::abi, "version of the kernel tables' layout");
        add("pid", &Status::pid, "process of the agent");
        add("uptime_seconds", &Status::uptime_seconds, "seconds since it started");
        add("ready", &Status::ready, "tables and hooks are complete, pods can be wired");
        add("reasons", &Status::reasons, "why it is not ready, or what is degraded");
        add("cgroup_root", &Status::cgroup_root, "cgroup below which sockets are served");
        add("run_dir", &Status::run_dir, "directory of its state");
        add("cni_conf", &Status::cni_conf, "network configuration list it wrote");
        add("cni_bin", &Status::cni_bin, "directory of the plugin");
        add("rss_bytes", &Status::rss_bytes, "resident memory of the agent");
        add("sources", &Status::sources, "where objects come from");
        add("leader", &Status::leader, "the agent that writes what concerns the whole cluster");
        add("datapath", &Status::datapath, "programs and tables in the kernel");
        add("routing", &Status::routing, "the way to pods of other nodes");
        add("policy", &Status::policy, "policies of this node's pods");
        add("findings", &Status::findings, "what of others was found on this host");
        add("ipam", &Status::ipam, "address ranges");
        add("cni", &Status::cni, "requests of the container runtime");
        add("flows", &Status::flows, "flow records");
    }
};

}  // namespace weir::api
