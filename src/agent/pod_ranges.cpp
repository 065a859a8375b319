// SPDX-License-Identifier: Apache-2.0
#include "agent/pod_ranges.h"

#include <algorithm>

namespace weir::agent {

std::vector<IpPrefix> ranges_to_serve(std::vector<IpPrefix> of_node,
                                      std::span<const IpPrefix> served,
                                      std::span<const ipam::Record> records) {
    const auto in_use = [&](const IpPrefix& range) {
        return std::ranges::any_of(records, [&](const ipam::Record& record) {
            return std::ranges::any_of(record.addresses, [&](const IpAddress& address) {
                return range.contains(address);
            });
        });
    };
    for (const IpPrefix& range : served) {
        if (std::ranges::find(of_node, range) == of_node.end() && in_use(range)) {
            of_node.push_back(range);
        }
    }
    return of_node;
}

}  // namespace weir::agent
