// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "common/result.h"
#include "datapath/direction.h"
#include "datapath/pins.h"

namespace weir::datapath {

/// Our filters on a shared device's clsact. Not 1, which is what most others take, and before most
/// default priorities (the kernel counts down from 49152).
inline constexpr uint32_t kClsactPriority = 22101;
inline constexpr uint32_t kClsactHandle = 0x57e1;

/// Attachments to shared devices where the kernel has no tcx. A qdisc that Weir made is remembered
/// by a directory below its pins, which live as long as the qdisc: past the agent, not past a boot.
/// Acts in the network namespace of the calling thread; one thread at a time.
class ClsactFilters {
  public:
    explicit ClsactFilters(PinDir pins) : pins_(std::move(pins)) {}

    /// Puts our filter there, with the qdisc if the device has none. kNotFound: no such device.
    [[nodiscard]] Result<void> attach(uint32_t ifindex, Direction direction, int program) const;
    /// Removes our filter; fine if there is none, or no device. The qdisc stays.
    [[nodiscard]] Result<void> detach(uint32_t ifindex, Direction direction) const;

    /// Removes the qdisc if Weir made it and no filter of anybody is left on it; whether it did.
    [[nodiscard]] Result<bool> remove_qdisc(uint32_t ifindex) const;
    /// Devices whose qdisc Weir made.
    [[nodiscard]] std::vector<uint32_t> own_qdiscs() const;
    /// From now on the qdisc is somebody else's.
    [[nodiscard]] Result<void> disown_qdisc(uint32_t ifindex) const;

  private:
    [[nodiscard]] std::filesystem::path mark(uint32_t ifindex) const;
    [[nodiscard]] Result<void> ensure_qdisc(uint32_t ifindex) const;

    PinDir pins_;
};

/// Id of the program of our filter on a device's clsact, by our priority and handle; none: no such
/// filter.
std::optional<uint32_t> clsact_program(uint32_t ifindex, Direction direction);

}  // namespace weir::datapath
