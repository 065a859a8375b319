// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "datapath/residue.h"

namespace weir::datapath {

/// What others send to this host that its firewall has to admit.
struct Inbound {
    std::optional<uint16_t> vxlan_port;     ///< none: there is no overlay
    std::optional<uint64_t> vxlan_packets;  ///< that have come so far, if that is known
    std::string metrics;  ///< "0.0.0.0:9500"; "": only from this host, or not at all
};

/// A finding for each chain of nftables by which this host drops what no rule admits, with what
/// its rules have to admit. Pods' packets that are not for the host itself do not cross them.
std::vector<Residue> find_firewall(const Inbound& inbound);

}  // namespace weir::datapath
