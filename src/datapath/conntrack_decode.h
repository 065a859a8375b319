// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "datapath/reader.h"
#include "weir/ct.h"

namespace weir::datapath {

/// A tracked flow from its table's bytes. `key_size` tells the family (weir_ct_key4 or 6).
TrackedFlow decode_flow(const void* key, size_t key_size, const weir_ct& entry, bool established);

}  // namespace weir::datapath
