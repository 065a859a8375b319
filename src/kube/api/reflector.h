// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <random>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "kube/api/inbox.h"
#include "kube/api/list_watch.h"
#include "kube/api/resource.h"
#include "kube/api/session.h"
#include "kube/api/state.h"

/// Only for sources that speak to the network: Asio is heavy.
namespace weir::kube::api {

/// Keeps the inbox told of one kind: does what its ListWatch says, over one connection.
class Reflector {
  public:
    struct Shared {
        Session& session;
        Inbox& inbox;
        StateBoard& board;
        TextPool& pool;
        std::function<void()> reached;  ///< a server answered well: wake the others
    };
    Reflector(boost::asio::io_context& io, const Resource& resource, bool leader, Shared shared);

    /// Never ends; dies with the io_context.
    boost::asio::awaitable<void> run();
    void wake();

  private:
    using Clock = ListWatch::Clock;

    boost::asio::awaitable<void> perform(const ListWatch::Step& step);
    boost::asio::awaitable<void> watch(const ListWatch::Step& step);
    boost::asio::awaitable<void> list(const ListWatch::Step& step);
    boost::asio::awaitable<void> discover();
    /// The head of an answer of 200; otherwise the machine and the board have been told.
    boost::asio::awaitable<std::optional<HttpHead>> ask(HttpRequest request);
    boost::asio::awaitable<Result<HttpHead>> exchange(const HttpRequest& request);
    boost::asio::awaitable<void> tell_refusal(const HttpHead& head);
    boost::asio::awaitable<void> follow(Encoding encoding);
    /// False if the watch is over; the machine has been told.
    bool handle(Encoding encoding, std::string_view frame);
    void handle_change(EventType type, Item item);
    void collect(EventType type, Item item);
    void finish_list(std::string_view how);
    [[nodiscard]] std::optional<Encoding> encoding_of(const HttpHead& head) const;
    [[nodiscard]] std::string watch_target(const ListWatch::Step& step) const;
    [[nodiscard]] std::string list_target(const ListWatch::Step& step) const;
    [[nodiscard]] HttpRequest get(std::string target) const;
    void refused(const Status& status);
    void failed(std::string error);
    void broken(std::string error);
    void connected();
    void drop_connection();

    Resource resource_;
    Shared shared_;
    std::minstd_rand random_{std::random_device{}()};
    ListWatch machine_;
    boost::asio::steady_timer timer_;
    std::unique_ptr<HttpConnection> connection_;
    uint64_t counted_ = 0;  ///< bytes of the connection that the board knows of
    Listing listing_;       ///< of a list that has not come to its end
    bool listing_stream_ = false;
};

}  // namespace weir::kube::api
