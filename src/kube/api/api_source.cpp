// SPDX-License-Identifier: Apache-2.0
#include "kube/api/api_source.h"

#include <algorithm>
#include <future>
#include <map>
#include <thread>

#include <pthread.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include "common/log.h"
#include "kube/api/elector.h"
#include "kube/api/event_writer.h"
#include "kube/api/inbox.h"
#include "kube/api/node_blocks.h"
#include "kube/api/node_report.h"
#include "kube/api/reflector.h"

namespace weir::kube::api {
namespace {

namespace asio = boost::asio;

/// Below the files of this host: what stands there is said by somebody who is here.
constexpr uint32_t kRank = 1000;

/// A coroutine that dies must not do so in silence: the agent ends and is started again.
void rethrow(const std::exception_ptr& failure) {
    if (failure) std::rethrow_exception(failure);
}

std::string list_servers(const Access& access) {
    std::string text;
    for (const auto& server : access.servers)
        text += (text.empty() ? "" : ", ") + server.to_string();
    return text;
}

}  // namespace

struct ApiSource::State {
    State(Store& the_store, Access the_access, Inbox the_inbox)
        : store(the_store),
          access(std::move(the_access)),
          servers(list_servers(access)),
          source(store.add_source(kRank, access.servers.front().to_string())),
          inbox(std::move(the_inbox)) {}

    void start(std::span<const Resource> resources);
    void take_kind(Kind kind, Inbox::PerKind& news);
    void take_listing(Kind kind, Listing listing);
    void take_change(const ObjectKey& key, Change change);
    void note_problems(const ObjectKey& key, std::string uid, std::vector<FieldError> errors);

    Store& store;
    const Access access;
    const std::string servers;
    const SourceId source;
    Inbox inbox;
    StateBoard board;
    std::array<bool, kKindCount> synced{};
    std::map<ObjectKey, Refused> problems;

