// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "datapath/loader.h"

namespace weir::datapath {

/// The BPF objects compiled into this binary.
Build embedded_build();

}  // namespace weir::datapath
