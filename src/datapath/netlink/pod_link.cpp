// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/pod_link.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <thread>

#include <linux/if.h>
#include <linux/rtnetlink.h>

#include "datapath/netlink/requests.h"
#include "datapath/netlink/sysctl.h"

namespace weir::netlink {
namespace {

using Clock = std::chrono::steady_clock;

/// How long the kernel's deferred work (carrier, IPv6 local route) may take. It needs the RTNL
/// lock, so a burst of other links' creation delays it.
constexpr std::chrono::seconds kReadyWithin{5};
constexpr std::chrono::microseconds kReadyPoll{100};
constexpr uint32_t kLoopback = 1;   // lo has index 1 in every namespace
constexpr uint32_t kMinMtu = 1280;  // RFC 8200 section 5: below it IPv6 is off
constexpr uint32_t kMaxMtu = 65535;
constexpr size_t kMaxAlias = 255;

Result<void> validate(const PodLinkSpec& spec) {
    if (spec.container_id.empty()) return fail(Errc::kInvalid, "pod link without a container id");
    for (const std::string* name : {&spec.ifname, &spec.host_ifname}) {
        const bool bad = name->empty() || name->size() >= IFNAMSIZ || *name == "." ||
                         *name == ".." || name->find_first_of("/: \t\n") != std::string::npos;
        if (bad) return fail(Errc::kInvalid, "\"{}\" is not an interface name", *name);
    }
    if (spec.mtu < kMinMtu || spec.mtu > kMaxMtu) {
        return fail(Errc::kInvalid, "MTU {} is not within {} to {}", spec.mtu, kMinMtu, kMaxMtu);
    }
    bool any = false;
    for (const Family family : kFamilies) {
        const auto& pod = spec.addresses[family_index(family)];
        if (!pod) continue;
        any = true;
        if (pod->address.family() != family || pod->gateway.family() != family) {
            return fail(Errc::kInvalid, "{} with gateway {} is in the place of the other family",
                        pod->address.to_string(), pod->gateway.to_string());
        }
    }
    if (!any) return fail(Errc::kInvalid, "pod link {} has no address", spec.host_ifname);
    return {};
}

/// Deletes the link unless dismissed.
class Undo {
  public:
    Undo(Socket& host, uint32_t ifindex) : host_(host), ifindex_(ifindex) {}
    ~Undo() {
        // Gone with its namespace, or deleted now; of another failure the caller has heard already.
        if (armed_) (void)host_.run(delete_link(ifindex_));
    }
    Undo(const Undo&) = delete;
    Undo& operator=(const Undo&) = delete;
    Undo(Undo&&) = delete;
    Undo& operator=(Undo&&) = delete;
    void dismiss() { armed_ = false; }

