// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "common/result.h"
#include "kube/object.h"
#include "kube/tree.h"

namespace weir::kube::api {

/// The message of an object in protobuf as the tree that its JSON would give, as far as Weir reads
/// it: the decoders, and with them every rule about fields, are the same for both encodings.
Result<Tree> tree_of(Kind kind, std::string_view message);

}  // namespace weir::kube::api
