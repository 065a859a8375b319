// SPDX-License-Identifier: Apache-2.0
#include "kube/problem.h"

#include <fmt/format.h>

namespace weir::kube {

std::string Problem::to_string() const {
    std::string out = file;
    if (line != 0) out += fmt::format(":{}", line);
    for (const std::string* part : {&object, &path, &message}) {
        if (!part->empty()) out += fmt::format("{}{}", out.empty() ? "" : ": ", *part);
    }
    return out;
}

}  // namespace weir::kube
