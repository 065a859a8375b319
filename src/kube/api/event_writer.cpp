// SPDX-License-Identifier: Apache-2.0
#include "kube/api/event_writer.h"

#include <boost/json.hpp>

#include "common/log.h"
#include "common/rfc3339.h"
#include "kube/cursor.h"
#include "kube/json_parser.h"

namespace weir::kube::api {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using Action = EventBook::Write::Action;
using Clock = EventBook::Clock;

constexpr int kNotFound = 404;
constexpr int kConflict = 409;
constexpr int kTooMany = 429;
constexpr int kServerError = 500;

/// Events on objects without a namespace are in "default".
std::string_view namespace_of(const EventNote& note) {
    return note.regarding.ns.empty() ? std::string_view("default") : note.regarding.ns;
}

std::string path_of(const EventNote& note) {
    return fmt::format("/apis/events.k8s.io/v1/namespaces/{}/events", namespace_of(note));
}

std::string event_json(const EventBook::Write& write, const std::string& node) {
    const auto& note = write.note;
    const auto& object = note.regarding;
    return json::serialize(
        json::object{{"apiVersion", "events.k8s.io/v1"},
                     {"kind", "Event"},
                     {"metadata", {{"name", write.name}, {"namespace", namespace_of(note)}}},
                     {"eventTime", rfc3339_micros(write.last)},
                     {"reportingController", "weir.io/agent"},
                     {"reportingInstance", "weir-agent-" + node},
                     {"action", note.action},
                     {"reason", note.reason},
                     {"type", note.warning ? "Warning" : "Normal"},
                     {"note", note.text},
                     {"regarding",
                      {{"apiVersion", object.api_version},
                       {"kind", object.kind},
                       {"namespace", object.ns},
                       {"name", object.name},
                       {"uid", object.uid}}}});
}

std::string series_json(const EventBook::Write& write) {
    return json::serialize(json::object{
        {"series", {{"count", write.count}, {"lastObservedTime", rfc3339_micros(write.last)}}}});
}

/// How often an Event says that it happened.
uint64_t count_of(std::string_view body) {
    int64_t count = 1;
    TextPool pool;
    (void)parse_json(body, 1, [&](const Tree& tree) {
        Report report(pool);
        count = Cursor(tree, 0, report)["series"]["count"].integer(1, INT32_MAX).value_or(1);
    });
    return static_cast<uint64_t>(count);
}

}  // namespace

EventWriter::EventWriter(asio::io_context& io, Session& session, Options options)
    : options_(std::move(options)), caller_(session), timer_(io) {}

void EventWriter::note(EventNote note) {
    if (note.of_cluster && !options_.leading()) return;
    book_.note(std::move(note), Clock::now(), EventBook::Wall::now());
    timer_.cancel();
}

EventCounts EventWriter::counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
}

asio::awaitable<void> EventWriter::run() {
    for (;;) {
        const auto due = book_.next(Clock::now());
        if (due) {
            co_await write(*due);
        } else {
            co_await wait();
        }
        const std::lock_guard lock(mutex_);
        counts_ = book_.counts();
    }
}

/// Until something is due, or there is a new note.
asio::awaitable<void> EventWriter::wait() {
    timer_.expires_at(book_.due().value_or(Clock::time_point::max()));
    co_await timer_.async_wait(kTuple);
}

HttpRequest EventWriter::request_of(const EventBook::Write& write) const {
    HttpRequest request;
    request.target = path_of(write.note);
    if (write.action == Action::kCreate) {
        request.method = "POST";
        request.content_type = "application/json";
        request.body = event_json(write, options_.node);
        return request;
    }
    request.target += "/" + write.name;
    if (write.action == Action::kRead) return request;
    request.method = "PATCH";
    request.content_type = "application/merge-patch+json";
    request.body = series_json(write);
    return request;
}

asio::awaitable<void> EventWriter::write(const EventBook::Write& write) {
    if (write.note.of_cluster && !options_.leading()) co_return book_.leave(write.name);
    const auto reply = co_await caller_.call(request_of(write));
    if (reply) co_return take(write, *reply);
    book_.failed(write.name, Clock::now());
}

void EventWriter::take(const EventBook::Write& write, const Reply& reply) {
    const auto now = Clock::now();
    const bool create = write.action == Action::kCreate;
    if (reply.ok()) {
        trouble_.clear();
        if (create) return book_.created(write.name, now);
        if (write.action == Action::kCount) return book_.counted(write.name, write.count, now);
        return book_.read(write.name, count_of(reply.body), now);
    }
    if (create && reply.status == kConflict) return book_.exists(write.name, now);
    if (!create && reply.status == kNotFound) return book_.missing(write.name, now);
    const bool later =
        reply.status == kTooMany || reply.status == kConflict || reply.status >= kServerError;
    if (later) return book_.failed(write.name, now);
    // One line for each way in which the server says no.
    if (const std::string text = reply.text(); text != std::exchange(trouble_, text)) {
        log::warn("an Event on {} {}: {}", write.note.regarding.kind, write.note.regarding.name,
                  text);
    }
    book_.refused(write.name);
}

}  // namespace weir::kube::api
