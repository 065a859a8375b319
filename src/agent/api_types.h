// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"

namespace boost::json {
class value;
}

/// What the local API says, as plain structs: the agent fills them, the CLI reads them, and
/// docs/api.md is written from them. `fields` lists a struct's JSON names with their meaning; the
/// text there is the documentation of the field. A reader ignores fields it does not know and keeps
/// defaults for those that are missing, so that neighbouring versions understand each other.
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

struct IpamPool {
    std::string family;
    std::string cidr;
    std::string router;
    uint64_t capacity = 0;
    uint64_t used = 0;
    uint64_t cooling = 0;

    static constexpr void fields(auto&& add) {
        add("family", &IpamPool::family, "IPv4 or IPv6");
        add("cidr", &IpamPool::cidr, "pod range of this node");
        add("router", &IpamPool::router, "address of weir0, never given to a pod");
        add("capacity", &IpamPool::capacity, "addresses that pods can have");
        add("used", &IpamPool::used, "addresses that pods have");
        add("cooling", &IpamPool::cooling, "released a moment ago, not given out yet");
    }
};

struct IpamAddress {
    std::string address;
    std::string ns;
    std::string pod;
    std::string container_id;
    std::string ifname;
    std::string since;

    static constexpr void fields(auto&& add) {
        add("address", &IpamAddress::address, "the address");
        add("namespace", &IpamAddress::ns, "namespace of the pod that has it");
        add("pod", &IpamAddress::pod, "the pod");
        add("container_id", &IpamAddress::container_id, "the runtime's id of the sandbox");
        add("ifname", &IpamAddress::ifname, "interface in the pod");
        add("since", &IpamAddress::since, "RFC 3339 time of allocation");
    }
};

/// GET /v1/ipam
struct Ipam {
    std::vector<IpamPool> pools;
    std::vector<IpamAddress> addresses;

    static constexpr void fields(auto&& add) {
        add("pools", &Ipam::pools, "ranges");
        add("addresses", &Ipam::addresses, "addresses in use (not in /v1/status)");
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
    Datapath datapath;
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
        add("datapath", &Status::datapath, "programs and tables in the kernel");
        add("ipam", &Status::ipam, "address ranges");
        add("cni", &Status::cni, "requests of the container runtime");
        add("flows", &Status::flows, "flow records");
    }
};

/// GET /v1/pods: a list of these. Pods that Weir wired on this node.
struct Pod {
    std::string ns;
    std::string name;
    std::string uid;
    uint64_t endpoint = 0;
    std::vector<std::string> ips;
    std::string device;
    uint64_t ifindex = 0;
    std::string container_id;
    std::string netns;
    std::string phase;
    bool ready = false;
    std::map<std::string, std::string> labels;
    std::string since;

    static constexpr void fields(auto&& add) {
        add("namespace", &Pod::ns, "namespace");
        add("name", &Pod::name, "name");
        add("uid", &Pod::uid, "uid of the object, \"\" if only the runtime knows the pod");
        add("endpoint", &Pod::endpoint, "endpoint id in the kernel tables");
        add("ips", &Pod::ips, "addresses");
        add("device", &Pod::device, "host side of its interface");
        add("ifindex", &Pod::ifindex, "index of the device");
        add("container_id", &Pod::container_id, "the runtime's id of the sandbox");
        add("netns", &Pod::netns, "path of its network namespace");
        add("phase", &Pod::phase, "phase of the object, \"\" if it is not known");
        add("ready", &Pod::ready, "condition Ready of the object");
        add("labels", &Pod::labels, "labels of the object");
        add("since", &Pod::since, "RFC 3339 time at which it was wired");
    }
};

struct ServiceBackend {
    std::string address;
    uint64_t port = 0;
    std::string state;
    std::string pod;
    std::string node;
    bool local = false;

    static constexpr void fields(auto&& add) {
        add("address", &ServiceBackend::address, "address");
        add("port", &ServiceBackend::port, "port");
        add("state", &ServiceBackend::state, "ready, draining, removed or gone");
        add("pod", &ServiceBackend::pod, "NAMESPACE/NAME, \"\" if unknown");
        add("node", &ServiceBackend::node, "node of the pod, \"\" if unknown");
        add("local", &ServiceBackend::local, "on this node");
    }
};

struct ServicePort {
    std::string name;
    std::string protocol;
    std::string family;
    uint64_t port = 0;
    uint64_t node_port = 0;
    uint64_t index = 0;
    std::vector<std::string> addresses;
    std::vector<ServiceBackend> backends;

    static constexpr void fields(auto&& add) {
        add("name", &ServicePort::name, "name of the port, \"\" if it has none");
        add("protocol", &ServicePort::protocol, "TCP, UDP or SCTP");
        add("family", &ServicePort::family, "IPv4 or IPv6");
        add("port", &ServicePort::port, "port");
        add("node_port", &ServicePort::node_port, "NodePort, 0 for none");
        add("index", &ServicePort::index, "index in the kernel tables");
        add("addresses", &ServicePort::addresses, "addresses that lead to it");
        add("backends", &ServicePort::backends, "where it leads");
    }
};

/// GET /v1/services: a list of these; only what is in the kernel tables.
struct Service {
    std::string ns;
    std::string name;
    std::string type;
    std::vector<std::string> cluster_ips;
    std::vector<std::string> external_ips;
    std::string internal_policy;
    std::string external_policy;
    std::vector<std::string> source_ranges;
    uint64_t affinity_seconds = 0;
    std::vector<ServicePort> ports;

