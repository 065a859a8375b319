// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <sys/types.h>

#include "agent/cni_install.h"
#include "agent/config.h"
#include "common/ip.h"
#include "datapath/datapath.h"

/// The configuration in the terms of those it is for.
namespace weir::agent {

/// Makes `auto` one of the others: the cluster if there is one to be found, else files.
void choose_source(Config& config);
datapath::SocketHooks to_datapath(SocketHooks hooks);
datapath::TableSizes table_sizes(const Config& config);
/// Nullopt: none is configured. kNotFound: the host does not know it.
Result<std::optional<gid_t>> find_group(const std::string& name);
/// The BPF file system: the configured one, or the usual place.
std::filesystem::path bpffs_of(const Config& config);
/// What is installed for runtimes and where. The plugin is the one that came with this agent.
CniInstall cni_install(const Config& config);
/// "ADDRESS:PORT", IPv6 in brackets.
Result<std::pair<IpAddress, uint16_t>> parse_listener(const std::string& text);

}  // namespace weir::agent
