// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

/// What the local API says of pods and of what the kernel tables hold; see api_types.h.
namespace weir::api {

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
        add("name", &Service::name, "name; pod/NAME for the host ports of a pod");
        add("type", &Service::type, "ClusterIP, NodePort, or HostPort for those of a pod");
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

}  // namespace weir::api