    // Of the reading thread. Reflectors go before the io_context, whose end is that of their
    // coroutines.
    TextPool pool;
    Session session{access};
    asio::io_context io{1};
    std::vector<std::unique_ptr<Reflector>> reflectors;
    std::unique_ptr<Elector> elector;
    std::unique_ptr<EventWriter> events;
    std::unique_ptr<NodeBlocks> blocks;
    std::promise<void> given_up;  ///< the elector has ended
    std::thread thread;
};

void ApiSource::State::start(std::span<const Resource> resources) {
    const auto wake = [this] {
        for (const auto& reflector : reflectors)
            reflector->wake();
    };
    for (const Resource& resource : resources) {
        reflectors.push_back(
            std::make_unique<Reflector>(io, resource, reflectors.empty(),
                                        Reflector::Shared{session, inbox, board, pool, wake}));
    }
    for (const auto& reflector : reflectors)
        asio::co_spawn(io, reflector->run(), rethrow);
    thread = std::thread([this] {
        ::pthread_setname_np(::pthread_self(), "kube-api");
        io.run();
    });
}

void ApiSource::State::note_problems(const ObjectKey& key, std::string uid,
                                     std::vector<FieldError> errors) {
    if (errors.empty()) {
        problems.erase(key);
        return;
    }
    if (problems.size() >= kMaxProblems && !problems.contains(key)) return;
    std::vector<Problem> now;
    for (auto& error : errors) {
        now.push_back({.file = servers,
                       .object = key.to_string(),
                       .path = std::move(error.path),
                       .message = std::move(error.message),
                       .since = std::chrono::system_clock::now()});
    }
    problems[key] = {key, std::move(uid), std::move(now)};
}

void ApiSource::State::take_change(const ObjectKey& key, Change change) {
    const bool refused = !change.errors.empty();
    note_problems(key, change.uid.str(), std::move(change.errors));
    if (change.object) {
        store.put(source, *std::move(change.object));
    } else if (!refused) {
        store.withdraw(source, key);
    }
}

void ApiSource::State::take_listing(Kind kind, Listing listing) {
    std::vector<ObjectKey> gone;
    for (const ObjectKey& key : store.defined_by(source)) {
        if (key.kind == kind && !listing.objects.contains(key)) gone.push_back(key);
    }
    std::erase_if(problems, [&](const auto& entry) {
        return entry.first.kind == kind && !listing.objects.contains(entry.first);
    });
    for (auto& [key, change] : listing.objects)
        take_change(key, std::move(change));
    if (listing.nameless > 0) {
        log::warn("{} objects of kind {} cannot be read at all: none is taken for deleted",
                  listing.nameless, to_string(kind));
        return;
    }
    for (const ObjectKey& key : gone)
        store.withdraw(source, key);
}

void ApiSource::State::take_kind(Kind kind, Inbox::PerKind& news) {
    if (news.listing) {
        take_listing(kind, *std::move(news.listing));
        synced[static_cast<size_t>(kind)] = true;
    }
    for (auto& [key, change] : news.changes)
        take_change(key, std::move(change));
    if (news.nameless > 0) {
        log::warn("{} changes of objects of kind {} cannot be read and are left out", news.nameless,
                  to_string(kind));
    }
    const bool now_synced = synced[static_cast<size_t>(kind)];
    board.update(kind, [&](KindState& state) {
        state.synced = now_synced;
        state.lag = Inbox::Clock::now() - news.oldest;
    });
}

ApiSource::ApiSource(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<ApiSource>> ApiSource::open(
    Store& store, Access access, std::span<const Resource, kKindCount> resources) {
    if (access.servers.empty()) return fail(Errc::kInvalid, "no API server is given");
    auto inbox = WEIR_TRY(Inbox::open());
    auto state = std::make_unique<State>(store, std::move(access), std::move(inbox));
    log::info("objects come from {} ({})", state->servers, state->access.origin);
    state->start(resources);
    return std::unique_ptr<ApiSource>(new ApiSource(std::move(state)));
}

ApiSource::~ApiSource() {
    state_->io.stop();
    state_->thread.join();
}

int ApiSource::fd() const {
    return state_->inbox.fd();
}

void ApiSource::on_readable() {
    auto all = state_->inbox.take();
    for (size_t i = 0; i < all.size(); ++i) {
        if (!all[i].empty()) state_->take_kind(static_cast<Kind>(i), all[i]);
    }
}

void ApiSource::report_node_ready(std::string node) {
    asio::co_spawn(state_->io, api::report_node_ready(state_->session, std::move(node)), rethrow);
}

void ApiSource::begin_writes(WriteOptions options) {
    State& state = *state_;
    const std::string ns = options.ns;
    state.elector = std::make_unique<Elector>(state.io, state.session,
                                              Elector::Options{.ns = std::move(options.ns),
                                                               .name = std::string(kLeaderLease),
                                                               .node = options.node,
                                                               .timing = options.timing});
    state.events = std::make_unique<EventWriter>(
        state.io, state.session,
        EventWriter::Options{.node = std::move(options.node),
                             .leading = [&state] { return state.elector->leading(); }});
    asio::co_spawn(state.io, state.elector->run(), [&state](const std::exception_ptr& failure) {
        rethrow(failure);
        state.given_up.set_value();
    });
    asio::co_spawn(state.io, state.events->run(), rethrow);
    if (!options.blocks.source) return;
    state.blocks = std::make_unique<NodeBlocks>(
        state.io, state.session, ns, std::move(options.blocks),
        NodeBlocks::Hooks{
            .leading = [&state] { return state.elector->leading(); },
            .note = [&state](EventNote note) { state.events->note(std::move(note)); }});
    asio::co_spawn(state.io, state.blocks->run(), rethrow);
}

void ApiSource::set_nodes(std::vector<NodeRanges> nodes) {
    if (!state_->blocks) return;
    asio::post(state_->io, [this, nodes = std::move(nodes)]() mutable {
        state_->blocks->set_nodes(std::move(nodes));
    });
}

bool ApiSource::wants_pods() const {
    return state_->blocks && state_->blocks->wants_pods();
}

void ApiSource::set_pods(std::vector<IpAddress> addresses) {
    if (!state_->blocks) return;
    std::ranges::sort(addresses);
    asio::post(state_->io, [this, addresses = std::move(addresses)]() mutable {
        state_->blocks->set_pods(std::move(addresses));
    });
}

BlockState ApiSource::block_state() const {
    return state_->blocks ? state_->blocks->state() : BlockState();
}

void ApiSource::end_writes(std::chrono::milliseconds limit) {
    if (!state_->elector) return;
    asio::post(state_->io, [this] { state_->elector->stop(); });
    state_->given_up.get_future().wait_for(limit);
}

void ApiSource::tell(EventNote note) {
    if (!state_->events) return;
    asio::post(state_->io,
               [this, note = std::move(note)]() mutable { state_->events->note(std::move(note)); });
}

void ApiSource::set_candidates(size_t count) {
    if (!state_->elector) return;
    asio::post(state_->io, [this, count] { state_->elector->set_candidates(count); });
}

bool ApiSource::leading() const {
    return state_->elector && state_->elector->leading();
}

Leadership ApiSource::leadership() const {
    return state_->elector ? state_->elector->state() : Leadership();
}

EventCounts ApiSource::event_counts() const {
    return state_->events ? state_->events->counts() : EventCounts();
}

bool ApiSource::synced(Kind kind) const {
    return state_->synced[static_cast<size_t>(kind)];
}

std::vector<KindState> ApiSource::states() const {
    std::vector<KindState> states;
    for (size_t i = 0; i < kKindCount; ++i)
        states.push_back(state_->board.get(static_cast<Kind>(i)));
    return states;
}

std::vector<Problem> ApiSource::problems() const {
    std::vector<Problem> all;
    for (const auto& [key, refused] : state_->problems)
        all.insert(all.end(), refused.problems.begin(), refused.problems.end());
    return all;
}

const std::map<ObjectKey, ApiSource::Refused>& ApiSource::refused() const {
    return state_->problems;
}

const std::string& ApiSource::servers() const {
    return state_->servers;
}

}  // namespace weir::kube::api
