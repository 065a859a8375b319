// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/result.h"
#include "datapath/clsact.h"
#include "datapath/direction.h"
#include "datapath/pins.h"

/// Stubs on devices that Weir shares with others: tcx links where the kernel has them (6.6), clsact
/// filters before. Pods' veths are attached by the netlink half.
namespace weir::datapath {

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
    /// Removes ours from a device, with the qdisc if Weir made it and nothing else is on it; fine
    /// if there is none, or no device.
    [[nodiscard]] Result<void> detach(uint32_t ifindex, Direction direction) const;
    /// Removes what is pinned for devices that are gone; in words, one for each.
    [[nodiscard]] Result<std::vector<std::string>> sweep_stale() const;

  private:
    [[nodiscard]] std::filesystem::path link_pin(uint32_t ifindex, Direction direction) const;
    [[nodiscard]] Result<void> attach_tcx(uint32_t ifindex, Direction direction, int program) const;

    PinDir pins_;
    bool tcx_;
};

/// Runs `work` on a thread in a new network namespace that goes away with it.
Result<void> in_scratch_netns(const std::function<Result<void>()>& work);

}  // namespace weir::datapath
