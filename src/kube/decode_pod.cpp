// SPDX-License-Identifier: Apache-2.0
#include "kube/decode_kinds.h"
#include "kube/validate.h"

namespace weir::kube {
namespace {

constexpr std::array<std::pair<std::string_view, model::PodPhase>, 5> kPhases = {
    {{"Pending", model::PodPhase::kPending},
     {"Running", model::PodPhase::kRunning},
     {"Succeeded", model::PodPhase::kSucceeded},
     {"Failed", model::PodPhase::kFailed},
     {"Unknown", model::PodPhase::kUnknown}}};

void decode_ports(const Cursor& ports, model::Pod& pod) {
    for (const Cursor& entry : ports.items()) {
        model::ContainerPort port;
        const Cursor name = entry["name"];
        port.name = name.text();
        if (const auto problem = port_name_problem(port.name); problem && !port.name.empty()) {
            name.error("\"{}\" is no port name: {}", port.name, *problem);
        }
        entry["containerPort"].require();
        port.port = entry["containerPort"].port().value_or(0);
        port.protocol = entry["protocol"].protocol();
        port.host_port = static_cast<uint16_t>(entry["hostPort"].integer(0, 65535).value_or(0));
        if (!entry["hostIP"].string().value_or("").empty()) port.host_ip = entry["hostIP"].ip();
        pod.ports.push_back(std::move(port));
    }
}

void decode_containers(const Cursor& spec, model::Pod& pod) {
    for (const Cursor& container : spec["containers"].items()) {
        decode_ports(container["ports"], pod);
    }
    // Init containers that keep running (sidecars) serve like others.
    for (const Cursor& container : spec["initContainers"].items()) {
        if (container["restartPolicy"].string() == "Always") decode_ports(container["ports"], pod);
    }
}

model::List<IpAddress> decode_ips(const Cursor& list, const Cursor& single) {
    model::List<IpAddress> ips;
    for (const Cursor& entry : list.items()) {
        if (const auto ip = entry["ip"].ip()) {
            check_reachable(entry["ip"], *ip);
            ips.push_back(*ip);
        }
    }
    if (ips.empty() && !single.string().value_or("").empty()) {
        if (const auto ip = single.ip()) {
            check_reachable(single, *ip);
            ips.push_back(*ip);
        }
    }
    return ips;
}

bool decode_ready(const Cursor& status) {
    bool ready = false;
    for (const Cursor& condition : status["conditions"].items()) {
        if (condition["type"].string() != "Ready") continue;
        ready = condition["status"].string() == "True";
    }
    return ready;
}

}  // namespace

model::Pod decode_pod(const Cursor& root, model::Meta meta) {
    const Cursor spec = root["spec"];
    const Cursor status = root["status"];
    model::Pod pod;
    pod.meta = std::move(meta);
    pod.node_name = spec["nodeName"].text();
    pod.host_network = spec["hostNetwork"].boolean().value_or(false);
    pod.phase = status["phase"].choice(kPhases, model::PodPhase::kPending);
    pod.ready = decode_ready(status);
    pod.ips = decode_ips(status["podIPs"], status["podIP"]);
    // A pod of the host's network has the node's addresses; kubelet writes them in both places.
    if (pod.host_network && pod.ips.empty()) {
        pod.ips = decode_ips(status["hostIPs"], status["hostIP"]);
    }
    decode_containers(spec, pod);
    return pod;
}

}  // namespace weir::kube
