// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/fd.h"
#include "common/result.h"

namespace boost::json {
class value;
}

namespace weir::cli {

using QueryParams = std::vector<std::pair<std::string, std::string>>;

/// A blocking client of the agent's local API; one connection for each call. A failure to reach the
/// agent is Errc::kUnavailable or kPermission and says what to do; an answer that is not 2xx is the
/// agent's own error.
class Client {
  public:
    explicit Client(std::filesystem::path socket) : socket_(std::move(socket)) {}

    [[nodiscard]] Result<boost::json::value> get(std::string_view path,
                                                 const QueryParams& query = {}) const;
    /// Calls `line` for each line of an NDJSON answer until it ends or `line` returns false.
    /// `follow`: the answer may pause for any time.
    [[nodiscard]] Result<void> stream(std::string_view path, const QueryParams& query, bool follow,
                                      const std::function<bool(std::string_view)>& line) const;

  private:
    [[nodiscard]] Result<Fd> connect() const;
    [[nodiscard]] Result<void> exchange(std::string_view path, const QueryParams& query,
                                        std::chrono::milliseconds patience,
                                        const std::function<bool(std::string&)>& body) const;

    std::filesystem::path socket_;
};

}  // namespace weir::cli
