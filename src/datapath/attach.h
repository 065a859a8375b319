// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/result.h"
#include "datapath/pins.h"

/// Stubs on devices that Weir shares with others: tcx links where the kernel has them (6.6), clsact
/// filters before. Pods' veths are attached by the netlink half.
namespace weir::datapath {

enum class Direction : uint8_t { kIngress, kEgress };
std::string_view to_string(Direction direction);

/// Our filters on a shared device's clsact, when there is no tcx. Not 1, which is what most others
/// take, and before most default priorities (the kernel counts down from 49152).
inline constexpr uint32_t kClsactPriority = 22101;
inline constexpr uint32_t kClsactHandle = 0x57e1;

/// Whether the kernel attaches by tcx: tried on a device of a namespace of its own, never guessed
/// by version.
Result<bool> probe_tcx();

/// Devices' attachments. Acts in the network namespace of the calling thread; one thread at a time.
class DeviceAttacher {
  public:
    DeviceAttacher(PinDir pins, bool tcx) : pins_(std::move(pins)), tcx_(tcx) {}

    [[nodiscard]] bool uses_tcx() const { return tcx_; }
    /// The descriptor of a pinned stub, for filters made elsewhere. `hook`: "pod_from" and so on.
    [[nodiscard]] Result<Fd> stub(std::string_view hook) const;
    /// Attaches stub_<hook>. A link that is there already is kept; one of a vanished device that
    /// had the same index is replaced. kNotFound: no such device.
    [[nodiscard]] Result<void> attach(uint32_t ifindex, Direction direction,
                                      std::string_view hook) const;
    /// Removes ours from a device; fine if there is none, or no device.
    [[nodiscard]] Result<void> detach(uint32_t ifindex, Direction direction) const;
    /// Removes the pins of links whose device is gone; their names.
    [[nodiscard]] Result<std::vector<std::string>> sweep_stale() const;

  private:
    [[nodiscard]] std::filesystem::path link_pin(uint32_t ifindex, Direction direction) const;
    [[nodiscard]] Result<void> attach_tcx(uint32_t ifindex, Direction direction, int program) const;
    [[nodiscard]] Result<void> attach_clsact(uint32_t ifindex, Direction direction,
                                             int program) const;

    PinDir pins_;
    bool tcx_;
};

/// Id of the program of our filter on a device's clsact, by our priority and handle; none: no such
/// filter.
std::optional<uint32_t> clsact_program(uint32_t ifindex, Direction direction);

/// Runs `work` on a thread in a new network namespace that goes away with it.
Result<void> in_scratch_netns(const std::function<Result<void>()>& work);

}  // namespace weir::datapath
