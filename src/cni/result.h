// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <boost/json/object.hpp>

#include "cni/version.h"

namespace weir::cni {

/// A CNI 1.1.0 result in the shape of `version`: fields that came later are left out, and those
/// that went are put in. What is no result is kDecode.
Outcome<std::string> render_result(const boost::json::object& result, Version version);

/// {"cniVersion", "code", "msg", "details"}.
std::string render_failure(const Failure& failure, Version version);

/// The answer to VERSION: it repeats the version it was asked with.
std::string render_versions(std::string_view asked);

}  // namespace weir::cni
