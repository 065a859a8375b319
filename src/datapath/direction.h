// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::datapath {

/// Of packets at a device, as the device sees them.
enum class Direction : uint8_t { kIngress, kEgress };

constexpr std::string_view to_string(Direction direction) {
    return direction == Direction::kIngress ? "ingress" : "egress";
}

}  // namespace weir::datapath
