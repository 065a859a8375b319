// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <tl/expected.hpp>

namespace weir {

/// What kind of failure, for callers that act on it: exit codes, HTTP status, CNI error codes.
enum class Errc : unsigned char {
    kInvalid,      ///< the input is wrong; the message says which part
    kNotFound,     ///< the thing named does not exist
    kExists,       ///< it exists already
    kExhausted,    ///< a table, pool or range is full
    kPermission,   ///< not allowed
    kUnavailable,  ///< not now; trying again may help
    kUnsupported,  ///< this kernel or build cannot do it
    kSystem,       ///< a system call failed; os_errno says how
    kInternal,     ///< a bug
};

/// A failure with the words a person needs: what was tried, on what, why it failed, the next step.
/// Context is put in front as the error travels up: "outer: inner: cause".
class Error {
  public:
    Error(Errc code, std::string message, int os_errno = 0)
        : code_(code), os_errno_(os_errno), message_(std::move(message)) {}

    [[nodiscard]] Errc code() const { return code_; }
    /// errno of the failed system call, 0 if none.
    [[nodiscard]] int os_errno() const { return os_errno_; }
    [[nodiscard]] const std::string& message() const { return message_; }

    /// The same error with "context: " in front.
    template <typename... Args>
    [[nodiscard]] Error with(fmt::format_string<Args...> format, Args&&... args) && {
        message_ = fmt::format(format, std::forward<Args>(args)...) + ": " + message_;
        return std::move(*this);
    }

  private:
    Errc code_;
    int os_errno_;
    std::string message_;
};

/// The value, or why there is none. Nothing of ours throws for what the environment can do.
template <typename T = void>
using Result = tl::expected<T, Error>;

using Failure = tl::unexpected<Error>;

/// `return fail(Errc::kInvalid, "port {} is out of range", port);`
template <typename... Args>
[[nodiscard]] Failure fail(Errc code, fmt::format_string<Args...> format, Args&&... args) {
    return Failure(Error(code, fmt::format(format, std::forward<Args>(args)...)));
}

/// The failure of a system call: code from `os_errno`, its text appended to the message.
[[nodiscard]] Error system_error(int os_errno, std::string_view what);

/// `return fail_errno(errno, "open {}", path);`
template <typename... Args>
[[nodiscard]] Failure fail_errno(int os_errno, fmt::format_string<Args...> format, Args&&... args) {
    return Failure(system_error(os_errno, fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace weir

/// The value of a Result, or return its error from the enclosing function (not in coroutines).
#define WEIR_TRY(expression)                                            \
    __extension__({                                                     \
        auto&& weir_try_result = (expression);                          \
        if (!weir_try_result) [[unlikely]]                              \
            return ::weir::Failure(std::move(weir_try_result).error()); \
        std::move(weir_try_result).value();                             \
    })

/// For Result<void>: return its error from the enclosing function.
#define WEIR_CHECK(expression)                                                      \
    do {                                                                            \
        if (auto weir_check_result = (expression); !weir_check_result) [[unlikely]] \
            return ::weir::Failure(std::move(weir_check_result).error());           \
    } while (false)
