// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace weir::datapath {

/// Something of the kernel that Weir uses, tried by doing it in a namespace of its own.
struct Feature {
    std::string name;
    bool required = false;  ///< without it Weir does not work; else `why` says what is lost
    bool present = false;
    std::string why;  ///< what it is for; if absent, also how the kernel refused
};

/// Tries everything; some 50 ms. Needs the privileges of an agent. Leaves nothing behind.
std::vector<Feature> probe_features();

/// A VXLAN device as the overlay between nodes is one.
Feature probe_overlay();

}  // namespace weir::datapath
