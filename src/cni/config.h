// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "cni/environment.h"
#include "cni/version.h"

namespace weir::cni {

/// What comes on stdin: the plugin's object of the network configuration list, with what the
/// runtime adds.
struct NetworkConfig {
    Version version = Version::newest();
    std::string name;  ///< of the network
    std::string socket{kDefaultSocket};
    std::string queue_dir{kDefaultQueueDir};
    boost::json::object raw;  ///< all of it
};

/// kDecode if it is not JSON, kVersion, kConfig for a wrong value, kUnsupported for a section that
/// Weir does not honour; also judges what `command` may have with it.
Outcome<NetworkConfig> read_config(std::string_view text, Command command);

/// cniVersion of a text that may be anything, for answering in the caller's version.
Version version_of(std::string_view text);

/// The body of the agent's request.
boost::json::object make_request(const NetworkConfig& config, const Environment& environment);

}  // namespace weir::cni
