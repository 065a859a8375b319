// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "ipam/record.h"
#include "lb/host_ports.h"

namespace weir::agent {

/// The wired pods among `records` that ports of the host lead to, the youngest last.
std::vector<lb::HostPortPod> host_port_pods(std::vector<ipam::Record> records);

}  // namespace weir::agent