  private:
    Socket& host_;
    uint32_t ifindex_;
    bool armed_ = true;
};

/// The kernel does not say which of the two names was taken.
Error explain_existing(const Socket& pod, const NetNs& ns, const PodLinkSpec& spec, Error error) {
    if (pod.ifindex(spec.ifname)) {
        return {
            Errc::kExists,
            fmt::format("the pod's namespace {} has an interface {} already: another CNI plugin "
                        "made it, or this container was added before (delete it first)",
                        ns.path(), spec.ifname),
            EEXIST};
    }
    return std::move(error).with("the host has an interface {} already", spec.host_ifname);
}

Result<uint32_t> add_pair(Socket& host, const Socket& pod, const NetNs& ns,
                          const PodLinkSpec& spec) {
    const VethEnd ours{spec.host_ifname, spec.host_mac, spec.mtu, std::nullopt};
    const VethEnd theirs{spec.ifname, spec.pod_mac, spec.mtu, ns.fd()};
    auto made = host.run(new_veth(ours, theirs));
    if (made) return host.ifindex(spec.host_ifname);
    if (made.error().os_errno() != EEXIST) return Failure(std::move(made).error());
    return Failure(explain_existing(pod, ns, spec, std::move(made).error()));
}

std::vector<Message> naming_requests(uint32_t ifindex, const PodLinkSpec& spec) {
    std::vector<Message> requests;
    requests.push_back(add_alt_name(ifindex, alt_name(spec.container_id, spec.ifname)));
    LinkChange settings;
    settings.alias = spec.alias.substr(0, kMaxAlias);
    settings.no_autoconf = true;
    requests.push_back(set_link(ifindex, settings, "set alias of " + spec.host_ifname));
    requests.push_back(add_clsact(ifindex));
    return requests;
}

std::vector<Message> opening_requests(uint32_t ifindex, const PodLinkSpec& spec,
                                      PodPrograms programs) {
    std::vector<Message> requests;
    // The programs come before the link is up: no packet passes without them.
    requests.push_back(
        put_filter({ifindex, kIngress, programs.from_pod, "weir_pod_from", spec.endpoint}));
    requests.push_back(
        put_filter({ifindex, kEgress, programs.to_pod, "weir_pod_to", spec.endpoint}));
    LinkChange up;
    up.up = true;
    requests.push_back(set_link(ifindex, up, fmt::format("bring {} up", spec.host_ifname)));
    for (const auto& pod : spec.addresses) {
        if (!pod) continue;
        const unsigned length = pod->address.is_v4() ? 32 : 128;
        RouteSpec route;
        route.dst = *IpPrefix::make(pod->address, length);
        route.oif = ifindex;
        requests.push_back(put_neighbour(ifindex, pod->address, spec.pod_mac));
        requests.push_back(put_route(route));
    }
    return requests;
}

/// An IPv6 address accepts packets once the kernel's deferred work has made its local route, even
/// without duplicate address detection; milliseconds later in a burst. This route (which the
/// kernel's own then precedes) serves until then.
Message accept_at_once(uint32_t ifindex, const IpAddress& address) {
    RouteSpec route;
    route.dst = *IpPrefix::make(address, 128);
    route.oif = ifindex;
    route.local = true;
    return put_route(route);
}

std::vector<Message> pod_requests(uint32_t ifindex, const PodLinkSpec& spec) {
    std::vector<Message> requests;
    LinkChange up;
    up.up = true;
    requests.push_back(set_link(kLoopback, up, "bring lo of the pod up"));
    LinkChange settings;
    settings.no_autoconf = true;
    requests.push_back(set_link(ifindex, settings, "set " + spec.ifname + " of the pod"));
    requests.push_back(set_link(ifindex, up, fmt::format("bring {} of the pod up", spec.ifname)));
    for (const auto& pod : spec.addresses) {
        if (!pod) continue;
        RouteSpec route;
        const IpAddress any = pod->address.is_v4() ? IpAddress::v4(0) : IpAddress();
        route.dst = *IpPrefix::make(any, 0);
        route.oif = ifindex;
        route.gateway = pod->gateway;
        requests.push_back(put_address(ifindex, pod->address));
        if (!pod->address.is_v4()) requests.push_back(accept_at_once(ifindex, pod->address));
        requests.push_back(put_neighbour(ifindex, pod->gateway, spec.host_mac));
        requests.push_back(put_route(route));
    }
    return requests;
}

/// Container engines create sandboxes with IPv6 switched off; the kernel then refuses addresses.
Result<void> set_up_pod(const HomeNetNs& home, const NetNs& ns, Socket& pod, uint32_t ifindex,
                        const PodLinkSpec& spec) {
    auto requests = pod_requests(ifindex, spec);
    auto done = pod.run(requests);
    if (done || done.error().os_errno() != EACCES || !spec.addresses[1]) return done;
    WEIR_CHECK(home.run_in(ns, [&spec] {
        return write_sysctl(fmt::format("net/ipv6/conf/{}/disable_ipv6", spec.ifname), "0");
    }));
    return pod.run(requests);
}

/// The end that was brought up first transmits only when deferred work has seen the carrier. Asking
/// for the link does that work at once from Linux 6.8 on; before, it is a matter of waiting.
Result<void> wait_for_carrier(Socket& host, uint32_t ifindex, const PodLinkSpec& spec) {
    const auto deadline = Clock::now() + kReadyWithin;
    for (;;) {
        const auto bytes = WEIR_TRY(host.get(get_link(ifindex)));
        const auto link = parse_link(reinterpret_cast<const nlmsghdr*>(bytes.data()));
        if (link && link->operstate == IF_OPER_UP) return {};
        if (Clock::now() > deadline) {
            return fail(Errc::kUnavailable,
                        "{} had no carrier for {} s after its pod's end was brought up: is the "
                        "machine overloaded?",
                        spec.host_ifname, kReadyWithin.count());
        }
        std::this_thread::sleep_for(kReadyPoll);
    }
}

Result<std::optional<Link>> find_link(Socket& host, Message request) {
    auto bytes = host.get(std::move(request));
    if (!bytes && bytes.error().os_errno() == ENODEV) return std::nullopt;
    if (!bytes) return Failure(std::move(bytes).error());
    return parse_link(reinterpret_cast<const nlmsghdr*>(bytes->data()));
}

Result<void> delete_if_present(Socket& host, uint32_t ifindex) {
    auto deleted = host.run(delete_link(ifindex));
    if (!deleted && deleted.error().os_errno() == ENODEV) return {};
    return deleted;
}

std::optional<Attachment> attachment_of(const Link& link) {
    for (const std::string& name : link.alt_names) {
        if (auto attachment = parse_alt_name(name)) return attachment;
    }
    return std::nullopt;
}

Result<std::vector<FoundPodLink>> list_links(Socket& host) {
    std::vector<FoundPodLink> found;
    WEIR_CHECK(host.dump(
        get_links(), [&found] { found.clear(); },
        [&found](const nlmsghdr* message) {
            auto link = parse_link(message);
            if (!link || !link->is_ours() || is_host_link(link->name)) {
                return;
            }
            auto attachment = attachment_of(*link);
            found.push_back({std::move(*link), std::move(attachment)});
        }));
    return found;
}

}  // namespace

Result<PodLink> PodLinks::create(const NetNs& ns, const PodLinkSpec& spec,
                                 PodPrograms programs) const {
    WEIR_CHECK(validate(spec));
    Socket pod = WEIR_TRY(home_.open_socket(ns));
    Socket host = WEIR_TRY(Socket::open());
    PodLink link;
    link.netns_cookie = WEIR_TRY(pod.netns_cookie());
    std::optional<Turn> turn(turns_);
    link.host_ifindex = WEIR_TRY(add_pair(host, pod, ns, spec));
    Undo undo(host, link.host_ifindex);
    link.pod_ifindex = WEIR_TRY(pod.ifindex(spec.ifname));
    auto requests = naming_requests(link.host_ifindex, spec);
    WEIR_CHECK(host.run(requests));
    // The first filter of a new clsact waits for a grace period, under the RTNL lock; but one does
    // for all that were made before it. So those who wait make theirs first.
    turn.reset();
    turn.emplace(turns_);
    requests = opening_requests(link.host_ifindex, spec, programs);
    WEIR_CHECK(host.run(requests));
    WEIR_CHECK(set_up_pod(home_, ns, pod, link.pod_ifindex, spec));
    WEIR_CHECK(wait_for_carrier(host, link.host_ifindex, spec));
    undo.dismiss();
    return link;
}

Result<uint64_t> PodLinks::netns_cookie(const NetNs& ns) const {
    const Socket socket = WEIR_TRY(home_.open_socket(ns));
    return socket.netns_cookie();
}

Result<void> PodLinks::repair_host(const PodLinkSpec& spec, PodPrograms programs) const {
    Socket host = WEIR_TRY(Socket::open());
    const auto link = WEIR_TRY(find_link(host, get_link(spec.host_ifname)));
    if (!link || !link->is_ours()) {
        return fail(Errc::kNotFound, "interface {} is gone", spec.host_ifname);
    }
    const auto holder = attachment_of(*link);
    if (holder && alt_name(holder->container_id, holder->ifname) !=
                      alt_name(spec.container_id, spec.ifname)) {
        return fail(Errc::kNotFound, "interface {} is now that of container {}", spec.host_ifname,
                    holder->container_id);
    }
    const uint32_t ifindex = link->ifindex;
    std::vector<Message> requests;
    if (link->mac != spec.host_mac) {
        // Only then: it makes the kernel drop the neighbours, which come back below.
        LinkChange change;
        change.mac = spec.host_mac;
        requests.push_back(set_link(ifindex, change, "set the address of " + spec.host_ifname));
    }
    std::ranges::move(naming_requests(ifindex, spec), std::back_inserter(requests));
    std::ranges::move(opening_requests(ifindex, spec, programs), std::back_inserter(requests));
    const auto answers = WEIR_TRY(host.exchange(requests));
    for (const Answer& answer : answers) {
        // What may only be added once says so.
        if (!answer.outcome && answer.outcome.error().os_errno() != EEXIST) return answer.outcome;
    }
    return {};
}

Result<void> PodLinks::remove(const std::string& host_ifname) const {
    Socket host = WEIR_TRY(Socket::open());
    const auto link = WEIR_TRY(find_link(host, get_link(host_ifname)));
    if (!link) return {};
    if (!link->is_ours()) {
        return fail(Errc::kPermission, "interface {} was not made by Weir (its group is {}): left",
                    host_ifname, link->group);
    }
    return delete_if_present(host, link->ifindex);
}

Result<void> PodLinks::remove(const std::string& container_id, const std::string& ifname) const {
    Socket host = WEIR_TRY(Socket::open());
    const auto link =
        WEIR_TRY(find_link(host, get_link_by_alt_name(alt_name(container_id, ifname))));
    if (link) return delete_if_present(host, link->ifindex);
    const std::string prefix = pod_host_ifname_prefix(container_id, ifname);
    for (const FoundPodLink& found : WEIR_TRY(list_links(host))) {
        if (found.attachment || !found.link.name.starts_with(prefix)) continue;
        WEIR_CHECK(delete_if_present(host, found.link.ifindex));
    }
    return {};
}

Result<std::vector<FoundPodLink>> PodLinks::list() const {
    Socket host = WEIR_TRY(Socket::open());
    return list_links(host);
}

Result<void> remove_all_links() {
    Socket host = WEIR_TRY(Socket::open());
    Message request(RTM_DELLINK, 0, "delete all links of Weir");
    request.header(ifinfomsg{.ifi_family = AF_UNSPEC}).put_u32(IFLA_GROUP, kLinkGroup);
    auto deleted = host.run(std::move(request));
    if (!deleted && deleted.error().os_errno() == ENODEV) return {};
    return deleted;
}

}  // namespace weir::netlink
