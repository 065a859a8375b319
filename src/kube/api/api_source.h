// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kube/api/access.h"
#include "kube/api/election.h"
#include "kube/api/event_note.h"
#include "kube/api/leadership.h"
#include "kube/api/node_ranges.h"
#include "kube/api/resource.h"
#include "kube/api/state.h"
#include "kube/problem.h"
#include "kube/store.h"

namespace weir::kube::api {

/// Who writes to the cluster, and where.
struct WriteOptions {
    std::string node;  ///< this agent's
    std::string ns;    ///< of the agents: where their Lease is
    ElectionTiming timing = {};
    /// The elected agent gives Nodes without podCIDRs blocks of these; no source: it does not.
    BlockOptions blocks = {};
};
/// The Lease by which one agent is elected.
inline constexpr std::string_view kLeaderLease = "weir-leader";

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
    /// `resources`: where each kind is; one for each, in the order of Kind. A kind of a
    /// CustomResourceDefinition is one in JSON that is optional: that the cluster lacks it is no
    /// error, and both its coming and its going are noticed within 40 s.
    static Result<std::unique_ptr<ApiSource>> open(
        Store& store, Access access, std::span<const Resource, kKindCount> resources = kResources);
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

    /// From now on this agent takes part in the election of the one that writes what concerns the
    /// whole cluster, and writes Events. Once.
    void begin_writes(WriteOptions options);
    /// Gives the election up if it is this agent's; waits for that, but not longer than `limit`.
    void end_writes(std::chrono::milliseconds limit);
    /// An Event is to be written, in the background. No effect before begin_writes().
    void tell(EventNote note);
    /// So many agents take part in the election.
    void set_candidates(size_t count);
    /// This agent is elected: no other one is. Any thread.
    [[nodiscard]] bool leading() const;
    [[nodiscard]] Leadership leadership() const;
    [[nodiscard]] EventCounts event_counts() const;
    /// All Nodes with their ranges, whenever they are others; for those that get blocks.
    void set_nodes(std::vector<NodeRanges> nodes);
    /// Addresses of pods are needed to know which block is free: set_pods() is to follow. Any
    /// thread.
    [[nodiscard]] bool wants_pods() const;
    void set_pods(std::vector<IpAddress> addresses);
    [[nodiscard]] BlockState block_state() const;

    /// All objects of the kind have been in the store once.
    [[nodiscard]] bool synced(Kind kind) const;
    /// In the order of Kind. Any thread.
    [[nodiscard]] std::vector<KindState> states() const;
    /// Objects that are refused, by name; at most kMaxProblems.
    [[nodiscard]] std::vector<Problem> problems() const;
    struct Refused {
        ObjectKey key;
        std::string uid;
        std::vector<Problem> problems;
    };
    /// The same, by object.
    [[nodiscard]] const std::map<ObjectKey, Refused>& refused() const;
    /// The servers, for people: "https://10.0.0.1:6443, https://10.0.0.2:6443".
    [[nodiscard]] const std::string& servers() const;

    static constexpr size_t kMaxProblems = 1000;

  private:
    struct State;
    explicit ApiSource(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace weir::kube::api
