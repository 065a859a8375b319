// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "kube/api/wire.h"

namespace weir::kube::api {

/// What to do next about one kind, and what each outcome means: the list/watch state machine of an
/// API client, without any I/O. It follows "LIST + WATCH state machine" and "Throttling / errors".
///
/// Lists are streamed. A server that refuses to is asked in pages, and again for a stream by a list
/// much later, as it may have been replaced; so is, for once, one whose streams break before their
/// end. A watch resumes at the last resourceVersion seen; only the server's word that it is too old
/// makes a new list. Delays are jittered, and grow with failures. One that waits because no server
/// could be reached is told by `wake()` when another kind reaches one.
class ListWatch {
  public:
    using Clock = std::chrono::steady_clock;
    using Duration = Clock::duration;
    /// Uniform in [0, 1).
    using Random = std::function<double()>;

    enum class Action : uint8_t { kStream, kList, kWatch, kDiscover };
    struct Step {
        Action action = Action::kStream;
        Clock::time_point not_before{};
        std::string resource_version;    ///< "" for the newest
        std::string page;                ///< continue token
        std::chrono::seconds timeout{};  ///< of a watch, as the server is asked
    };
    /// `leader`: goes on trying to reach a server at a high rate, so that the others need not.
    ListWatch(bool optional, bool leader, Random random)
        : random_(std::move(random)), optional_(optional), leader_(leader) {}

    /// What to do now or at `not_before`. Changes nothing.
    [[nodiscard]] Step next() const;

    // What came of the step, each ending it.
    void unreachable(Clock::time_point now);
    void refused(Clock::time_point now, const Status& status);
    /// Bytes that no API server sends, a frame cut short, a stalled connection.
    void broken(Clock::time_point now);
    void page(Clock::time_point now, const ListPage& page);
    /// The watch ended as watches do.
    void closed(Clock::time_point now);
    /// Discovery's word on an optional kind.
    void discovered(Clock::time_point now, bool offered);

    // What came during a watch or streaming list.
    void opened(Clock::time_point now);
    void progressed(std::string_view resource_version);
    void initial_end(std::string_view resource_version);

    /// A server can be reached: waiting for one ends, or a wait for a sick one.
    void wake(Clock::time_point now);

    /// The whole of the kind has been seen once; stays true.
    [[nodiscard]] bool listed() const { return listed_; }
    /// Discovery says that the cluster does not have the kind.
    [[nodiscard]] bool absent() const { return absent_; }
    [[nodiscard]] const std::string& resource_version() const { return version_; }
    [[nodiscard]] unsigned failures() const { return failures_; }

    static constexpr Duration kFirstDelay = std::chrono::milliseconds(400);
    static constexpr Duration kMaxDelay = std::chrono::seconds(30);
    /// The leader's longest delay while no server answers: recovery is noticed within a second.
    static constexpr Duration kProbeDelay = std::chrono::milliseconds(500);
    static constexpr Duration kDiscoverDelay = std::chrono::seconds(30);
    /// A watch shorter than that without an event is a failure.
    static constexpr Duration kShortWatch = std::chrono::seconds(1);
    static constexpr Duration kMaxRetryAfter = std::chrono::minutes(5);
    /// For so long lists are asked for in pages after a server refused to stream one.
    static constexpr Duration kRefusalKept = std::chrono::minutes(10);

  private:
    void fail(Clock::time_point now, Duration cap, bool wakeable);
    void relist(Clock::time_point now);
    [[nodiscard]] Duration jittered(Duration mean) const;
    void healthy() { failures_ = 0; }

    Random random_;
    bool optional_;
    bool leader_;

    Action action_ = Action::kStream;
    Clock::time_point not_before_{};
    bool wakeable_ = false;
    std::string version_;
    std::string page_;
    Clock::time_point stream_from_{};  ///< until then lists come in pages
    bool listed_ = false;
    bool absent_ = false;
    unsigned failures_ = 0;
    unsigned broken_here_ = 0;  ///< watches from one resourceVersion, or streams, that broke
    Clock::time_point opened_{};
    bool saw_event_ = false;
};

}  // namespace weir::kube::api
