// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "cni/failure.h"

namespace weir::cni {

struct Answer {
    unsigned status = 0;
    std::string body;
};

/// Why there is no answer.
struct NoAnswer {
    /// True: nobody took the request, so it had no effect. False: it may have had.
    bool untouched = false;
    std::string why;
};

/// One `POST path` with a JSON body over the unix socket, within `limit` in all. Blocks.
tl::expected<Answer, NoAnswer> exchange(const std::string& socket, std::string_view path,
                                        std::string_view body, std::chrono::milliseconds limit);

/// An HTTP answer from its bytes, or why it is none. For exchange(), and for tests of the parser.
tl::expected<Answer, std::string> parse_answer(std::string_view bytes);

}  // namespace weir::cni
