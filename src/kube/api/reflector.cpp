// SPDX-License-Identifier: Apache-2.0
#include "kube/api/reflector.h"

#include <array>

#include "common/log.h"

namespace weir::kube::api {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr int kOk = 200;
constexpr size_t kPageSize = 500;
constexpr size_t kChunk = 64 * 1024;
/// The server sends bookmarks every minute: a watch that is silent for longer is dead, whatever TCP
/// says.
constexpr auto kSilence = 90s;
/// The list in which the first page asks for the state, and a watch starts that misses nothing.
constexpr std::string_view kStreamOptions =
    "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

std::string encode_query(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                           std::string_view("-_.~").find(c) != std::string_view::npos;
        if (plain) {
            out += c;
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return out;
}

}  // namespace

Reflector::Reflector(asio::io_context& io, const Resource& resource, bool leader, Shared shared)
    : resource_(resource),
      shared_(std::move(shared)),
      machine_(resource.optional, leader,
               [this] { return std::uniform_real_distribution<double>(0, 1)(random_); }),
      timer_(io) {}

asio::awaitable<void> Reflector::run() {
    for (;;) {
        const auto step = machine_.next();
        if (step.not_before > Clock::now()) {
            timer_.expires_at(step.not_before);
            co_await timer_.async_wait(kTuple);
            continue;  // it may have been woken to do it earlier
        }
        co_await perform(step);
    }
}

void Reflector::wake() {
    machine_.wake(Clock::now());
    timer_.cancel();
}

asio::awaitable<void> Reflector::perform(const ListWatch::Step& step) {
    switch (step.action) {
        case ListWatch::Action::kStream:
        case ListWatch::Action::kWatch:
            co_return co_await watch(step);
        case ListWatch::Action::kList:
            co_return co_await list(step);
        case ListWatch::Action::kDiscover:
            co_return co_await discover();
    }
}

std::string Reflector::watch_target(const ListWatch::Step& step) const {
    std::string target = fmt::format("{}/{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={}",
                                     resource_.group_path, resource_.plural, step.timeout.count());
    if (step.action == ListWatch::Action::kStream) target += kStreamOptions;
    if (!step.resource_version.empty()) {
        target += "&resourceVersion=" + encode_query(step.resource_version);
    }
    if (!resource_.selector.empty()) target += fmt::format("&labelSelector={}", resource_.selector);
    return target;
}

std::string Reflector::list_target(const ListWatch::Step& step) const {
    std::string target =
        fmt::format("{}/{}?limit={}", resource_.group_path, resource_.plural, kPageSize);
    if (!step.page.empty()) target += "&continue=" + encode_query(step.page);
    if (!resource_.selector.empty()) target += fmt::format("&labelSelector={}", resource_.selector);
    return target;
}

HttpRequest Reflector::get(std::string target) const {
    HttpRequest request;
    request.target = std::move(target);
    request.accept = resource_.encoding == Encoding::kProtobuf
                         ? "application/vnd.kubernetes.protobuf,application/json"
                         : "application/json";
    return request;
}

std::optional<Encoding> Reflector::encoding_of(const HttpHead& head) const {
    if (head.content_type.starts_with("application/vnd.kubernetes.protobuf")) {
        return Encoding::kProtobuf;
    }
    if (head.content_type.starts_with("application/json")) return Encoding::kJson;
    return std::nullopt;
}

/// A kept connection may have been closed by the server a moment ago: then a new one is tried.
asio::awaitable<Result<HttpHead>> Reflector::exchange(const HttpRequest& request) {
    if (connection_ && (!connection_->reusable() || !shared_.session.current(*connection_))) {
        drop_connection();
    }
    if (connection_) {
        auto head = co_await shared_.session.request(*connection_, request);
        if (head) co_return head;
        drop_connection();
    }
    auto fresh = co_await shared_.session.connect();
    if (!fresh) co_return Failure(std::move(fresh).error());
    connection_ = *std::move(fresh);
    counted_ = 0;
    auto head = co_await shared_.session.request(*connection_, request);
    if (!head) shared_.session.doubt();
    co_return head;
}

asio::awaitable<std::optional<HttpHead>> Reflector::ask(HttpRequest request) {
    auto head = co_await exchange(request);
    if (!head) {
        drop_connection();
        machine_.unreachable(Clock::now());
        failed(head.error().message());
        co_return std::nullopt;
    }
    if (head->status == kOk) {
        shared_.reached();
        co_return *head;
    }
    co_await tell_refusal(*head);
    co_return std::nullopt;
}

asio::awaitable<void> Reflector::tell_refusal(const HttpHead& head) {
    const auto body = co_await connection_->read_all(head);
    if (!body) drop_connection();
    Status status = read_status(encoding_of(head).value_or(Encoding::kJson), head.status,
                                body ? std::string_view(*body) : std::string_view());
    status.code = head.status;  // what the body says may be anything
    if (head.retry_after) status.retry_after = head.retry_after;
    if (head.status >= 500) shared_.session.doubt();
    refused(status);
}

void Reflector::refused(const Status& status) {
    machine_.refused(Clock::now(), status);
    // That a server does not stream lists is no failure: it is asked in pages.
    if (listing_stream_ && machine_.next().action == ListWatch::Action::kList) {
        return log::debug("{}: no streaming list: {}", to_string(resource_.kind), status.message);
    }
    // Nor that the cluster lacks a kind that it need not have: discovery tells.
    if (status.code == 404 && machine_.next().action == ListWatch::Action::kDiscover) {
        return log::debug("{}: not found: {}", to_string(resource_.kind), status.message);
    }
    failed(fmt::format("{} {}: {}", status.code, status.reason, status.message));
}

asio::awaitable<void> Reflector::watch(const ListWatch::Step& step) {
    listing_ = {};
    listing_stream_ = step.action == ListWatch::Action::kStream;
    const auto head = co_await ask(get(watch_target(step)));
    if (!head) co_return;
    const auto encoding = encoding_of(*head);
    if (!encoding) {
        co_return broken(fmt::format("an answer of type \"{}\"", head->content_type.substr(0, 80)));
    }
    machine_.opened(Clock::now());
    connected();
    co_await follow(*encoding);
    shared_.board.update(resource_.kind, [](KindState& state) {
        if (!std::exchange(state.connected, false)) return;
        state.since = std::chrono::system_clock::now();
    });
}

asio::awaitable<void> Reflector::follow(Encoding encoding) {
    FrameReader frames(encoding);
    std::vector<char> chunk(kChunk);
    for (;;) {
        const auto got = co_await connection_->read(chunk, kSilence);
        if (!got || *got == 0) {
            if (frames.partial() > 0) co_return broken("a watch ended within a frame");
            if (!got) drop_connection();
            machine_.closed(Clock::now());
            if (!got) failed(got.error().message());
            co_return;
        }
        frames.feed({chunk.data(), *got});
        shared_.board.update(resource_.kind, [&](KindState& state) {
            state.heard = Clock::now();
            state.bytes += connection_->received() - counted_;
        });
        counted_ = connection_->received();
        for (;;) {
            const auto frame = frames.next();
            if (!frame) co_return broken(frame.error().message());
            if (!*frame) break;
            if (!handle(encoding, **frame)) co_return;
        }
    }
}

bool Reflector::handle(Encoding encoding, std::string_view frame) {
    auto event = read_watch_event(encoding, resource_.kind, frame, shared_.pool);
    if (!event) {
        broken(event.error().message());
        return false;
    }
    switch (event->type) {
        case EventType::kError:
            drop_connection();
            refused(event->status);
            return false;
        case EventType::kBookmark:
            if (event->initial_end && listing_stream_) {
                machine_.initial_end(event->resource_version);
                finish_list("streamed");
            } else {
                machine_.progressed(event->resource_version);
            }
            break;
        default:
            handle_change(event->type, std::move(event->item));
            machine_.progressed(event->resource_version);
    }
    shared_.board.update(resource_.kind, [&](KindState& state) {
        state.resource_version = machine_.resource_version();
        ++state.events;
    });
    return true;
}

void Reflector::handle_change(EventType type, Item item) {
    if (!item.decoded.errors.empty()) {
        shared_.board.update(resource_.kind, [](KindState& state) { ++state.refused; });
    }
    if (listing_stream_) return collect(type, std::move(item));
    if (!item.decoded.key) return shared_.inbox.nameless(resource_.kind);
    if (type == EventType::kDeleted) item.decoded.object.reset();
    if (type == EventType::kDeleted) item.decoded.errors.clear();
    shared_.inbox.apply(*std::move(item.decoded.key),
                        {std::move(item.decoded.object), std::move(item.decoded.errors),
                         std::move(item.decoded.uid)});
}

void Reflector::collect(EventType type, Item item) {
    if (!item.decoded.key) {
        ++listing_.nameless;
        return;
    }
    if (type == EventType::kDeleted) {
        listing_.objects.erase(*item.decoded.key);
        return;
    }
    listing_.objects.insert_or_assign(
        *std::move(item.decoded.key),
        Change{std::move(item.decoded.object), std::move(item.decoded.errors),
               std::move(item.decoded.uid)});
}

void Reflector::finish_list(std::string_view how) {
    log::debug("{}: {} objects {}", to_string(resource_.kind), listing_.objects.size(), how);
    const bool streamed = std::exchange(listing_stream_, false);
    // First: whoever finds the objects finds the state that goes with them.
    shared_.board.update(resource_.kind, [&](KindState& state) {
        ++state.lists;
        state.streamed += streamed ? 1 : 0;
        state.absent = machine_.absent();
        state.resource_version = machine_.resource_version();
    });
    shared_.inbox.replace(resource_.kind, std::exchange(listing_, {}));
}

asio::awaitable<void> Reflector::list(const ListWatch::Step& step) {
    if (step.page.empty()) listing_ = {};
    listing_stream_ = false;
    HttpRequest request = get(list_target(step));
    request.gzip = true;
    const auto head = co_await ask(std::move(request));
    if (!head) co_return;
    const auto encoding = encoding_of(*head);
    if (!encoding) {
        co_return broken(fmt::format("an answer of type \"{}\"", head->content_type.substr(0, 80)));
    }
    const auto body = co_await connection_->read_all(*head);
    if (!body) co_return broken(body.error().message());
    shared_.board.update(resource_.kind, [&](KindState& state) {
        state.heard = Clock::now();
        state.bytes += connection_->received() - std::exchange(counted_, connection_->received());
    });
    auto page = read_list(*encoding, resource_.kind, *body, shared_.pool);
    if (!page) co_return broken(page.error().message());
    for (Item& item : page->items)
        collect(EventType::kAdded, std::move(item));
    machine_.page(Clock::now(), *page);
    if (page->next.empty()) finish_list("in pages");
}

asio::awaitable<void> Reflector::discover() {
    HttpRequest request;
    request.target = resource_.group_path;
    request.accept = "application/json";
    const auto head = co_await exchange(request);
    if (!head) {
        drop_connection();
        machine_.unreachable(Clock::now());
        co_return failed(head.error().message());
    }
    // An unknown group is answered by 404, as long as it is unknown.
    if (head->status != kOk && head->status != 404) co_return co_await tell_refusal(*head);
    const auto body = co_await connection_->read_all(*head);
    if (!body) co_return broken(body.error().message());
    bool offered = false;
    if (head->status == kOk) {
        const auto answer = offers_resource(*body, resource_.plural);
        if (!answer) co_return broken(answer.error().message());
        offered = *answer;
    }
    const bool was_absent = machine_.absent();
    machine_.discovered(Clock::now(), offered);
    if (offered || was_absent) co_return;
    log::info("the cluster has no {}: looked for every half minute", to_string(resource_.kind));
    shared_.board.update(resource_.kind, [](KindState& state) { state.error.clear(); });
    listing_ = {};
    listing_stream_ = false;
    finish_list("as the kind is absent");
}

void Reflector::drop_connection() {
    connection_.reset();
    counted_ = 0;
}

void Reflector::connected() {
    bool mended = false;
    shared_.board.update(resource_.kind, [&](KindState& state) {
        mended = !state.error.empty();
        state.error.clear();
        ++state.watches;
        if (!std::exchange(state.connected, true)) state.since = std::chrono::system_clock::now();
    });
    if (mended) log::info("{}: watched again", to_string(resource_.kind));
}

void Reflector::failed(std::string error) {
    bool fresh = false;
    shared_.board.update(resource_.kind, [&](KindState& state) {
        ++state.failures;
        fresh = state.error.empty();
        state.error = error;
        if (std::exchange(state.connected, false)) state.since = std::chrono::system_clock::now();
    });
    // Told once; status has the latest.
    if (fresh) {
        log::warn("{}: {} ({}); what is known stays in force", to_string(resource_.kind), error,
                  shared_.session.server().to_string());
    }
}

void Reflector::broken(std::string error) {
    drop_connection();
    machine_.broken(Clock::now());
    failed(std::move(error));
}

}  // namespace weir::kube::api
