// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace weir::netlink {

/// A chain of nftables, or of iptables as most hosts have it now, that every packet to this host's
/// own processes meets, and that drops what its rules do not admit.
struct ClosedChain {
    std::string family;  ///< "ip", "ip6", "inet"
    std::string table;
    std::string name;
    bool operator==(const ClosedChain&) const = default;
};

/// Those of the calling thread's network namespace, by their policy or by a last rule that takes
/// everything; none where the kernel has no nftables. What their rules admit is not looked at.
/// Costs a message for each chain there is, and one for each rule of the chains in question.
Result<std::vector<ClosedChain>> closed_input_chains();

}  // namespace weir::netlink
