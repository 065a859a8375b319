// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/host_link.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include <linux/if.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>

#include "datapath/netlink/names.h"
#include "datapath/netlink/requests.h"
#include "datapath/netlink/socket.h"

namespace weir::netlink {
namespace {

/// weir1 takes in what leaves weir0 without having been translated, and drops it: frames carry
/// weir0's address.
constexpr MacAddress kPeerMac = {0x02, 0x77, 0x65, 0x69, 0x72, 0x31};
constexpr uint32_t kLooseReversePath = 2;
const std::string kForwarding6 = "net/ipv6/conf/weir0/forwarding";
const std::string kDefaultForwarding6 = "net/ipv6/conf/default/forwarding";

using InetConf = std::vector<std::pair<uint16_t, uint32_t>>;
/// Loose reverse path whatever `all` says, because the larger of the two counts; the host's own
/// addresses as sources, because a Service may be reached by them; forwarding, because
/// bpf_fib_lookup() refuses to look from a device without.
const InetConf kInetConf = {{IPV4_DEVCONF_RP_FILTER, kLooseReversePath},
                            {IPV4_DEVCONF_ACCEPT_LOCAL, 1},
                            {IPV4_DEVCONF_FORWARDING, 1}};

struct WantedAddress {
    IpAddress address;
    unsigned length;
};

/// weir0's address in the node's first range of a family: what the host has at other nodes' pods,
/// for it belongs to this node there, too.
std::optional<IpAddress> router_of(const HostLinkSpec& spec, Family family) {
    for (const IpPrefix& range : spec.pod_ranges) {
        if (range.family() == family) return router_address(range);
    }
    return std::nullopt;
}

std::vector<RouteSpec> wanted_routes(const HostLinkSpec& spec, const HostLinkState& state) {
    std::vector<RouteSpec> routes;
    for (const IpPrefix& range : spec.service_ranges) {
        RouteSpec route;
        route.dst = range;
        route.oif = state.ifindex;
        route.source = spec.node_address[family_index(range.family())];
        routes.push_back(route);
    }
    for (const IpPrefix& range : spec.pod_ranges) {
        RouteSpec route;
        route.dst = range;
        routes.push_back(route);
    }
    for (const PeerRoute& peer : spec.peers.value_or(std::vector<PeerRoute>())) {
        const bool overlay = peer.ifindex == 0;
        if (overlay && !state.overlay.up) continue;
        RouteSpec route;
        route.dst = peer.pods;
        route.oif = overlay ? state.overlay.ifindex : peer.ifindex;
        route.gateway = peer.via;
        if (overlay) route.source = router_of(spec, peer.pods.family());
        routes.push_back(route);
    }
    return routes;
}

bool same(const Route& have, const RouteSpec& want) {
    if (have.dst != want.dst || have.source != want.source || have.gateway != want.gateway) {
        return false;
    }
    if (!want.oif) return have.type == RTN_UNREACHABLE;
    return have.type == RTN_UNICAST && have.oifs == std::vector{*want.oif};
}

RouteSpec spec_of(const Route& route) {
    RouteSpec spec;
    spec.dst = route.dst;
    if (route.type == RTN_UNICAST && !route.oifs.empty()) spec.oif = route.oifs.front();
    spec.gateway = route.gateway;
    return spec;
}

/// Routes of ours that are not pods': to weir0, over another node, or to nowhere.
Result<std::vector<Route>> our_routes(Socket& socket, std::optional<uint32_t> ifindex) {
    std::vector<Route> found;
    std::vector<Route> family_routes;
    for (const Family family : kFamilies) {
        WEIR_CHECK(socket.dump(
            get_routes_of_ours(family), [&] { family_routes.clear(); },
            [&](const nlmsghdr* message) {
                auto route = parse_route(message);
                if (!route || route->protocol != kRouteProtocol || route->table != RT_TABLE_MAIN) {
                    return;
                }
                const bool to_us = ifindex && route->oifs == std::vector{*ifindex};
                if (to_us || route->gateway || route->type == RTN_UNREACHABLE) {
                    family_routes.push_back(*route);
                }
            }));
        found.insert(found.end(), family_routes.begin(), family_routes.end());
        family_routes.clear();
    }
    return found;
}

/// Routers learnt from advertisements, which the kernel forgets whenever IPv6 forwarding is
/// switched on for any one device.
Result<bool> has_advertised_router(Socket& socket) {
    bool found = false;
    WEIR_CHECK(socket.dump(
        get_routes(Family::kIpv6), [&found] { found = false; },
        [&found](const nlmsghdr* message) {
            const auto route = parse_route(message);
            found = found || (route && route->dst.length() == 0 && route->protocol == RTPROT_RA);
        }));
    return found;
}

/// One ensure().
class Ensure {
  public:
    Ensure(Socket& socket, SysctlJournal& journal, const HostLinkSpec& spec)
        : socket_(socket), journal_(journal), spec_(spec) {}

