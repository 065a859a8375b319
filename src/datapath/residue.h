// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace weir::datapath {

/// Something that another network left, or has, on this host.
struct Residue {
    std::string what;    ///< "interface cilium_host of Cilium"
    std::string remedy;  ///< how to be rid of it, and what it does until then
};

/// Looks for interfaces by the names that other networks give theirs (`net` is /sys/class/net) and
/// for network configurations that runtimes take before Weir's (`cni_conf` is their directory).
/// Rules of kube-proxy that are left are no matter: pods' packets do not cross them.
std::vector<Residue> find_residue(const std::filesystem::path& net,
                                  const std::filesystem::path& cni_conf);

}  // namespace weir::datapath
