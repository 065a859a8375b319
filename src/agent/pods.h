// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/pod_wirer.h"
#include "datapath/attach.h"
#include "datapath/endpoint_table.h"
#include "datapath/netlink/pod_link.h"
#include "datapath/netlink/watcher.h"

namespace weir::agent {

/// A pod that is wired on this node.
struct LocalPod {
    ipam::Record record;
    uint32_t endpoint = 0;
    uint32_t ifindex = 0;
    std::string host_ifname;
    uint16_t generation = 0;  ///< of the endpoint: the next pod with its id has another
};

/// What Pods::adopt() did.
struct Adopted {
    size_t removed = 0;           ///< endpoints whose veth is gone
    size_t restored = 0;          ///< pods whose tables were lost: they have entries again
    std::vector<Error> failures;  ///< pods that are not served, and why
};

/// Wires pods: veth, endpoint in the tables, and the watch over both. Thread-safe; what touches the
/// tables or the watcher is serialised, the long part (rtnetlink) is not.
class Pods final : public PodWirer {
  public:
    /// `stubs` gives the programs that pods' filters run. All references outlive this object.
    static Result<std::unique_ptr<Pods>> open(const netlink::PodLinks& links,
                                              datapath::EndpointTable& endpoints,
                                              netlink::Watcher& watcher,
                                              const datapath::DeviceAttacher& stubs);

    /// For pods wired from now on.
    void set_mtu(uint32_t mtu);

    Result<Wired> wire(const ipam::Record& record) override;
    Result<void> unwire(const ipam::AttachmentKey& key) override;
    Result<void> check(const ipam::Record& record) override;
    Result<std::vector<ipam::Found>> list() override;

    /// After a restart: takes the pods that exist on the host under watch again, with their
    /// records, and removes endpoints whose veth is gone. Pods that are in no table, because the
    /// BPF file system was lost with the pins, are entered anew and get the programs of now.
    Result<Adopted> adopt(const std::vector<ipam::Record>& records);

    /// Called from whichever thread wires or unwires, with nothing locked: after a pod has its
    /// endpoint, before its ADD goes on, which may wait in there; and after the endpoint is gone.
    /// Set before there are requests.
    struct Watch {
        std::function<void(const LocalPod&)> wired;
        std::function<void(const LocalPod&)> unwired;
    };
    void on_change(Watch watch) { watch_ = std::move(watch); }
    /// See EndpointTable.
    Result<bool> set_policy(uint32_t id, uint16_t generation, uint32_t bank, uint64_t word);
    [[nodiscard]] Result<uint32_t> next_epoch() const;

    [[nodiscard]] std::vector<LocalPod> all() const;
    [[nodiscard]] std::optional<LocalPod> by_endpoint(uint32_t id) const;
    [[nodiscard]] size_t size() const;

    /// Runs `work` with the watcher, while no pod is being added or removed.
    template <typename Work>
    auto with_watcher(Work work) {
        const std::lock_guard lock(mutex_);
        return work(watcher_);
    }

  private:
    Pods(const netlink::PodLinks& links, datapath::EndpointTable& endpoints,
         netlink::Watcher& watcher, Fd from_pod, Fd to_pod)
        : links_(links),
          endpoints_(endpoints),
          watcher_(watcher),
          from_pod_(std::move(from_pod)),
          to_pod_(std::move(to_pod)) {}

    [[nodiscard]] netlink::PodPrograms programs() const { return {from_pod_.get(), to_pod_.get()}; }
    Result<LocalPod> enter(const ipam::Record& record, const netlink::PodLinkSpec& spec,
                           const netlink::PodLink& link);

    void take(const ipam::Record& record, const netlink::Link& link, uint32_t endpoint);
    Result<void> restore(const ipam::Record& record, const netlink::Link& link);
    Result<size_t> remove_stale(const std::set<uint32_t>& live);

    const netlink::PodLinks& links_;
    datapath::EndpointTable& endpoints_;
    netlink::Watcher& watcher_;
    Fd from_pod_;
    Fd to_pod_;
    mutable std::mutex mutex_;  // of endpoints_, watcher_ and what follows
    std::map<ipam::AttachmentKey, LocalPod> pods_;
    uint32_t mtu_ = 1500;
    Watch watch_;
};

}  // namespace weir::agent
