// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "kube/decode.h"

/// Any bytes as a file of objects: no crash, and what is told is bounded and names a line of it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using weir::kube::DecodedFile;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    weir::kube::TextPool pool;
    const DecodedFile decoded = weir::kube::decode(text, pool);
    if (decoded.problems.size() > DecodedFile::kMaxProblems + 1) std::abort();
    for (const auto& problem : decoded.problems) {
        if (problem.message.empty() || problem.line > size + 1) std::abort();
    }
    return 0;
}
