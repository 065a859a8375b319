// SPDX-License-Identifier: Apache-2.0
#include "kube/api/fetch.h"

#include <optional>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "kube/api/session.h"
#include "kube/api/wire.h"

namespace weir::kube::api {
namespace {

Task<std::string> ask(Session& session, const std::string& path) {
    HttpRequest request;
    request.target = path;
    request.accept = "application/json";
    auto connection = co_await session.connect();
    if (!connection) co_return Failure(std::move(connection).error());
    const auto head = WEIR_CO_TRY(co_await session.request(**connection, std::move(request)));
    auto body = WEIR_CO_TRY(co_await (*connection)->read_all(head));
    if (head.status == 200) co_return body;
    const Status status = read_status(Encoding::kJson, head.status, body);
    const auto code = head.status == 404                         ? Errc::kNotFound
                      : head.status == 401 || head.status == 403 ? Errc::kPermission
                                                                 : Errc::kUnavailable;
    co_return fail(code, "{}: {} {}: {}", path, head.status, status.reason, status.message);
}

boost::asio::awaitable<void> ask_into(Session& session, const std::string& path,
                                      std::optional<Result<std::string>>& answer) {
    answer.emplace(co_await ask(session, path));
}

}  // namespace

Result<std::string> fetch(const Access& access, const std::string& path) {
    Session session(access);
    std::optional<Result<std::string>> answer;
    for (size_t i = 0; i < access.servers.size(); ++i) {
        boost::asio::io_context io;
        boost::asio::co_spawn(io, ask_into(session, path, answer), boost::asio::detached);
        io.run();
        if (*answer || answer->error().code() != Errc::kUnavailable) break;
    }
    return std::move(*answer);
}

}  // namespace weir::kube::api
