// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "support/child.h"
#include "support/exercises.h"

/// The Service "shop/web" that most tests of a node serve, and how they ask it.
namespace weir::test {

inline constexpr const char* kVip4 = "10.96.0.10";
inline constexpr const char* kVip6 = "fd00:10:96::10";
/// Its ClusterIP by family, 4 or 6.
inline std::string vip(int family) {
    return family == 4 ? kVip4 : kVip6;
}

/// The answer that a client at `place` gets, or "error: …".
inline std::string http(const Place& place, const std::string& address, uint16_t port = 80) {
    return in_child(place, [&] { return http_get(address, port); });
}

}  // namespace weir::test