    Result<HostLinkState> operator()() {
        WEIR_CHECK(pair());
        WEIR_CHECK(settings());
        WEIR_CHECK(addresses());
        if (spec_.overlay) {
            state_.overlay = WEIR_TRY(ensure_overlay(socket_, *spec_.overlay, state_.repaired));
        }
        WEIR_CHECK(routes());
        if (!spec_.overlay && spec_.peers && WEIR_TRY(remove_overlay(socket_))) {
            note(Kind::kLink, "weir_vxlan was there");
        }
        return std::move(state_);
    }

  private:
    void note(Kind kind, std::string text) { state_.repaired.push_back({kind, std::move(text)}); }

    /// An existing pair is kept if it is a whole one of ours.
    Result<void> pair() {
        // A crash in the middle of create() may have left it on.
        WEIR_CHECK(journal_.restore(kDefaultForwarding6));
        auto link = WEIR_TRY(find_link(socket_, kHostLink));
        const auto peer = WEIR_TRY(find_link(socket_, kHostLinkPeer));
        for (const auto& one : {link, peer}) {
            if (!one || (one->is_ours() && one->kind == "veth")) continue;
            return fail(Errc::kExists,
                        "the host has an interface {} that Weir did not make: rename or delete it",
                        one->name);
        }
        if (link && peer && WEIR_TRY(forwards6()) == false &&
            WEIR_TRY(has_advertised_router(socket_))) {
            WEIR_CHECK(socket_.run(delete_link(link->ifindex)));
            link.reset();
        }
        if (link && peer) {
            link_ = std::move(*link);
            state_.ifindex = link_.ifindex;
            return {};
        }
        return create();
    }

    static Result<bool> forwards6() {
        auto value = read_sysctl(kForwarding6);
        if (!value && value.error().code() == Errc::kNotFound) return true;  // no IPv6 here
        if (!value) return Failure(std::move(value).error());
        return *value != "0";
    }

    Result<void> create() {
        // With routers learnt from advertisements, weir0 has to be born forwarding.
        const bool inherit = WEIR_TRY(has_advertised_router(socket_));
        if (inherit) WEIR_CHECK(journal_.set(kDefaultForwarding6, "1"));
        auto made =
            socket_.run(new_veth({std::string(kHostLink), spec_.mac, spec_.mtu, std::nullopt},
                                 {std::string(kHostLinkPeer), kPeerMac, spec_.mtu, std::nullopt}));
        if (inherit) WEIR_CHECK(journal_.restore(kDefaultForwarding6));
        WEIR_CHECK(made);
        link_ = WEIR_TRY(find_link(socket_, kHostLink)).value_or(Link{});
        state_.ifindex = link_.ifindex;
        state_.created = true;
        note(Kind::kLink, "weir0 was not there");
        return {};
    }

    Result<void> settings() {
        if (link_.addr_gen_mode != 1 || (link_.flags & IFF_NOARP) == 0 || !has_inet_conf() ||
            link_.mac != spec_.mac || link_.mtu != spec_.mtu || !link_.is_up()) {
            if (!state_.created) note(Kind::kLink, "weir0 had other settings, or was down");
            WEIR_CHECK(set_both());
        } else if (const auto peer = WEIR_TRY(find_link(socket_, kHostLinkPeer));
                   peer && !peer->is_up()) {
            note(Kind::kLink, "weir1 was down");
            WEIR_CHECK(set_both());
        }
        if (WEIR_TRY(forwards6())) return {};
        if (!state_.created) note(Kind::kLink, "weir0 did not forward IPv6");
        return write_sysctl(kForwarding6, "1");
    }

    Result<void> set_both() {
        LinkChange change;
        change.noarp = true;
        change.no_autoconf = true;
        change.mtu = spec_.mtu;
        LinkChange up;
        up.up = true;
        const uint32_t peer = WEIR_TRY(socket_.ifindex(std::string(kHostLinkPeer)));
        LinkChange ours = change;
        ours.mac = spec_.mac;
        ours.inet_conf = kInetConf;
        Message requests[] = {
            set_link(state_.ifindex, ours, "set weir0"), set_link(peer, change, "set weir1"),
            set_link(peer, up, "bring weir1 up"), set_link(state_.ifindex, up, "bring weir0 up"),
            // Asking makes the kernel take note of the carrier.
            get_link(peer), get_link(state_.ifindex)};
        return socket_.run(requests);
    }

    [[nodiscard]] bool has_inet_conf() const {
        return std::all_of(kInetConf.begin(), kInetConf.end(), [this](const auto& item) {
            return link_.inet_conf.size() >= item.first &&
                   link_.inet_conf[item.first - 1U] == item.second;
        });
    }

