// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "common/result.h"

/// Only for sources that speak to the network: Asio is heavy.
namespace weir::kube::api {

template <typename T = void>
using Task = boost::asio::awaitable<Result<T>>;

/// `auto [error, count] = co_await stream.async_read_some(buffer, kTuple);`
inline constexpr auto kTuple = boost::asio::as_tuple(boost::asio::use_awaitable);

}  // namespace weir::kube::api

/// WEIR_TRY and WEIR_CHECK for coroutines that give a Result.
#define WEIR_CO_TRY(expression)                                            \
    __extension__({                                                        \
        auto&& weir_try_result = (expression);                             \
        if (!weir_try_result) [[unlikely]]                                 \
            co_return ::weir::Failure(std::move(weir_try_result).error()); \
        std::move(weir_try_result).value();                                \
    })
#define WEIR_CO_CHECK(expression)                                                   \
    do {                                                                            \
        if (auto weir_check_result = (expression); !weir_check_result) [[unlikely]] \
            co_return ::weir::Failure(std::move(weir_check_result).error());        \
    } while (false)
