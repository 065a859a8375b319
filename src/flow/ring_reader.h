// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "common/result.h"
#include "weir/event.h"

struct ring_buffer;

namespace weir::flow {

/// Reads weir_events. The event loop waits for fd() to be readable, then calls read().
class RingReader {
  public:
    using Callback = std::function<void(const weir_event&)>;
    /// `map_fd` is the ring-buffer map, borrowed during the call; needs CAP_BPF.
    static Result<RingReader> open(int map_fd, Callback callback);

    RingReader(RingReader&&) noexcept;
    RingReader& operator=(RingReader&&) noexcept;
    ~RingReader();

    /// Readable (level-triggered) while events wait. Owned by this.
    [[nodiscard]] int fd() const;
    /// Hands at most `budget` events to the callback, so that one flood does not hold up the loop.
    /// Returns how many; if it is `budget`, more may wait. Records of a foreign size are skipped
    /// and counted in malformed().
    Result<size_t> read(size_t budget);
    [[nodiscard]] uint64_t malformed() const;

  private:
    struct State;
    explicit RingReader(std::unique_ptr<State> state);
    static int on_sample(void* context, void* data, size_t size);
    std::unique_ptr<State> state_;
};

}  // namespace weir::flow
