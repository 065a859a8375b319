// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "datapath/pins.h"

namespace weir::datapath {

/// What a cleanup did, in words for a person, in the order in which it was done.
struct Cleaned {
    std::vector<std::string> removed;
    std::vector<std::string> failed;  ///< what could not be removed, and why
    std::vector<std::string>
        remaining;  ///< programs still held by something else, such as a device
};

/// Removes every link, filter, program and map of Weir's from this host: what is pinned below
/// `pins`, and whatever runs a program that uses one of those maps. Filters on pods' veths go with
/// their devices (netlink half); do that first. Partial remains are fine, nothing at all too. Acts
/// in the network namespace of the calling thread.
Cleaned clean_up(const PinDir& pins);

}  // namespace weir::datapath
