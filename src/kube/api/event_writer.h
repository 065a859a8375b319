// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "kube/api/caller.h"
#include "kube/api/event_book.h"

/// Only for sources that speak to the network: Asio is heavy.
namespace weir::kube::api {

/// Writes Events (events.k8s.io/v1) as its book says.
class EventWriter {
  public:
    struct Options {
        std::string node;  ///< reportingInstance
        /// Whether this agent writes what concerns the whole cluster, now.
        std::function<bool()> leading;
    };
    EventWriter(boost::asio::io_context& io, Session& session, Options options);

    // The io_context's thread.
    /// Never ends; dies with the io_context.
    boost::asio::awaitable<void> run();
    void note(EventNote note);

    // Any thread.
    [[nodiscard]] EventCounts counts() const;

  private:
    boost::asio::awaitable<void> write(const EventBook::Write& write);
    boost::asio::awaitable<void> wait();
    void take(const EventBook::Write& write, const Reply& reply);
    [[nodiscard]] HttpRequest request_of(const EventBook::Write& write) const;

    Options options_;
    Caller caller_;
    boost::asio::steady_timer timer_;
    EventBook book_;
    std::string trouble_;  ///< told already
    mutable std::mutex mutex_;
    EventCounts counts_;
};

}  // namespace weir::kube::api
