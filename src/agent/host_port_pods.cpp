// SPDX-License-Identifier: Apache-2.0
#include "agent/host_port_pods.h"

#include <algorithm>

namespace weir::agent {

std::vector<lb::HostPortPod> host_port_pods(std::vector<ipam::Record> records) {
    std::ranges::sort(records, {}, &ipam::Record::serial);
    std::vector<lb::HostPortPod> pods;
    for (ipam::Record& record : records) {
        if (record.state != ipam::RecordState::kCommitted || record.host_ports.empty()) continue;
        pods.push_back({.name = {model::Text(record.pod_namespace), model::Text(record.pod_name)},
                        .addresses = std::move(record.addresses),
                        .ports = std::move(record.host_ports)});
    }
    return pods;
}

}  // namespace weir::agent
