// SPDX-License-Identifier: Apache-2.0
#include "cni/version.h"

#include <algorithm>

namespace weir::cni {

Outcome<Version> Version::parse(std::string_view text) {
    const auto* const at = std::ranges::find(kSupportedVersions, text);
    if (at == kSupportedVersions.end()) {
        return refuse(Code::kVersion, "cniVersion \"{}\" is not supported; use one of {}", text,
                      fmt::join(kSupportedVersions, ", "));
    }
    return Version(static_cast<size_t>(at - kSupportedVersions.begin()));
}

}  // namespace weir::cni