    Result<void> addresses() {
        std::vector<Address> have;
        for (const Family family : kFamilies) {
            std::vector<Address> some;
            WEIR_CHECK(socket_.dump(
                get_addresses(family, state_.ifindex), [&some] { some.clear(); },
                [&](const nlmsghdr* message) {
                    auto one = parse_address(message);
                    if (one && one->ifindex == state_.ifindex) some.push_back(*one);
                }));
            have.insert(have.end(), some.begin(), some.end());
        }
        for (const IpPrefix& range : spec_.pod_ranges)
            WEIR_CHECK(add_missing(range, have));
        for (const Address& one : have)
            WEIR_CHECK(drop_unwanted(one));
        return {};
    }

    Result<void> add_missing(const IpPrefix& range, const std::vector<Address>& have) {
        const IpAddress router = router_address(range);
        const bool there = std::any_of(have.begin(), have.end(), [&router](const Address& one) {
            return one.address == router && one.length == (router.is_v4() ? 32U : 128U);
        });
        if (there) return {};
        note(Kind::kAddress, "weir0 did not have " + router.to_string());
        return socket_.run(put_address(state_.ifindex, router));
    }

    Result<void> drop_unwanted(const Address& one) {
        const auto& ranges = spec_.pod_ranges;
        const bool wanted =
            std::any_of(ranges.begin(), ranges.end(), [&one](const IpPrefix& range) {
                return router_address(range) == one.address &&
                       one.length == (one.address.is_v4() ? 32U : 128U);
            });
        if (wanted || one.address.is_link_local()) return {};
        note(Kind::kAddress, "weir0 had " + one.address.to_string());
        return socket_.run(delete_address(state_.ifindex, one.address, one.length));
    }

    Result<void> routes() {
        const auto wanted = wanted_routes(spec_, state_);
        const auto have = WEIR_TRY(our_routes(socket_, state_.ifindex));
        // Thousands, in a large cluster.
        std::multimap<IpPrefix, const Route*> had;
        std::set<IpPrefix> kept;
        for (const Route& one : have)
            had.emplace(one.dst, &one);
        for (const RouteSpec& want : wanted) {
            kept.insert(want.dst);
            WEIR_CHECK(ensure_route(want, had));
        }
        for (const Route& one : have) {
            // The kernel makes the route of weir0's own IPv6 address, which carries another
            // protocol.
            if (kept.contains(one.dst) || (one.gateway && !spec_.peers)) continue;
            WEIR_CHECK(drop_route(one));
        }
        return {};
    }

    Result<void> ensure_route(const RouteSpec& want,
                              const std::multimap<IpPrefix, const Route*>& had) {
        const auto [begin, end] = had.equal_range(want.dst);
        bool there = false;
        for (auto one = begin; one != end; ++one) {
            if (same(*one->second, want)) {
                there = true;
            } else if (want.dst.family() == Family::kIpv6) {
                // IPv4 has one route for a prefix and metric, which is replaced; IPv6 many.
                WEIR_CHECK(drop_route(*one->second));
            }
        }
        if (there) return {};
        note(Kind::kRoute, "there was no route " + want.to_string());
        return socket_.run(put_route(want));
    }

    Result<void> drop_route(const Route& one) {
        note(Kind::kRoute, "there was a route " + spec_of(one).to_string());
        auto deleted = socket_.run(delete_route(spec_of(one)));
        if (!deleted && deleted.error().os_errno() != ESRCH) return deleted;
        return {};
    }

    Socket& socket_;
    SysctlJournal& journal_;
    const HostLinkSpec& spec_;
    Link link_;
    HostLinkState state_;
};

}  // namespace

IpAddress router_address(const IpPrefix& pod_range) {
    const unsigned full = pod_range.family() == Family::kIpv4 ? 32 : 128;
    auto bytes = pod_range.address().bytes();
    if (pod_range.length() < full) bytes[15] |= 1;
    return IpAddress::from_bytes(bytes);
}

Result<HostLinkState> HostLink::ensure(const HostLinkSpec& spec) {
    Socket socket = WEIR_TRY(Socket::open());
    auto state = Ensure(socket, journal_, spec)();
    if (!state) return Failure(std::move(state).error().with("weir0"));
    return state;
}

Result<void> HostLink::remove() {
    Socket socket = WEIR_TRY(Socket::open());
    const auto link = WEIR_TRY(find_link(socket, kHostLink));
    for (const Route& one : WEIR_TRY(our_routes(socket, std::nullopt))) {
        auto deleted = socket.run(delete_route(spec_of(one)));
        if (!deleted && deleted.error().code() != Errc::kNotFound) return deleted;
    }
    WEIR_TRY(remove_overlay(socket));
    if (!link || !link->is_ours()) return {};
    auto deleted = socket.run(delete_link(link->ifindex));
    if (!deleted && deleted.error().os_errno() != ENODEV) return deleted;
    return {};
}

}  // namespace weir::netlink
