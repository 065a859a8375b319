// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace weir::kube::api {

/// RFC 4648 with padding; line breaks and blanks are skipped. Nothing if it is none.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace weir::kube::api