    static constexpr void fields(auto&& add) {
        add("namespace", &Service::ns, "namespace");
        add("name", &Service::name, "name");
        add("type", &Service::type, "ClusterIP, NodePort or LoadBalancer");
        add("cluster_ips", &Service::cluster_ips, "ClusterIPs");
        add("external_ips", &Service::external_ips, "external and load-balancer addresses");
        add("internal_policy", &Service::internal_policy, "internalTrafficPolicy");
        add("external_policy", &Service::external_policy, "externalTrafficPolicy");
        add("source_ranges", &Service::source_ranges,
            "clients that its load-balancer addresses admit: prefixes, \"this host\", or "
            "\"nobody\"; "
            "empty: everybody");
        add("affinity_seconds", &Service::affinity_seconds, "ClientIP affinity, 0 for none");
        add("ports", &Service::ports, "ports, one for each family");
    }
};

/// GET /v1/backends: a list of these.
struct Backend {
    uint64_t id = 0;
    std::string address;
    uint64_t port = 0;
    std::string protocol;
    std::string state;
    std::string pod;
    std::vector<std::string> services;

    static constexpr void fields(auto&& add) {
        add("id", &Backend::id, "id in the kernel tables");
        add("address", &Backend::address, "address");
        add("port", &Backend::port, "port");
        add("protocol", &Backend::protocol, "TCP, UDP or SCTP");
        add("state", &Backend::state, "ready, draining, removed or gone");
        add("pod", &Backend::pod, "NAMESPACE/NAME, \"\" if unknown");
        add("services", &Backend::services, "NAMESPACE/NAME:PORT of those that use it");
    }
};

/// GET /v1/conntrack: one a line. A translated flow is two entries, as in the kernel.
struct Conntrack {
    std::string family;
    std::string protocol;
    std::string state;
    std::string kind;
    std::string source;
    uint64_t source_port = 0;
    std::string destination;
    uint64_t destination_port = 0;
    std::string nat_source;
    uint64_t nat_source_port = 0;
    std::string nat_destination;
    uint64_t nat_destination_port = 0;
    std::string rewrites;
    std::string source_pod;
    std::string destination_pod;
    std::string service;
    std::string device;
    double age_seconds = 0;
    double idle_seconds = 0;
    double expires_seconds = 0;

    static constexpr void fields(auto&& add) {
        add("family", &Conntrack::family, "IPv4 or IPv6");
        add("protocol", &Conntrack::protocol, "TCP, UDP, …");
        add("state", &Conntrack::state, "new, established, closing or closed");
        add("kind", &Conntrack::kind, "plain, service, masquerade or socket");
        add("source", &Conntrack::source, "originator");
        add("source_port", &Conntrack::source_port, "its port");
        add("destination", &Conntrack::destination, "what it addressed");
        add("destination_port", &Conntrack::destination_port, "its port");
        add("nat_source", &Conntrack::nat_source, "source after translation, \"\" if the same");
        add("nat_source_port", &Conntrack::nat_source_port, "its port");
        add("nat_destination", &Conntrack::nat_destination,
            "destination after translation, \"\" if the same");
        add("nat_destination_port", &Conntrack::nat_destination_port, "its port");
        add("rewrites", &Conntrack::rewrites, "which packets the entry rewrites: orig, reply");
        add("source_pod", &Conntrack::source_pod, "NAMESPACE/NAME of the originator");
        add("destination_pod", &Conntrack::destination_pod, "NAMESPACE/NAME of the destination");
        add("service", &Conntrack::service, "NAMESPACE/NAME:PORT");
        add("device", &Conntrack::device, "device on which it came in or goes out");
        add("age_seconds", &Conntrack::age_seconds, "since its first packet");
        add("idle_seconds", &Conntrack::idle_seconds, "since its last packet");
        add("expires_seconds", &Conntrack::expires_seconds, "until it ends if nothing comes");
    }
};

/// GET /v1/drops: a list of these, one for each reason and direction that ever happened.
struct Drop {
    std::string reason;
    std::string direction;
    uint64_t packets = 0;
    uint64_t bytes = 0;
    std::string text;

    static constexpr void fields(auto&& add) {
        add("reason", &Drop::reason, "see drop-reasons.md");
        add("direction", &Drop::direction, "from_pod, to_pod, from_outside or from_host");
        add("packets", &Drop::packets, "packets since the map was made");
        add("bytes", &Drop::bytes, "their bytes");
        add("text", &Drop::text, "what it means");
    }
};

/// GET /v1/config: a list of these.
struct Setting {
    std::string name;
    std::string value;
    std::string origin;

    static constexpr void fields(auto&& add) {
        add("name", &Setting::name, "name of the setting");
        add("value", &Setting::value, "value in force");
        add("origin", &Setting::origin, "default, file, environment or flag");
    }
};

/// The body of every answer that is not 2xx.
struct ErrorBody {
    std::string error;
    std::string code;

    static constexpr void fields(auto&& add) {
        add("error", &ErrorBody::error, "what failed and what to do");
        add("code", &ErrorBody::code, "invalid, not_found, permission, unavailable, …");
    }
};

/// For every struct above. A list is encoded element by element with the vector form.
template <typename T>
boost::json::value to_json(const T& object);
template <typename T>
boost::json::value to_json(const std::vector<T>& objects);
/// Errors name the field: "datapath.maps[3].bytes: not a number".
template <typename T>
Result<T> from_json(const boost::json::value& value);
template <typename T>
Result<std::vector<T>> list_from_json(const boost::json::value& value);

/// docs/api.md.
std::string api_reference();

}  // namespace weir::api
