// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "agent/objects.h"
#include "agent/policing.h"

namespace weir::agent {

/// What this agent refuses or cannot honour, told by Events at the objects: once when it comes up,
/// and now and then while it lasts, as the API server forgets Events after an hour. What every
/// agent finds is told by the elected one; what concerns this node's pods and its Node, by this
/// one. On the agent's loop.
class Complaints {
  public:
    using Clock = std::chrono::steady_clock;

    /// `api`, `objects` and `policing` outlive this object.
    Complaints(kube::api::ApiSource& api, const Objects& objects, const Policing& policing,
               std::string node)
        : api_(api), objects_(objects), policing_(policing), node_(std::move(node)) {}

    /// Tells what is new. `of_node`: what is wrong with this Node's pod ranges, "" for nothing.
    void look(Clock::time_point now, const std::string& of_node);

    static constexpr auto kRepeat = std::chrono::minutes(30);
    /// More at a time are not looked at.
    static constexpr size_t kMaxAtATime = 500;

  private:
    using Note = kube::api::EventNote;

    [[nodiscard]] std::vector<Note> current(const std::string& of_node) const;
    void add_refused(std::vector<Note>& out) const;
    void add_tables(std::vector<Note>& out) const;
    void add_warnings(std::vector<Note>& out) const;
    void add_policies(std::vector<Note>& out) const;
    [[nodiscard]] Note about_service(const model::ObjectName& name) const;
    [[nodiscard]] Note about_pod(const model::ObjectName& name) const;

    kube::api::ApiSource& api_;
    const Objects& objects_;
    const Policing& policing_;
    std::string node_;
    struct Told {
        Clock::time_point at{};
        bool lasts = false;
    };
    std::map<std::string, Told> told_;  ///< by the Event's name
};

}  // namespace weir::agent
