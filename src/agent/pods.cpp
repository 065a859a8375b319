// SPDX-License-Identifier: Apache-2.0
#include "agent/pods.h"

#include <algorithm>
#include <set>

#include "agent/pod_netlink.h"

namespace weir::agent {
namespace {

datapath::EndpointSpec endpoint_of(const ipam::Record& record, const netlink::PodLinkSpec& spec,
                                   const netlink::PodLink& link) {
    datapath::EndpointSpec out;
    for (const auto& address : record.addresses) {
        (address.is_v4() ? out.ipv4 : out.ipv6) = address;
    }
    out.ifindex = link.host_ifindex;
    out.mac = spec.pod_mac;
    out.mtu = spec.mtu;
    out.netns_cookie = link.netns_cookie;
    return out;
}

}  // namespace

Result<std::unique_ptr<Pods>> Pods::open(const netlink::PodLinks& links,
                                         datapath::EndpointTable& endpoints,
                                         netlink::Watcher& watcher,
                                         const datapath::DeviceAttacher& stubs) {
    auto from_pod = WEIR_TRY(stubs.stub("pod_from"));
    auto to_pod = WEIR_TRY(stubs.stub("pod_to"));
    return std::unique_ptr<Pods>(
        new Pods(links, endpoints, watcher, std::move(from_pod), std::move(to_pod)));
}

void Pods::set_mtu(uint32_t mtu) {
    const std::lock_guard lock(mutex_);
    mtu_ = mtu;
}

Result<void> Pods::enter(const ipam::Record& record, const netlink::PodLinkSpec& spec,
                         const netlink::PodLink& link) {
    const std::lock_guard lock(mutex_);
    WEIR_CHECK(endpoints_.add(spec.endpoint, endpoint_of(record, spec, link)));
    watcher_.add_pod(spec, programs(), link.host_ifindex);
    pods_[record.key] = {record, spec.endpoint, link.host_ifindex, spec.host_ifname};
    return {};
}

Result<Wired> Pods::wire(const ipam::Record& record) {
    const auto ns = WEIR_TRY(netlink::NetNs::open_pod(record.netns));
    uint32_t id = 0;
    uint32_t mtu = 0;
    {
        const std::lock_guard lock(mutex_);
        id = WEIR_TRY(endpoints_.reserve());
        mtu = mtu_;
    }
    const auto spec = pod_link_spec(record, id, mtu);
    auto give_up = [&](Error error) {
        const std::lock_guard lock(mutex_);
        endpoints_.release(id);
        return Failure(std::move(error));
    };
    const auto link = links_.create(ns, spec, programs());
    if (!link) return give_up(link.error());
    if (auto entered = enter(record, spec, *link); !entered) return give_up(entered.error());
    return Wired{spec.host_ifname, netlink::to_string(spec.host_mac),
                 netlink::to_string(spec.pod_mac), spec.mtu};
}

Result<void> Pods::unwire(const ipam::AttachmentKey& key) {
    {
        const std::lock_guard lock(mutex_);
        if (const auto it = pods_.find(key); it != pods_.end()) {
            watcher_.remove_pod(it->second.host_ifname);
            WEIR_CHECK(endpoints_.remove(it->second.endpoint));
            pods_.erase(it);
        }
    }
    return links_.remove(key.container, key.ifname);
}

Result<void> Pods::check(const ipam::Record& record) {
    uint32_t endpoint = 0;
    {
        const std::lock_guard lock(mutex_);
        const auto it = pods_.find(record.key);
        if (it == pods_.end()) {
            return fail(Errc::kNotFound, "{} is not wired on this node", record.key.to_string());
        }
        endpoint = it->second.endpoint;
    }
    const auto ns = WEIR_TRY(netlink::NetNs::open_pod(record.netns));
    for (const auto& found : WEIR_TRY(links_.list())) {
        if (found.attachment && found.attachment->container_id == record.key.container &&
            found.attachment->ifname == record.key.ifname) {
            return links_.check(ns, pod_link_spec(record, endpoint, found.link.mtu), programs());
        }
    }
    return fail(Errc::kNotFound, "the interface of {} is gone", record.key.to_string());
}

Result<std::vector<ipam::Found>> Pods::list() {
    return found_pods(links_);
}

Result<size_t> Pods::adopt(const std::vector<ipam::Record>& records) {
    std::map<ipam::AttachmentKey, netlink::Link> links;
    for (const auto& found : WEIR_TRY(links_.list())) {
        if (found.attachment) {
            links[{found.attachment->container_id, found.attachment->ifname}] = found.link;
        }
    }
    const std::lock_guard lock(mutex_);
    std::map<uint32_t, uint32_t> id_by_ifindex;
    for (const auto& [id, endpoint] : endpoints_.all()) {
        id_by_ifindex[endpoint.spec.ifindex] = id;
    }
    std::set<uint32_t> live;
    for (const auto& record : records) {
        const auto link = links.find(record.key);
        if (link == links.end()) continue;
        const auto id = id_by_ifindex.find(link->second.ifindex);
        if (id == id_by_ifindex.end()) continue;
        live.insert(id->second);
        const auto spec = pod_link_spec(record, id->second, link->second.mtu);
        watcher_.add_pod(spec, programs(), link->second.ifindex);
        pods_[record.key] = {record, id->second, link->second.ifindex, spec.host_ifname};
    }
    size_t removed = 0;
    for (const auto& [ifindex, id] : id_by_ifindex) {
        if (live.contains(id)) continue;
        WEIR_CHECK(endpoints_.remove(id));
        ++removed;
    }
    return removed;
}

std::vector<LocalPod> Pods::all() const {
    const std::lock_guard lock(mutex_);
    std::vector<LocalPod> out;
    out.reserve(pods_.size());
    for (const auto& [key, pod] : pods_)
        out.push_back(pod);
    return out;
}

std::optional<LocalPod> Pods::by_endpoint(uint32_t id) const {
    const std::lock_guard lock(mutex_);
    const auto it =
        std::ranges::find_if(pods_, [&](const auto& entry) { return entry.second.endpoint == id; });
    if (it == pods_.end()) return std::nullopt;
    return it->second;
}

size_t Pods::size() const {
    const std::lock_guard lock(mutex_);
    return pods_.size();
}

}  // namespace weir::agent
