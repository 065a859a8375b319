// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "agent/pod_netlink.h"
#include "agent/pod_wirer.h"
#include "common/fd.h"

namespace weir::test {

/// Real links, addresses and routes; programs that let everything pass, and no endpoint table: what
/// CNI is about, without the datapath.
class HostWirer final : public agent::PodWirer {
  public:
    /// In the calling thread's network namespace.
    static std::unique_ptr<HostWirer> open();

    Result<agent::Wired> wire(const ipam::Record& record) override;
    Result<void> unwire(const ipam::AttachmentKey& key) override;
    Result<void> check(const ipam::Record& record) override;
    Result<std::vector<ipam::Found>> list() override;

  private:
    HostWirer(netlink::HomeNetNs home, int program)
        : home_(std::move(home)), links_(home_), program_(program) {}
    [[nodiscard]] netlink::PodPrograms programs() const { return {program_, program_}; }

    netlink::HomeNetNs home_;
    netlink::PodLinks links_;
    int program_;
};

}  // namespace weir::test
