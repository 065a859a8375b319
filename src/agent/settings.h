// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <sys/types.h>

#include "agent/config.h"
#include "common/ip.h"
#include "datapath/datapath.h"

/// The configuration in the terms of those it is for.
namespace weir::agent {

datapath::SocketHooks to_datapath(SocketHooks hooks);
datapath::TableSizes table_sizes(const Config& config);
/// Nullopt: none is configured. kNotFound: the host does not know it.
Result<std::optional<gid_t>> find_group(const std::string& name);
/// The BPF file system: the configured one, or the usual place.
std::filesystem::path bpffs_of(const Config& config);
/// "ADDRESS:PORT", IPv6 in brackets.
Result<std::pair<IpAddress, uint16_t>> parse_listener(const std::string& text);

}  // namespace weir::agent
