// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "common/fd.h"
#include "kube/decode.h"

namespace weir::kube::api {

/// What is now known of one object.
struct Change {
    std::optional<Object> object;    ///< absent: it is gone, not for us, or has mistakes
    std::vector<FieldError> errors;  ///< not empty: what was known before stays in force
    model::Text uid = {};            ///< of an object with mistakes
};
using Changes = std::unordered_map<ObjectKey, Change>;

/// All objects of a kind.
struct Listing {
    Changes objects;
    /// Objects of which not even the name could be read: any one that is missing may be it.
    size_t nameless = 0;
};

/// Between the thread that reads from the API server and the one that owns the store. Of several
/// changes of one object only the last is kept, so it never holds more than there are objects.
class Inbox {
  public:
    using Clock = std::chrono::steady_clock;
    struct PerKind {
        std::optional<Listing> listing;  ///< replaces everything; then come the changes
        Changes changes;
        Clock::time_point oldest{};  ///< when the first of these came
        size_t nameless = 0;         ///< changes of objects without a readable name
        [[nodiscard]] bool empty() const { return !listing && changes.empty() && nameless == 0; }
    };
    using All = std::array<PerKind, kKindCount>;

    static Result<Inbox> open();

    // Any thread.
    void replace(Kind kind, Listing listing);
    void apply(ObjectKey key, Change change);
    void nameless(Kind kind);
    /// Everything since the last time.
    All take();

    /// Readable while there is something to take.
    [[nodiscard]] int fd() const { return event_.get(); }

  private:
    explicit Inbox(Fd event) : event_(std::move(event)), mutex_(std::make_unique<std::mutex>()) {}
    void touch(PerKind& kind);

    Fd event_;
    std::unique_ptr<std::mutex> mutex_;
    All all_;
};

}  // namespace weir::kube::api
