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

Result<LocalPod> Pods::enter(const ipam::Record& record, const netlink::PodLinkSpec& spec,
                             const netlink::PodLink& link) {
    const std::lock_guard lock(mutex_);
    const auto added = WEIR_TRY(endpoints_.add(spec.endpoint, endpoint_of(record, spec, link)));
    watcher_.add_pod(spec, programs(), link.host_ifindex);
    return pods_[record.key] = {record, spec.endpoint, link.host_ifindex, spec.host_ifname,
                                added.generation};
}

Result<Wired> Pods::wire(const ipam::Record& record) {
    const auto ns = WEIR_TRY(links_.open_ns(record.netns));
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
    const auto entered = enter(record, spec, *link);
    if (!entered) return give_up(entered.error());
    if (watch_.wired) watch_.wired(*entered);
    return Wired{spec.host_ifname, netlink::to_string(spec.host_mac),
                 netlink::to_string(spec.pod_mac), spec.mtu};
}

Result<void> Pods::unwire(const ipam::AttachmentKey& key) {
    std::optional<LocalPod> gone;
    {
        const std::lock_guard lock(mutex_);
        if (const auto it = pods_.find(key); it != pods_.end()) {
            watcher_.remove_pod(it->second.host_ifname);
            WEIR_CHECK(endpoints_.remove(it->second.endpoint));
            gone = std::move(it->second);
            pods_.erase(it);
        }
    }
    if (gone && watch_.unwired) watch_.unwired(*gone);
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
    const auto ns = WEIR_TRY(links_.open_ns(record.netns));
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

void Pods::take(const ipam::Record& record, const netlink::Link& link, uint32_t endpoint) {
    auto spec = pod_link_spec(record, endpoint, link.mtu);
    spec.host_ifname = link.name;
    watcher_.add_pod(spec, programs(), link.ifindex);
    const auto* known = endpoints_.find(endpoint);
    pods_[record.key] = {record, endpoint, link.ifindex, link.name,
                         known == nullptr ? uint16_t{0} : known->generation};
}

// Filters first, as for a new pod: an endpoint in the tables is one whose packets carry its id.
Result<void> Pods::restore(const ipam::Record& record, const netlink::Link& link) {
    const uint32_t id = WEIR_TRY(endpoints_.reserve());
    auto spec = pod_link_spec(record, id, link.mtu);
    spec.host_ifname = link.name;
    netlink::PodLink made{.host_ifindex = link.ifindex};
    // Without its namespace the socket hooks leave the pod to tc.
    if (const auto ns = links_.open_ns(record.netns)) {
        made.netns_cookie = links_.netns_cookie(*ns).value_or(0);
    }
    auto repaired = links_.repair_host(spec, programs());
    if (repaired) {
        auto added = endpoints_.add(id, endpoint_of(record, spec, made));
        if (!added) repaired = Failure(std::move(added).error());
    }
    if (!repaired) {
        endpoints_.release(id);
        return Failure(std::move(repaired).error().with("pod {}", record.key.to_string()));
    }
    take(record, link, id);
    return {};
}

Result<size_t> Pods::remove_stale(const std::set<uint32_t>& live) {
    std::vector<uint32_t> stale;
    for (const auto& [id, endpoint] : endpoints_.all()) {
        if (!live.contains(id)) stale.push_back(id);
    }
    for (const uint32_t id : stale)
        WEIR_CHECK(endpoints_.remove(id));
    return stale.size();
}

Result<Adopted> Pods::adopt(const std::vector<ipam::Record>& records) {
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
    std::vector<const ipam::Record*> lost;
    for (const auto& record : records) {
        const auto link = links.find(record.key);
        if (link == links.end()) continue;
        const auto id = id_by_ifindex.find(link->second.ifindex);
        if (id == id_by_ifindex.end()) {
            lost.push_back(&record);
            continue;
        }
        live.insert(id->second);
        take(record, link->second, id->second);
    }
    // What is stale goes first: it may hold an address of a pod that is restored.
    Adopted out{.removed = WEIR_TRY(remove_stale(live)), .restored = 0, .failures = {}};
    for (const auto* record : lost) {
        if (auto done = restore(*record, links.at(record->key)); !done) {
            out.failures.push_back(std::move(done).error());
        } else {
            ++out.restored;
        }
    }
    return out;
}

Result<bool> Pods::set_policy(uint32_t id, uint16_t generation, uint32_t bank, uint64_t word) {
    const std::lock_guard lock(mutex_);
    return endpoints_.set_policy(id, generation, bank, word);
}

Result<uint32_t> Pods::next_epoch() const {
    const std::lock_guard lock(mutex_);
    return endpoints_.next_epoch();
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
