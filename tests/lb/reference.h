// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/types.h"

/// Kubernetes' Service rules, written down a second time and plainly: for one packet, from the
/// objects, by searching. Shares nothing with the compiler but the types of the objects.
namespace weir::lb::test {

struct World {
    std::string node = "node";
    std::string zone = "a";
    std::vector<IpAddress> node_addresses = {IpAddress::v4(0xac100001U),
                                             IpAddress::parse("fd00::1").value()};
    std::map<std::string, model::Service> services;  ///< by name
    std::map<std::string, std::vector<model::EndpointSlice>> slices;
};

struct Probe {
    bool node_port = false;
    IpAddress address;  ///< of a NodePort: only its family counts
    uint16_t port = 0;
    model::Protocol protocol = model::Protocol::kTcp;
    bool near = false;  ///< from a pod of this node, or from this host
    /// Who asks; unspecified: this host, which has not chosen its source.
    IpAddress client;
};

/// In the words of Emulated::lookup.
std::string expected(const World& world, const Probe& probe);
/// As if there were no loadBalancerSourceRanges.
std::string expected_open(const World& world, const Probe& probe);
/// As Emulated::details.
std::string expected_details(const World& world, const Probe& probe);
/// "service:port/protocol" of who answers; "" if nobody does.
std::string expected_owner(const World& world, const Probe& probe);

}  // namespace weir::lb::test
