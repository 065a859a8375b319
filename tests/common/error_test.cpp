// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include <gtest/gtest.h>

#include "common/result.h"

namespace weir {
namespace {

Result<int> half(int number) {
    if (number % 2 != 0) return fail(Errc::kInvalid, "{} is odd", number);
    return number / 2;
}

Result<int> quarter(int number) {
    const int once = WEIR_TRY(half(number));
    return WEIR_TRY(half(once));
}

Result<void> check_both(int a, int b) {
    WEIR_CHECK(half(a));
    WEIR_CHECK(half(b));
    return {};
}

TEST(Error, TryPassesValuesAndErrors) {
    EXPECT_EQ(quarter(8).value(), 2);
    EXPECT_EQ(quarter(6).error().message(), "3 is odd");
    EXPECT_EQ(quarter(7).error().code(), Errc::kInvalid);
}

TEST(Error, CheckReturnsTheFirstError) {
    EXPECT_TRUE(check_both(2, 4).has_value());
    EXPECT_EQ(check_both(2, 5).error().message(), "5 is odd");
}

TEST(Error, ContextIsPutInFrontAndKeepsCodeAndErrno) {
    const Error error = Error(Errc::kSystem, "cause", EIO).with("inner {}", 1).with("outer");
    EXPECT_EQ(error.message(), "outer: inner 1: cause");
    EXPECT_EQ(error.code(), Errc::kSystem);
    EXPECT_EQ(error.os_errno(), EIO);
}

TEST(Error, SystemErrorsAreClassified) {
    const std::pair<int, Errc> cases[] = {
        {ENOENT, Errc::kNotFound},        {EEXIST, Errc::kExists},
        {EACCES, Errc::kPermission},      {ENOSPC, Errc::kExhausted},
        {EAGAIN, Errc::kUnavailable},     {ECONNREFUSED, Errc::kUnavailable},
        {EOPNOTSUPP, Errc::kUnsupported}, {EIO, Errc::kSystem},
    };
    for (const auto& [number, code] : cases) {
        EXPECT_EQ(system_error(number, "open").code(), code) << number;
    }
    const Failure failure = fail_errno(ENOENT, "open {}", "/x");
    EXPECT_EQ(failure.value().message(), "open /x: No such file or directory");
}

}  // namespace
}  // namespace weir
