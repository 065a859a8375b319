// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace weir::cli {

/// What `weir run` was asked for.
struct RunOptions {
    std::string name;
    std::string ns = "default";
    std::vector<std::string> labels;      ///< KEY=VALUE
    std::vector<std::string> ports;       ///< [NAME=]PORT[/PROTOCOL]
    std::vector<std::string> host_ports;  ///< [ADDRESS:]HOSTPORT:PORT[/PROTOCOL]
    std::string ready_when = "none";      ///< tcp:PORT, http:PORT/PATH or none
    std::string hostname;                 ///< empty: the pod's name
    std::string drain = "0s";             ///< between "terminating" and the signal to the command
    std::string cni_conf;                 ///< empty: the agent's
    std::string cni_bin;                  ///< directories, separated by colons; empty: the agent's
    std::string cgroup_root;              ///< empty: the agent's
    std::string node_name;                ///< empty: the agent's
    bool share_mounts = false;            ///< no mount namespace of its own
    bool quiet = false;
    std::vector<std::string> command;
};

}  // namespace weir::cli
