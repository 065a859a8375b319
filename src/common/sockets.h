// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "common/fd.h"

namespace weir {

/// A socket of SOCK_STREAM (listening, with room for `backlog` connections) or SOCK_DGRAM on a port
/// of all addresses, both families. IPv4 peers appear as v4-mapped addresses.
Result<Fd> bind_any(int type, uint16_t port, int backlog = 1024);

}  // namespace weir
