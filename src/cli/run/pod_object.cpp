// SPDX-License-Identifier: Apache-2.0
#include "cli/run/pod_object.h"

#include <boost/json.hpp>

namespace weir::cli::run {
namespace {

namespace json = boost::json;

json::object metadata(const PodSpec& spec, const Record& record, const PodState& state) {
    json::object meta = {{"name", spec.name},
                         {"namespace", spec.ns},
                         {"uid", record.uid},
                         {"creationTimestamp", state.created},
                         {"labels", json::value_from(spec.labels)}};
    if (!state.deleted.empty()) {
        meta["deletionTimestamp"] = state.deleted;
        meta["deletionGracePeriodSeconds"] = 30;
    }
    return meta;
}

json::object container(const PodSpec& spec) {
    json::array ports;
    for (const auto& port : spec.ports) {
        json::object entry = {{"containerPort", port.number},
                              {"protocol", model::to_string(port.protocol)}};
        if (!port.name.empty()) entry["name"] = port.name;
        ports.push_back(std::move(entry));
    }
    json::object result = {
        {"name", "main"}, {"image", "host"}, {"command", json::value_from(spec.command)}};
    if (!ports.empty()) result["ports"] = std::move(ports);
    return result;
}

json::object status(const PodState& state) {
    const char* ready = state.ready ? "True" : "False";
    json::object result = {
        {"phase", state.running ? "Running" : "Pending"},
        {"conditions", json::array{json::object{{"type", "ContainersReady"}, {"status", ready}},
                                   json::object{{"type", "Ready"}, {"status", ready}}}}};
    if (state.ips.empty()) return result;
    json::array ips;
    for (const auto& ip : state.ips)
        ips.push_back(json::object{{"ip", ip}});
    result["podIP"] = state.ips.front();
    result["podIPs"] = std::move(ips);
    return result;
}

}  // namespace

std::string pod_json(const PodSpec& spec, const Record& record, const PodState& state) {
    json::object pod_spec = {{"containers", json::array{container(spec)}},
                             {"restartPolicy", "Never"}};
    if (!state.node.empty()) pod_spec["nodeName"] = state.node;
    return json::serialize(json::object{{"apiVersion", "v1"},
                                        {"kind", "Pod"},
                                        {"metadata", metadata(spec, record, state)},
                                        {"spec", std::move(pod_spec)},
                                        {"status", status(state)}}) +
           "\n";
}

}  // namespace weir::cli::run
