// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <csignal>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "shop/http.h"
#include "shop/shop.h"

namespace shop {
namespace {

using weir::Errc;
using weir::fail;
using weir::Fd;
using weir::Result;

std::atomic<bool> stopping{false};

struct Tally {
    uint64_t ok = 0;
    uint64_t failed = 0;
    std::map<std::string, uint64_t> by_error;
    std::map<std::string, uint64_t> by_pod;
};

class Worker {
  public:
    Worker(const LoadOptions& options, std::vector<Target> targets, unsigned first)
        : options_(options), targets_(std::move(targets)), next_(first) {}

    void once() {
        const auto message = exchange();
        if (message && message->start_line == "HTTP/1.1 200 OK") {
            ++tally_.ok;
            ++tally_.by_pod[message->pod];
            return;
        }
        ++tally_.failed;
        connection_.reset();
        ++tally_.by_error[message ? "answer: " + message->start_line : message.error().message()];
    }
    [[nodiscard]] const Tally& tally() const { return tally_; }

  private:
    Result<Message> exchange() {
        const auto& target = targets_[next_++ % targets_.size()];
        if (!connection_) connection_ = WEIR_TRY(connect_to(target, options_.timeout));
        WEIR_CHECK(send_all(connection_->get(), request("/")));
        auto message = WEIR_TRY(receive(connection_->get()));
        if (message.start_line.empty()) return fail(Errc::kInvalid, "closed without an answer");
        if (!options_.keep_alive) connection_.reset();
        return message;
    }

    const LoadOptions& options_;
    std::vector<Target> targets_;
    size_t next_;
    std::optional<Fd> connection_;
    Tally tally_;
};

void add(std::map<std::string, uint64_t>& sum, const std::map<std::string, uint64_t>& part) {
    for (const auto& [name, count] : part)
        sum[name] += count;
}

std::string json_object(const std::map<std::string, uint64_t>& counts) {
    std::string out;
    for (const auto& [name, count] : counts) {
        out += fmt::format("{}\"{}\":{}", out.empty() ? "" : ",", name, count);
    }
    return "{" + out + "}";
}

}  // namespace

Result<bool> load(const LoadOptions& options) {
    std::vector<Target> targets;
    for (const auto& url : options.urls)
        targets.push_back(WEIR_TRY(parse_url(url)));
    if (targets.empty()) return fail(Errc::kInvalid, "no URL to load");
    const auto stop = [](int) { stopping = true; };
    std::signal(SIGTERM, stop);
    std::signal(SIGINT, stop);

    std::atomic<uint64_t> issued{0};
    std::atomic<bool> failing{false};
    const auto done = [&] {
        if (stopping && (failing || issued >= options.at_least)) return true;
        const uint64_t number = issued++;
        return options.requests != 0 && number >= options.requests;
    };
    std::mutex mutex;
    Tally sum;
    std::vector<std::thread> threads;
    const auto begin = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < options.workers; ++i) {
        threads.emplace_back([&, i] {
            Worker worker(options, targets, i);
            while (!done()) {
                worker.once();
                if (worker.tally().failed > 0) failing = true;
                if (options.pause.count() > 0) std::this_thread::sleep_for(options.pause);
            }
            const std::lock_guard lock(mutex);
            sum.ok += worker.tally().ok;
            sum.failed += worker.tally().failed;
            add(sum.by_error, worker.tally().by_error);
            add(sum.by_pod, worker.tally().by_pod);
        });
    }
    for (auto& thread : threads)
        thread.join();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    fmt::print("{{\"ok\":{},\"failed\":{},\"seconds\":{:.3f},\"errors\":{},\"pods\":{}}}\n", sum.ok,
               sum.failed, took.count(), json_object(sum.by_error), json_object(sum.by_pod));
    return sum.failed == 0;
}

}  // namespace shop
