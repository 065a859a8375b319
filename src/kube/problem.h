// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace weir::kube {

/// Something in an input that a person has to mend. It changes nothing while it lasts.
struct Problem {
    std::string file;
    uint32_t line = 0;    ///< from 1; 0 if it is about the whole file or directory
    std::string object;   ///< "Service shop/web"; "" if that cannot be told
    std::string path;     ///< "spec.ports[1].port"; "" for the object itself
    std::string message;  ///< what is wrong, in words
    std::chrono::system_clock::time_point since{};

    /// "FILE:LINE: OBJECT: PATH: MESSAGE", without the parts that are empty.
    [[nodiscard]] std::string to_string() const;
    /// The same trouble, whenever it began.
    [[nodiscard]] bool same_as(const Problem& other) const {
        return file == other.file && line == other.line && object == other.object &&
               path == other.path && message == other.message;
    }
};

}  // namespace weir::kube
