// SPDX-License-Identifier: Apache-2.0
#include "agent/wiring.h"

#include "common/log.h"

namespace weir::agent {

Wiring::Wiring(Host& host, netlink::HomeNetNs home)
    : host_(host), home_(std::move(home)), links_(home_) {}

Result<std::unique_ptr<Wiring>> Wiring::open(const Config& config, Host& host,
                                             datapath::Datapath& datapath,
                                             const std::vector<IpPrefix>& pod_ranges) {
    auto home = WEIR_TRY(netlink::HomeNetNs::current());
    std::unique_ptr<Wiring> wiring(new Wiring(host, std::move(home)));
    WEIR_CHECK(wiring->open_pods(datapath));
    WEIR_CHECK(wiring->open_cni(config, pod_ranges));
    WEIR_CHECK(wiring->adopt());
    return wiring;
}

Result<void> Wiring::open_pods(datapath::Datapath& datapath) {
    watcher_.emplace(WEIR_TRY(netlink::Watcher::open(host_.link(), links_)));
    pods_ = WEIR_TRY(Pods::open(links_, datapath.endpoints(), *watcher_, datapath.devices()));
    host_changed();
    return {};
}

Result<void> Wiring::open_cni(const Config& config, const std::vector<IpPrefix>& pod_ranges) {
    ipam_ = WEIR_TRY(ipam::Pools::open({.dir = config.run_dir / "ipam"}));
    WEIR_CHECK(ipam_->set_ranges(pod_ranges));
    cni_ = WEIR_TRY(CniService::open(*ipam_, *pods_, config.run_dir / "cni-queue"));
    const auto reconciled = WEIR_TRY(cni_->start());
    if (reconciled.kept + reconciled.adopted.size() + reconciled.released.size() > 0) {
        log::info("pods: {} kept, {} adopted, {} released", reconciled.kept,
                  reconciled.adopted.size(), reconciled.released.size());
    }
    return {};
}

Result<void> Wiring::adopt() {
    const auto adopted = WEIR_TRY(pods_->adopt(ipam_->list()));
    if (adopted.removed > 0) log::info("{} endpoints of vanished pods removed", adopted.removed);
    if (adopted.restored > 0) {
        log::warn("{} pods were in no table (the BPF file system was lost?) and are again",
                  adopted.restored);
    }
    for (const auto& failure : adopted.failures)
        log::error("{}: it is not served; delete it", failure.message());
    return {};
}

void Wiring::host_changed() {
    pods_->set_mtu(host_.pod_mtu());
    pods_->with_watcher([this](netlink::Watcher& watcher) { watcher.set_host(host_.link_spec()); });
}

void Wiring::on_readable() {
    pods_->with_watcher([](netlink::Watcher& watcher) {
        if (auto result = watcher.on_readable(std::chrono::steady_clock::now()); !result) {
            log::error("watching links: {}", result.error().message());
        }
    });
}

void Wiring::mark_all() {
    pods_->with_watcher(
        [](netlink::Watcher& watcher) { watcher.mark_all(std::chrono::steady_clock::now()); });
}

std::optional<netlink::HostLinkState> Wiring::mend() {
    const auto report = pods_->with_watcher([](netlink::Watcher& watcher) {
        const auto now = std::chrono::steady_clock::now();
        const auto due = watcher.due();
        return due && *due <= now ? std::optional(watcher.run_due(now)) : std::nullopt;
    });
    if (!report) return std::nullopt;
    for (const auto& problem : report->repaired)
        log::warn("put back: {}", problem.text);
    for (const auto& error : report->failures)
        log::error("{}", error.message());
    return report->host && report->host->anew() ? report->host : std::nullopt;
}

}  // namespace weir::agent
