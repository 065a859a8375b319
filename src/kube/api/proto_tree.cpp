// SPDX-License-Identifier: Apache-2.0
#include "kube/api/proto_tree.h"

#include "kube/api/core.pb.h"
#include "kube/api/discovery.pb.h"
#include "kube/api/networking.pb.h"
#include "kube/api/tree_writer.h"

namespace weir::kube::api {
namespace {

void write(TreeWriter& out, const pb::Node& node) {
    out.open("spec");
    out.text("podCIDR", node.spec().pod_cidr());
    out.texts("podCIDRs", node.spec().pod_cidrs());
    out.close();
    out.open("status");
    out.list("addresses", node.status().addresses(), [&](const pb::NodeAddress& address) {
        out.text("type", address.type());
        out.text("address", address.address());
    });
    out.close();
}

void write(TreeWriter&, const pb::Namespace&) {}

void write_containers(TreeWriter& out, std::string_view key, const auto& containers) {
    out.list(key, containers, [&](const pb::Container& container) {
        out.text("restartPolicy", container.restart_policy());
        out.list("ports", container.ports(), [&](const pb::ContainerPort& port) {
            out.text("name", port.name());
            out.number("hostPort", port.host_port());
            out.number("containerPort", port.container_port());
            out.text("protocol", port.protocol());
            out.text("hostIP", port.host_ip());
        });
    });
}

void write_ips(TreeWriter& out, std::string_view key, const auto& ips) {
    out.list(key, ips, [&](const pb::Ip& ip) { out.text("ip", ip.ip()); });
}

void write(TreeWriter& out, const pb::Pod& pod) {
    const pb::PodSpec& spec = pod.spec();
    out.open("spec");
    write_containers(out, "containers", spec.containers());
    write_containers(out, "initContainers", spec.init_containers());
    out.text("nodeName", spec.node_name());
    if (spec.host_network()) out.boolean("hostNetwork", true);
    out.close();
    const pb::PodStatus& status = pod.status();
    out.open("status");
    out.text("phase", status.phase());
    out.list("conditions", status.conditions(), [&](const pb::Condition& condition) {
        out.text("type", condition.type());
        out.text("status", condition.status());
    });
    out.text("hostIP", status.host_ip());
    out.text("podIP", status.pod_ip());
    write_ips(out, "podIPs", status.pod_ips());
    write_ips(out, "hostIPs", status.host_ips());
    out.close();
}

void write_policies(TreeWriter& out, const pb::ServiceSpec& spec) {
    out.text("sessionAffinity", spec.session_affinity());
    out.text("externalTrafficPolicy", spec.external_traffic_policy());
    out.text("internalTrafficPolicy", spec.internal_traffic_policy());
    out.text("trafficDistribution", spec.traffic_distribution());
    out.number("healthCheckNodePort", spec.health_check_node_port());
    if (spec.publish_not_ready_addresses()) out.boolean("publishNotReadyAddresses", true);
    if (!spec.session_affinity_config().client_ip().has_timeout_seconds()) return;
    out.open("sessionAffinityConfig");
    out.open("clientIP");
    out.number("timeoutSeconds", spec.session_affinity_config().client_ip().timeout_seconds());
    out.close();
    out.close();
}

void write(TreeWriter& out, const pb::Service& service) {
    const pb::ServiceSpec& spec = service.spec();
    out.open("spec");
    out.list("ports", spec.ports(), [&](const pb::ServicePort& port) {
        out.text("name", port.name());
        out.text("protocol", port.protocol());
        out.number("port", port.port());
        if (port.has_target_port()) out.int_or_string("targetPort", port.target_port());
        out.number("nodePort", port.node_port());
    });
    out.map("selector", spec.selector());
    out.text("clusterIP", spec.cluster_ip());
    out.texts("clusterIPs", spec.cluster_ips());
    out.text("type", spec.type());
    out.texts("externalIPs", spec.external_ips());
    out.texts("loadBalancerSourceRanges", spec.load_balancer_source_ranges());
    out.texts("ipFamilies", spec.ip_families());
    write_policies(out, spec);
    out.close();
    out.open("status");
    out.open("loadBalancer");
    const auto& ingress = service.status().load_balancer().ingress();
    out.list("ingress", ingress, [&](const pb::LoadBalancerIngress& entry) {
        out.text("ip", entry.ip());
        out.text("ipMode", entry.ip_mode());
    });
    out.close();
    out.close();
}

void write_hints(TreeWriter& out, const pb::EndpointHints& hints) {
    const auto name = [&](const pb::Hint& hint) { out.text("name", hint.name()); };
    out.open("hints");
    out.list("forZones", hints.for_zones(), name);
    out.list("forNodes", hints.for_nodes(), name);
    out.close();
}

void write_endpoint(TreeWriter& out, const pb::Endpoint& endpoint) {
    out.texts("addresses", endpoint.addresses());
    const pb::EndpointConditions& conditions = endpoint.conditions();
    out.open("conditions");
    if (conditions.has_ready()) out.boolean("ready", conditions.ready());
    if (conditions.has_serving()) out.boolean("serving", conditions.serving());
    if (conditions.has_terminating()) out.boolean("terminating", conditions.terminating());
    out.close();
    out.text("nodeName", endpoint.node_name());
    out.text("zone", endpoint.zone());
    if (endpoint.has_hints()) write_hints(out, endpoint.hints());
    if (!endpoint.has_target_ref()) return;
    out.open("targetRef");
    out.text("kind", endpoint.target_ref().kind());
    out.text("namespace", endpoint.target_ref().namespace_());
    out.text("name", endpoint.target_ref().name());
    out.close();
}

void write(TreeWriter& out, const pb::EndpointSlice& slice) {
    out.text("addressType", slice.address_type());
    out.list("endpoints", slice.endpoints(),
             [&](const pb::Endpoint& endpoint) { write_endpoint(out, endpoint); });
    out.list("ports", slice.ports(), [&](const pb::EndpointPort& port) {
        out.text("name", port.name());
        out.text("protocol", port.protocol());
        out.number("port", port.port());
    });
}

void write_peer(TreeWriter& out, const pb::PolicyPeer& peer) {
    if (peer.has_pod_selector()) out.selector("podSelector", peer.pod_selector());
    if (peer.has_namespace_selector()) out.selector("namespaceSelector", peer.namespace_selector());
    if (!peer.has_ip_block()) return;
    out.open("ipBlock");
    out.text("cidr", peer.ip_block().cidr());
    out.texts("except", peer.ip_block().except());
    out.close();
}

void write_rules(TreeWriter& out, std::string_view key, std::string_view peers, const auto& rules) {
    out.list(key, rules, [&](const pb::PolicyRule& rule) {
        out.list("ports", rule.ports(), [&](const pb::PolicyPort& port) {
            out.text("protocol", port.protocol());
            if (port.has_port()) out.int_or_string("port", port.port());
            out.number("endPort", port.end_port());
        });
        out.list(peers, rule.peers(), [&](const pb::PolicyPeer& peer) { write_peer(out, peer); });
    });
}

void write(TreeWriter& out, const pb::NetworkPolicy& policy) {
    out.open("spec");
    out.selector("podSelector", policy.spec().pod_selector());
    write_rules(out, "ingress", "from", policy.spec().ingress());
    write_rules(out, "egress", "to", policy.spec().egress());
    out.texts("policyTypes", policy.spec().policy_types());
    out.close();
}

void write(TreeWriter& out, const pb::ServiceCidr& range) {
    out.open("spec");
    out.texts("cidrs", range.spec().cidrs());
    out.close();
}

template <typename Message>
Result<Tree> convert(std::string_view bytes) {
    Message message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return fail(Errc::kInvalid, "malformed protobuf");
    }
    TreeWriter out;
    out.open();
    out.metadata(message.metadata());
    write(out, message);
    out.close();
    return out.take();
}

}  // namespace

Result<Tree> tree_of(Kind kind, std::string_view message) {
    if (message.size() > INT32_MAX) return fail(Errc::kInvalid, "object of over 2 GiB");
    switch (kind) {
        case Kind::kNode:
            return convert<pb::Node>(message);
        case Kind::kNamespace:
            return convert<pb::Namespace>(message);
        case Kind::kPod:
            return convert<pb::Pod>(message);
        case Kind::kService:
            return convert<pb::Service>(message);
        case Kind::kEndpointSlice:
            return convert<pb::EndpointSlice>(message);
        case Kind::kNetworkPolicy:
            return convert<pb::NetworkPolicy>(message);
        case Kind::kServiceCidr:
            return convert<pb::ServiceCidr>(message);
        case Kind::kClusterNetworkPolicy:
            break;
    }
    return fail(Errc::kInvalid, "{} is a custom resource, which is no protobuf", to_string(kind));
}

}  // namespace weir::kube::api
