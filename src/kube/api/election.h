// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace weir::kube::api {

/// What a Lease (coordination.k8s.io/v1) says about who was elected.
struct LeaseRecord {
    std::string holder;       ///< "" for nobody
    int64_t seconds = 0;      ///< leaseDurationSeconds
    std::string acquired;     ///< by the holder's clock, which nobody else goes by
    std::string renewed;      ///< the same
    int64_t transitions = 0;  ///< how often another one was elected
    std::string resource_version;
    bool operator==(const LeaseRecord&) const = default;
};

struct ElectionTiming {
    std::chrono::seconds lease{15};  ///< a record that did not change for that long is over
    std::chrono::seconds renew_deadline{
        10};                        ///< the elected one counts on its election for so long
    std::chrono::seconds retry{2};  ///< between two renewals, and two looks of the others
};

/// Who is elected by a Lease, without any I/O ("Writes the agent does"). The Lease is taken and
/// renewed by compare-and-swap on its resourceVersion. Nobody compares clocks: another's Lease is
/// over when this host has seen one record unchanged for the lease's duration, and one's own
/// election ends, whatever the Lease says, `renew_deadline` after the last renewal that succeeded
/// was sent. So there are never two at once, as long as clocks run at about the same rate.
class Election {
  public:
    using Clock = std::chrono::steady_clock;
    /// Uniform in [0, 1).
    using Random = std::function<double()>;

    /// `identity`: of this process, unlike any other's.
    Election(std::string identity, ElectionTiming timing, Random random)
        : identity_(std::move(identity)), timing_(timing), random_(std::move(random)) {}

    enum class Action : uint8_t { kLook, kCreate, kUpdate };
    struct Step {
        Action action = Action::kLook;
        Clock::time_point not_before{};
        /// To be written; resource_version is the condition. Times are to be filled in.
        LeaseRecord record;
        bool takes = false;  ///< acquired is to be set
    };
    /// What to do now or at `not_before`. Changes nothing.
    [[nodiscard]] Step next() const;

    /// The Lease as the server has it; nothing: there is none.
    void looked(Clock::time_point now, const std::optional<LeaseRecord>& record);
    /// The server took what was sent at `sent`, and has this now.
    void written(Clock::time_point sent, Clock::time_point now, const LeaseRecord& record);
    /// Somebody else wrote first.
    void conflicted(Clock::time_point now);
    /// No answer, or one that says nothing about the Lease.
    void failed(Clock::time_point now);

    /// What gives the election up, if it is ours: others need not wait for the lease to be over.
    [[nodiscard]] std::optional<LeaseRecord> release() const;

    /// This one is elected until then, the epoch if it is not.
    [[nodiscard]] Clock::time_point leading_until() const { return leading_until_; }
    [[nodiscard]] bool leading(Clock::time_point now) const { return now < leading_until_; }
    [[nodiscard]] const LeaseRecord& record() const { return record_; }
    /// How often one that is not elected looks.
    void set_retry(std::chrono::seconds retry) { looks_every_ = retry; }

  private:
    void observe(Clock::time_point now, const LeaseRecord& record);
    [[nodiscard]] Clock::time_point over_at() const;
    [[nodiscard]] Clock::duration jittered(Clock::duration mean) const;

    std::string identity_;
    ElectionTiming timing_;
    Random random_;
    std::chrono::seconds looks_every_ = timing_.retry;

    Action action_ = Action::kLook;
    Clock::time_point not_before_{};
    LeaseRecord record_;            ///< as last seen
    Clock::time_point observed_{};  ///< when it was first seen to be so
    Clock::time_point leading_until_{};
};

}  // namespace weir::kube::api
