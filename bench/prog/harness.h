// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "bpf/packet.h"
#include "common/result.h"
#include "prog/bpf/abi.h"

namespace weir::bench {

/// Programs of the harness's own, to compare with.
enum class Yardstick : uint8_t {
    kEmpty,
    kHash,    ///< one lookup in a hash of 131,072 elements
    kLine,    ///< one random cache line of 25 MB, as much as the entries of 131,072 flows
    kPage,    ///< one random cache line of 4,096, each on a page of its own
    kInsert,  ///< one insertion into a hash like that of half-open flows
};

/// Cost of a packet, mean of one pass.
struct Cost {
    double ns = 0;
    std::optional<double> instructions;  ///< none: the machine has no counter for them
};

/// Runs programs many times without leaving the kernel, every time on the next frame of an array
/// (harness.bpf.c). One thread, which must stay on one CPU.
class Harness {
  public:
    static Result<Harness> make();
    Harness(Harness&&) noexcept;
    ~Harness();

    /// At most BENCH_FRAMES, all of one family; `sender` by frame: the pod's endpoint id, or 0.
    void set_frames(std::span<const test::Frame> frames, std::span<const uint32_t> sender);

    /// What the next runs measure.
    [[nodiscard]] Result<void> aim_at(int program_fd);
    [[nodiscard]] Result<void> aim_at(Yardstick yardstick);

    /// Frames [first, first + count) through the program, as if received on `ifindex`. Adds to
    /// `total` (sums, not means). The verdict is the last frame's.
    [[nodiscard]] Result<int> run(uint32_t first, uint32_t count, unsigned ifindex, Cost& total);

    /// Takes out again what kInsert has put in for these frames.
    [[nodiscard]] Result<void> clear_inserted(uint32_t first, uint32_t count);

    struct One {
        int verdict;
        test::Bytes packet;
    };
    /// One frame, with what it becomes.
    [[nodiscard]] Result<One> run_one(uint32_t index, unsigned ifindex);

  private:
    struct State;
    explicit Harness(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace weir::bench
