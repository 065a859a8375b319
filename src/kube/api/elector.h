// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <mutex>
#include <random>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "kube/api/caller.h"
#include "kube/api/election.h"
#include "kube/api/leadership.h"

/// Only for sources that speak to the network: Asio is heavy.
namespace weir::kube::api {

/// Takes part in the election of one agent of all, by a Lease.
class Elector {
  public:
    struct Options {
        std::string ns;    ///< of the Lease
        std::string name;  ///< of the Lease
        std::string node;  ///< this agent's
        ElectionTiming timing;
    };
    Elector(boost::asio::io_context& io, Session& session, Options options);

    // The io_context's thread.
    /// Until stop(); then it has given the election up if it was this agent's, as far as the server
    /// could be asked.
    boost::asio::awaitable<void> run();
    void stop();
    /// So many agents take part. Of many, few look often, which are enough to replace one that
    /// dies.
    void set_candidates(size_t count);

    // Any thread.
    /// True only while no other agent can be elected.
    [[nodiscard]] bool leading() const;
    [[nodiscard]] Leadership state() const;

  private:
    using Clock = Election::Clock;

    boost::asio::awaitable<void> perform(const Election::Step& step);
    boost::asio::awaitable<void> look();
    boost::asio::awaitable<void> release();
    Task<Reply> write(LeaseRecord record, bool takes, bool create);
    [[nodiscard]] std::string path() const;
    void show();
    void failed(std::string error);

    Options options_;
    std::string identity_;
    Caller caller_;
    boost::asio::steady_timer timer_;
    std::minstd_rand random_{std::random_device{}()};
    Election election_;
    bool stopping_ = false;
    std::string trouble_;  ///< of the last step
    std::atomic<Clock::rep> leading_until_{0};
    bool was_leading_ = false;
    mutable std::mutex mutex_;
    Leadership state_;
};

}  // namespace weir::kube::api
