// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace weir::kube::api {

/// The object that an Event is about.
struct ObjectRef {
    std::string api_version;  ///< "v1", "discovery.k8s.io/v1"
    std::string kind;         ///< "Service"
    std::string ns;           ///< "" for a kind without namespaces
    std::string name;
    std::string uid;  ///< kubectl describe finds Events by it
    bool operator==(const ObjectRef&) const = default;
};

/// Something that people should find at an object.
struct EventNote {
    ObjectRef regarding;
    std::string reason;  ///< "AddressTaken": a word for machines
    std::string action;  ///< what was being done: "Compiling"
    /// For people: the field, what is wrong with it, what to do.
    std::string text;
    bool warning = true;
    /// It concerns the whole cluster: of all agents that note it, the elected one writes it.
    bool of_cluster = false;
    bool operator==(const EventNote&) const = default;
};

/// What became of notes since the start.
struct EventCounts {
    uint64_t created = 0;     ///< new Events
    uint64_t repeated = 0;    ///< Events that got another count
    uint64_t suppressed = 0;  ///< notes beyond the limits
    uint64_t failed = 0;      ///< notes that the server did not take
};

}  // namespace weir::kube::api
