// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kube/api/access.h"
#include "kube/api/state.h"
#include "kube/problem.h"
#include "kube/store.h"

namespace weir::kube::api {

/// Objects from a Kubernetes API server, followed by list and watch: every kind over its own
/// connection, on a thread of its own that reads and decodes. Whoever owns the store waits for one
/// descriptor:
///
///     auto source = WEIR_TRY(ApiSource::open(store, access));
///     for (;;) {
///         co_await descriptor.async_wait(wait_read);   // on source->fd()
///         source->on_readable();                       // brings the store up to date
///         store.publish();
///         if (source->synced(Kind::kService)) ...
///     }
///
/// An outage changes nothing in the store. What was deleted meanwhile goes when the server has sent
/// a new list, which replaces a kind as a whole. An object with mistakes leaves what was known of
/// it in force, and is told by problems().
class ApiSource {
  public:
    /// Starts reading. Fails only if this host cannot; a server that does not answer is no failure.
    static Result<std::unique_ptr<ApiSource>> open(Store& store, Access access);
    ApiSource(const ApiSource&) = delete;
    ApiSource& operator=(const ApiSource&) = delete;
    /// Ends the thread; the store keeps what it has.
    ~ApiSource();

    /// Readable when on_readable() has something to do. Valid as long as this object.
    [[nodiscard]] int fd() const;
    /// Moves what has been read into the store. Only here does the store change.
    void on_readable();
    /// Tells the cluster that this node can take pods; goes on in the background until it is done.
    void report_node_ready(std::string node);
    /// All objects of the kind have been in the store once.
    [[nodiscard]] bool synced(Kind kind) const;
    /// In the order of Kind. Any thread.
    [[nodiscard]] std::vector<KindState> states() const;
    /// Objects that are refused, by name; at most kMaxProblems.
    [[nodiscard]] std::vector<Problem> problems() const;
    /// The servers, for people: "https://10.0.0.1:6443, https://10.0.0.2:6443".
    [[nodiscard]] const std::string& servers() const;

    static constexpr size_t kMaxProblems = 1000;

  private:
    struct State;
    explicit ApiSource(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace weir::kube::api
