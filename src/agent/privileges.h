// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"

namespace weir::agent {

/// Capabilities (CAP_*) that the agent works with, and why:
///   BPF, PERFMON   maps and programs
///   NET_ADMIN      links, routes, net sysctls, attaching
///   SYS_ADMIN      entering pods' network namespaces, opening maps and programs by id
///   SYS_PTRACE     opening /proc/PID/ns/net, which is how some runtimes name a sandbox
///   CHOWN          only with a socket group: the socket is given to it
std::vector<int> wanted_capabilities(bool socket_group);

struct Privileges {
    uint64_t kept = 0;             ///< by 1 << CAP_*
    std::vector<int> missing;      ///< wanted, and not there to begin with
    bool bounding_cleared = true;  ///< false: the start environment lacks CAP_SETPCAP
};

/// Gives up, for this thread and those that it starts from now on, for good: every capability but
/// `wanted`, the bounding, inheritable and ambient sets, and the gain of any by exec
/// (no_new_privs). To be called before there are other threads.
Result<Privileges> drop_privileges(const std::vector<int>& wanted);

/// "bpf, net_admin"; numbers where a name is not known.
std::string capability_names(const std::vector<int>& capabilities);

}  // namespace weir::agent
