// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "agent/objects.h"
#include "agent/peer_routes.h"
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

    /// What the routes of this node say of Nodes.
    struct OfNodes {
        std::string own;                      ///< what is wrong with this Node's pod ranges, or ""
        std::span<const RefusedRange> peers;  ///< ranges of others that are not routed
    };
    /// Tells what is new.
    void look(Clock::time_point now, const OfNodes& of_nodes);

    static constexpr auto kRepeat = std::chrono::minutes(30);
    /// More at a time are not looked at.
    static constexpr size_t kMaxAtATime = 500;

  private:
    using Note = kube::api::EventNote;

    [[nodiscard]] std::vector<Note> current(const OfNodes& of_nodes) const;
    void add_own(std::vector<Note>& out, const std::string& trouble) const;
    void add_peer(std::vector<Note>& out, const RefusedRange& range) const;
    void add_refused(std::vector<Note>& out) const;
    void add_tables(std::vector<Note>& out) const;
    void add_warnings(std::vector<Note>& out) const;
    void add_policies(std::vector<Note>& out) const;
    [[nodiscard]] Note about_node(const std::string& name) const;
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
