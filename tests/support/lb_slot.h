// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "weir/lb.h"

namespace weir::test {

/// The slot of a backend in the extent of that tag: a copy of where it listens, and its index.
inline weir_slot slot_of(const weir_backend& backend, uint32_t id, uint32_t tag) {
    return {.addr = backend.addr,
            .port = backend.port,
            .pad = 0,
            .spare = 0,
            .backend = id,
            .tag = tag};
}

}  // namespace weir::test
