// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/run/record.h"
#include "common/result.h"
#include "model/types.h"

namespace weir::cli::run {

/// What ADD gave.
struct Network {
    std::string result;            ///< JSON, as the last plugin said it
    std::vector<std::string> ips;  ///< without prefix length, in the order of the result
    std::string resolv_conf;       ///< of the result's dns; "" if it names none
};

/// What runtimes hand over of a pod's host ports (CNI conventions, "portMappings"); "" for none.
std::string port_mappings(const std::vector<model::HostPort>& ports);

/// A network configuration list is one, has a name and plugins, and every plugin is in `cni_bin`.
Result<void> check_conflist(const std::string& conflist, const std::string& cni_bin);

/// ADD for every plugin of the list in order, each with the result of the one before ("CNI spec
/// 1.1.0, ADD"), in the environment that container runtimes give. A failure carries the plugin's
/// own message; the caller does cni_del() whatever came of it.
Result<Network> cni_add(const Record& record);
/// DEL in reverse order. `result` is what ADD gave, "" if unknown. Tries every plugin and returns
/// the first failure.
Result<void> cni_del(const Record& record, const std::string& result);

}  // namespace weir::cli::run
