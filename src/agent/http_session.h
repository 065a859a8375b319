// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <list>
#include <memory>
#include <set>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/basic_stream.hpp>

#include "agent/api_server.h"
#include "agent/router.h"

/// Internal to the API server: one connection. Heavy headers; include in its .cpp files only.
namespace weir::api {

using Stream = boost::beast::basic_stream<boost::asio::generic::stream_protocol>;

/// What all connections share.
struct SessionContext {
    boost::asio::io_context& io;
    Router router;
    Limits limits;
    std::set<Stream*> open;
    bool stopping = false;
    Refusals refusals;
};

/// Connections of one listener that have not sent a whole request, longest first.
using Waiting = std::list<Stream*>;

/// Who may do what on a connection.
struct SessionRights {
    std::optional<Caller> caller;
    bool public_only = false;
    std::string refusal;  ///< not empty: answer 403 with this
};

/// Serves requests until the client goes, misbehaves or is too slow. `waiting` outlives it; a
/// stream in it may be closed by others.
boost::asio::awaitable<void> serve(std::shared_ptr<SessionContext> context, Stream stream,
                                   SessionRights rights, Waiting& waiting);

}  // namespace weir::api
