// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>

#include "kube/object.h"

namespace weir::kube::api {

/// How the reading of one kind goes, as a person or a metric wants to know it.
struct KindState {
    Kind kind = Kind::kNode;
    bool connected = false;  ///< a watch is open
    bool synced = false;     ///< all objects have been in the store once
    bool absent = false;     ///< the cluster does not have the kind
    std::string resource_version;
    std::string error;                              ///< why it is not connected; "" while it is
    std::chrono::system_clock::time_point since{};  ///< connected or not, since when
    std::chrono::steady_clock::time_point heard{};  ///< last bytes; the epoch if there were none
    std::chrono::duration<double> lag{};            ///< from the last bytes' arrival to the store
    uint64_t lists = 0;                             ///< whole lists that came to their end
    uint64_t streamed = 0;                          ///< of `lists`; the others came in pages
    uint64_t watches = 0;                           ///< watches opened
    uint64_t events = 0;                            ///< changes of objects
    uint64_t bytes = 0;                             ///< of bodies, compressed
    uint64_t failures = 0;                          ///< requests and watches that ended badly
    uint64_t refused = 0;  ///< changes with mistakes, which changed nothing

    /// Since anything came; 0 if nothing ever did.
    [[nodiscard]] double silent_seconds(std::chrono::steady_clock::time_point now) const {
        if (heard == std::chrono::steady_clock::time_point{}) return 0;
        return std::chrono::duration<double>(now - heard).count();
    }
};

/// The states of all kinds, written by the thread that reads and read by others.
class StateBoard {
  public:
    StateBoard() {
        for (size_t i = 0; i < kKindCount; ++i) {
            states_[i].kind = static_cast<Kind>(i);
            states_[i].since = std::chrono::system_clock::now();
        }
    }
    template <typename Change>
    void update(Kind kind, Change change) {
        const std::lock_guard lock(mutex_);
        change(states_[static_cast<size_t>(kind)]);
    }
    [[nodiscard]] KindState get(Kind kind) const {
        const std::lock_guard lock(mutex_);
        return states_[static_cast<size_t>(kind)];
    }

  private:
    mutable std::mutex mutex_;
    std::array<KindState, kKindCount> states_;
};

}  // namespace weir::kube::api
