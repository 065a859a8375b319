// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/watcher.h"

#include <algorithm>

#include <linux/rtnetlink.h>
#include <netlink/msg.h>

#include "datapath/netlink/objects.h"

namespace weir::netlink {
namespace {

constexpr std::chrono::milliseconds kGather{100};
constexpr std::chrono::seconds kRetry{1};
/// Events taken in one on_readable(), so that a flood does not hold the event loop.
constexpr int kMaxDatagrams = 256;
constexpr std::array<unsigned, 7> kGroups = {
    RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_ROUTE, RTNLGRP_NEIGH,       RTNLGRP_TC};

/// The device a traffic-control message is about.
uint32_t tc_ifindex(const nlmsghdr* message) {
    if (nlmsg_datalen(message) < static_cast<int>(sizeof(tcmsg))) return 0;
    return static_cast<uint32_t>(static_cast<const tcmsg*>(nlmsg_data(message))->tcm_ifindex);
}

}  // namespace

Result<Watcher> Watcher::open(HostLink& host, const PodLinks& pods) {
    Socket events = WEIR_TRY(Socket::subscribe(kGroups));
    return Watcher(host, pods, std::move(events));
}

void Watcher::set_host(HostLinkSpec spec) {
    host_spec_ = std::move(spec);
    mark_host(Clock::now() - kGather);
}

void Watcher::add_pod(const PodLinkSpec& spec, PodPrograms programs, uint32_t host_ifindex) {
    remove_pod(spec.host_ifname);
    watched_[spec.host_ifname] = {spec, programs, host_ifindex};
    by_index_[host_ifindex] = spec.host_ifname;
    for (const auto& pod : spec.addresses) {
        if (pod) by_address_[pod->address] = spec.host_ifname;
    }
}

void Watcher::remove_pod(const std::string& host_ifname) {
    const auto at = watched_.find(host_ifname);
    if (at == watched_.end()) return;
    by_index_.erase(at->second.ifindex);
    for (const auto& pod : at->second.spec.addresses) {
        // The address may be another pod's by now.
        const auto held = pod ? by_address_.find(pod->address) : by_address_.end();
        if (held != by_address_.end() && held->second == host_ifname) by_address_.erase(held);
    }
    dirty_.erase(host_ifname);
    watched_.erase(at);
}

void Watcher::schedule(Clock::time_point at) {
    due_ = due_ ? std::min(*due_, at) : at;
}

void Watcher::mark_host(Clock::time_point now) {
    host_dirty_ = true;
    schedule(now + kGather);
}

void Watcher::mark_ifindex(uint32_t ifindex, Clock::time_point now) {
    const auto at = by_index_.find(ifindex);
    if (at != by_index_.end()) {
        dirty_.insert(at->second);
        schedule(now + kGather);
    } else if (ifindex == host_ifindex_) {
        mark_host(now);
    }
}

void Watcher::mark_all(Clock::time_point now) {
    for (const auto& [name, pod] : watched_)
        dirty_.insert(name);
    mark_host(now);
}

void Watcher::notice_link(const nlmsghdr* message, Clock::time_point now) {
    const auto link = parse_link(message);
    if (!link) return;
    // By name too: a weir0 deleted and made again by somebody has another index.
    if (is_host_link(link->name)) mark_host(now);
    mark_ifindex(link->ifindex, now);
}

void Watcher::notice_route(const nlmsghdr* message, Clock::time_point now) {
    const auto route = parse_route(message);
    if (!route) return;
    if (route->protocol == kRouteProtocol && message->nlmsg_type == RTM_DELROUTE) {
        for (const uint32_t oif : route->oifs)
            mark_ifindex(oif, now);
        // To nowhere, or over another node.
        if (route->type == RTN_UNREACHABLE || route->gateway) mark_host(now);
    }
    // Also a route of somebody else in the place of ours.
    const auto pod = by_address_.find(route->dst.address());
    if (pod != by_address_.end() && route->dst.mapped_length() == 128) {
        dirty_.insert(pod->second);
        schedule(now + kGather);
    }
    if (!host_spec_) return;
    for (const auto* ranges : {&host_spec_->pod_ranges, &host_spec_->service_ranges}) {
        if (std::find(ranges->begin(), ranges->end(), route->dst) != ranges->end()) mark_host(now);
    }
}

void Watcher::notice(const nlmsghdr* message, Clock::time_point now) {
    switch (message->nlmsg_type) {
        case RTM_NEWLINK:
        case RTM_DELLINK:
            return notice_link(message, now);
        case RTM_NEWADDR:
        case RTM_DELADDR:
            if (const auto address = parse_address(message)) mark_ifindex(address->ifindex, now);
            return;
        case RTM_NEWROUTE:
        case RTM_DELROUTE:
            return notice_route(message, now);
        case RTM_NEWNEIGH:
        case RTM_DELNEIGH:
            if (const auto one = parse_neighbour(message)) mark_ifindex(one->ifindex, now);
            return;
        case RTM_NEWQDISC:
        case RTM_DELQDISC:
        case RTM_NEWTFILTER:
        case RTM_DELTFILTER:
            return mark_ifindex(tc_ifindex(message), now);
        default:
            return;
    }
}

Result<void> Watcher::on_readable(Clock::time_point now) {
    for (int i = 0; i < kMaxDatagrams; i++) {
        const auto more = events_.receive([&](const nlmsghdr* message) { notice(message, now); });
        if (!more && more.error().code() == Errc::kExhausted) {
            mark_all(now);
            continue;
        }
        if (!WEIR_TRY(more)) break;
    }
    return {};
}

void Watcher::count(const std::vector<Problem>& problems, WatchReport& report) {
    for (const Problem& problem : problems) {
        repaired_[static_cast<size_t>(problem.kind)]++;
        report.repaired.push_back(problem);
    }
}

void Watcher::mend_host(Clock::time_point now, WatchReport& report) {
    if (!host_spec_) return;
    auto state = host_->ensure(*host_spec_);
    if (!state) {
        report.failures.push_back(std::move(state).error());
        host_dirty_ = true;
        schedule(now + kRetry);
        return;
    }
    // The first making is no repair.
    if (host_ifindex_ != 0) count(state->repaired, report);
    host_ifindex_ = state->ifindex;
    report.host = std::move(*state);
}

void Watcher::mend_pod(const std::string& name, Clock::time_point now, WatchReport& report) {
    const auto at = watched_.find(name);
    if (at == watched_.end()) return;
    const Pod& pod = at->second;
    auto problems = pods_->inspect_host(pod.spec, pod.programs);
    if (problems && problems->empty()) return;
    auto mended = problems ? pods_->repair_host(pod.spec, pod.programs)
                           : Result<void>(Failure(problems.error()));
    if (mended) return count(*problems, report);
    if (mended.error().code() == Errc::kNotFound) {
        report.lost.push_back(name);
        return;
    }
    report.failures.push_back(std::move(mended).error().with("pod link {}", name));
    dirty_.insert(name);
    schedule(now + kRetry);
}

WatchReport Watcher::run_due(Clock::time_point now) {
    WatchReport report;
    if (!due_ || *due_ > now) return report;
    due_.reset();
    const auto dirty = std::exchange(dirty_, {});
    if (std::exchange(host_dirty_, false)) mend_host(now, report);
    for (const std::string& name : dirty)
        mend_pod(name, now, report);
    return report;
}

}  // namespace weir::netlink
