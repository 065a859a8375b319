// SPDX-License-Identifier: Apache-2.0
#include "agent/loop.h"

#include <csignal>
#include <list>

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include "common/log.h"

namespace weir::agent {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

struct Watch {
    asio::posix::stream_descriptor descriptor;
    std::function<void()> ready;
    std::chrono::milliseconds rest;
    asio::steady_timer timer;

    void wait() {
        descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                              [this](const error_code& error) {
                                  if (error) return;
                                  ready();
                                  pause();
                              });
    }
    void pause() {
        if (rest.count() == 0) return wait();
        timer.expires_after(rest);
        timer.async_wait([this](const error_code& error) {
            if (!error) wait();
        });
    }
};

struct Repeat {
    asio::steady_timer timer;
    std::chrono::milliseconds period;
    std::function<void()> work;

    void wait() {
        timer.expires_after(period);
        timer.async_wait([this](const error_code& error) {
            if (error) return;
            work();
            wait();
        });
    }
};

}  // namespace

struct Loop::State {
    asio::io_context io{1};
    asio::signal_set signals{io};
    std::list<Watch> watches;
    std::list<Repeat> repeats;
};

Loop::Loop() : state_(std::make_unique<State>()) {}
Loop::~Loop() = default;

void Loop::post(std::function<void()> work) {
    asio::post(state_->io, std::move(work));
}

void Loop::watch(int fd, std::function<void()> ready, std::chrono::milliseconds rest) {
    // A descriptor of its own, so that closing it leaves the caller's alone.
    const int copy = ::dup(fd);
    auto& watch =
        state_->watches.emplace_back(Watch{asio::posix::stream_descriptor(state_->io, copy),
                                           std::move(ready), rest, asio::steady_timer(state_->io)});
    watch.wait();
}

void Loop::every(std::chrono::milliseconds period, std::function<void()> work) {
    auto& repeat = state_->repeats.emplace_back(
        Repeat{asio::steady_timer(state_->io), period, std::move(work)});
    repeat.wait();
}

void Loop::stop_on_signals() {
    state_->signals.add(SIGTERM);
    state_->signals.add(SIGINT);
    state_->signals.async_wait([this](const error_code& error, int signal) {
        if (error) return;
        log::info("signal {}: ending; everything goes on without this agent", signal);
        stop();
    });
}

void Loop::stop() {
    state_->io.stop();
}
void Loop::run() {
    state_->io.run();
}
asio::io_context& Loop::io() {
    return state_->io;
}

struct Workers::State {
    explicit State(unsigned threads) : pool(threads) {}
    asio::thread_pool pool;
};

Workers::Workers(unsigned threads) : state_(std::make_unique<State>(threads)) {}
Workers::~Workers() {
    state_->pool.join();
}
void Workers::run(std::function<void()> work) {
    asio::post(state_->pool, std::move(work));
}

}  // namespace weir::agent
