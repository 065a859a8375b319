// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "datapath/loader.h"

namespace weir::agent {

/// The BPF objects compiled into this binary.
datapath::Build embedded_build();

}  // namespace weir::agent
