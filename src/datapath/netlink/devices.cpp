// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/devices.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fnmatch.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include "datapath/netlink/names.h"
#include "datapath/netlink/requests.h"

namespace weir::netlink {
namespace {

/// Events taken in one on_readable(), so that a flood does not hold the event loop.
constexpr int kMaxDatagrams = 256;
constexpr uint32_t kDefaultMtu = 1500;
constexpr uint32_t kUnusable = IFA_F_TENTATIVE | IFA_F_DADFAILED;
constexpr std::array<unsigned, 5> kGroups = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                             RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};

bool matches_any(const std::string& name, const std::vector<std::string>& patterns) {
    return std::any_of(patterns.begin(), patterns.end(), [&name](const std::string& pattern) {
        return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
    });
}

bool is_usable(const Address& one) {
    return one.scope == RT_SCOPE_UNIVERSE && (one.flags & kUnusable) == 0 &&
           !one.address.is_loopback() && !one.address.is_link_local();
}

class Selection {
  public:
    Selection(const DeviceConfig& config, const NetworkState& state)
        : config_(config), state_(state) {}

    DeviceSet operator()() const {
        DeviceSet set;
        for (const auto& [ifindex, link] : state_.links) {
            if (is_external(link)) {
                set.devices.push_back(device(link));
            } else if (auto why = why_foreign(link); !why.empty()) {
                set.foreign.push_back({.name = link.name, .why = std::move(why)});
            }
        }
        for (const ExternalDevice& one : set.devices) {
            const bool first = &one == &set.devices.front();
            set.pod_mtu = first ? one.abi.mtu : std::min(set.pod_mtu, one.abi.mtu);
        }
        set.node_addresses = node_addresses();
        return set;
    }

  private:
    [[nodiscard]] bool is_external(const Link& link) const {
        if (link.is_loopback() || link.is_ours()) return false;
        if (!config_.devices.empty()) return matches_any(link.name, config_.devices);
        if (!link.is_up() || link.kind == "dummy" || is_port(link)) return false;
        if (matches_any(link.name, config_.excluded)) return false;
        return has_default_route(link.ifindex) || has_global_address(link.ifindex);
    }

    /// Of a device that is not external; empty: nothing leaves by it.
    [[nodiscard]] std::string why_foreign(const Link& link) const {
        if (link.is_loopback() || link.is_ours() || !link.is_up() || is_port(link)) return "";
        if (!has_default_route(link.ifindex) && !has_global_address(link.ifindex)) return "";
        if (!config_.devices.empty()) return "not one of the configured devices";
        return link.kind == "dummy" ? "a dummy" : "named like another engine's";
    }

    /// Traffic of a port is seen on its master. A member of a VRF is a device of its own.
    [[nodiscard]] bool is_port(const Link& link) const {
        const auto master = state_.links.find(link.master);
        return link.master != 0 && (master == state_.links.end() || master->second.kind != "vrf");
    }

    [[nodiscard]] bool has_default_route(uint32_t ifindex) const {
        const auto& routes = state_.default_routes;
        return std::any_of(routes.begin(), routes.end(), [ifindex](const Route& route) {
            return std::find(route.oifs.begin(), route.oifs.end(), ifindex) != route.oifs.end();
        });
    }

    [[nodiscard]] bool has_global_address(uint32_t ifindex) const {
        const auto& all = state_.addresses;
        return std::any_of(all.begin(), all.end(), [ifindex](const Address& one) {
            return one.ifindex == ifindex && is_usable(one);
        });
    }

    [[nodiscard]] ExternalDevice device(const Link& link) const {
        ExternalDevice device{.ifindex = link.ifindex, .name = link.name};
        device.abi.kind = WEIR_DEV_EXTERNAL;
        device.abi.mtu = link.mtu;
        device.abi.l3 = link.mac ? 0 : 1;
        if (link.mac) std::memcpy(device.abi.mac, link.mac->data(), link.mac->size());
        for (const Family family : kFamilies) {
            if (const auto source = source_address(link.ifindex, family)) {
                device.abi.addr[family_index(family)] = source->abi();
            }
        }
        return device;
    }

    /// The device's own; where it has none, what the kernel would take: another one's.
    [[nodiscard]] std::optional<IpAddress> source_address(uint32_t ifindex, Family family) const {
        if (const auto own = best_address(ifindex, family)) return own;
        return best_address(std::nullopt, family);
    }

    /// Greater is better. Among equals the first met stays, so that a new address moves nothing.
    [[nodiscard]] int rank(const Address& one, std::optional<uint32_t> ifindex) const {
        const auto& preferred = config_.node_addresses;
        if (std::find(preferred.begin(), preferred.end(), one.address) != preferred.end()) return 5;
        if (is_route_source(one, ifindex)) return 4;
        // For IPv6 this bit says temporary (a privacy address), for IPv4 not the subnet's first.
        if ((one.flags & IFA_F_SECONDARY) != 0) return 1;
        if ((one.flags & IFA_F_DEPRECATED) != 0) return 0;
        return 3;
    }

    [[nodiscard]] bool is_route_source(const Address& one, std::optional<uint32_t> ifindex) const {
        const auto& routes = state_.default_routes;
        return std::any_of(routes.begin(), routes.end(), [&](const Route& route) {
            return route.source == one.address && (!ifindex || one.ifindex == *ifindex);
        });
    }

    [[nodiscard]] std::optional<IpAddress> best_address(std::optional<uint32_t> ifindex,
                                                        Family family) const {
        const Address* best = nullptr;
        for (const Address& one : state_.addresses) {
            if (one.address.family() != family || !is_usable(one)) continue;
            if (ifindex ? one.ifindex != *ifindex : is_on_own_link(one)) continue;
            if (best == nullptr || rank(one, ifindex) > rank(*best, ifindex)) best = &one;
        }
        if (best == nullptr) return std::nullopt;
        return best->address;
    }

    [[nodiscard]] bool is_on_own_link(const Address& one) const {
        const auto link = state_.links.find(one.ifindex);
        return link != state_.links.end() && link->second.is_ours();
    }

    [[nodiscard]] std::vector<NodeAddress> node_addresses() const {
        std::vector<NodeAddress> found;
        for (const Address& one : state_.addresses) {
            if (one.address.is_loopback()) continue;
            found.push_back({one.address, answers_node_ports(one.address)});
        }
        std::sort(found.begin(), found.end());
        found.erase(std::unique(found.begin(), found.end()), found.end());
        return found;
    }

    /// Kubernetes' nodePortAddresses: a family that no range names has its default, all.
    [[nodiscard]] bool answers_node_ports(const IpAddress& address) const {
        if (address.is_link_local()) return false;
        bool named = false;
        for (const IpPrefix& range : config_.node_port_addresses) {
            if (range.family() != address.family()) continue;
            if (range.contains(address)) return true;
            named = true;
        }
        return !named;
    }

    const DeviceConfig& config_;
    const NetworkState& state_;
};

}  // namespace

const std::vector<std::string>& default_excluded_devices() {
    static const std::vector<std::string> patterns = {
        "weir*",   "docker*", "br-*",       "veth*",      "cni*",   "podman*",
        "cali*",   "lxc*",    "cilium_*",   "flannel*",   "kube-*", "nodelocaldns",
        "virbr*",  "vnet*",   "tunl0",      "ip6tnl0",    "sit0",   "gre0",
        "gretap0", "erspan0", "kube-ipvs*", "antrea-gw*", "weave*", "lxdbr*"};
    return patterns;
}

bool operator==(const DeviceSet& a, const DeviceSet& b) {
    return a.pod_mtu == b.pod_mtu && a.node_addresses == b.node_addresses &&
           a.foreign == b.foreign &&
           std::equal(a.devices.begin(), a.devices.end(), b.devices.begin(), b.devices.end(),
                      [](const ExternalDevice& x, const ExternalDevice& y) {
                          return x.ifindex == y.ifindex && x.name == y.name &&
                                 std::memcmp(&x.abi, &y.abi, sizeof x.abi) == 0;
                      });
}

DeviceSet select_devices(const DeviceConfig& config, const NetworkState& state) {
    DeviceSet set = Selection(config, state)();
    if (set.devices.empty()) set.pod_mtu = kDefaultMtu;
    return set;
}

Result<DeviceFollower> DeviceFollower::open(DeviceConfig config) {
    // Subscribed before read: what changes in between is told twice rather than not at all.
    Socket events = WEIR_TRY(Socket::subscribe(kGroups));
    WEIR_CHECK(events.pass_over_specific_routes());
    Socket requests = WEIR_TRY(Socket::open());
    DeviceFollower follower(std::move(config), std::move(events), std::move(requests));
    WEIR_CHECK(follower.resync());
    follower.current_ = select_devices(follower.config_, follower.state_);
    return follower;
}

Result<void> DeviceFollower::resync() {
    NetworkState fresh;
    const auto apply = [&fresh](const nlmsghdr* message) { fresh.apply(message); };
    WEIR_CHECK(requests_.dump(get_links(), [&fresh] { fresh.links.clear(); }, apply));
    for (const Family family : kFamilies) {
        const auto of_family = [family](const auto& address) { return address.family() == family; };
        WEIR_CHECK(requests_.dump(
            get_addresses(family, 0),
            [&] {
                std::erase_if(fresh.addresses,
                              [&](const Address& one) { return of_family(one.address); });
            },
            apply));
        WEIR_CHECK(requests_.dump(
            get_routes(family),
            [&] {
                std::erase_if(fresh.default_routes,
                              [&](const Route& one) { return of_family(one.dst.address()); });
            },
            apply));
    }
    state_ = std::move(fresh);
    return {};
}

Result<bool> DeviceFollower::on_readable() {
    bool changed = false;
    for (int i = 0; i < kMaxDatagrams; i++) {
        const auto more = events_.receive(
            [&](const nlmsghdr* message) { changed = state_.apply(message) || changed; });
        if (!more && more.error().code() == Errc::kExhausted) {
            resyncs_++;
            WEIR_CHECK(resync());
            changed = true;
            continue;
        }
        if (!WEIR_TRY(more)) break;
    }
    return changed && update();
}

bool DeviceFollower::set_node_addresses(std::vector<IpAddress> addresses) {
    if (addresses == config_.node_addresses) return false;
    config_.node_addresses = std::move(addresses);
    return update();
}

Result<bool> DeviceFollower::refresh() {
    WEIR_CHECK(resync());
    return update();
}

bool DeviceFollower::update() {
    DeviceSet next = select_devices(config_, state_);
    if (next == current_) return false;
    current_ = std::move(next);
    return true;
}

}  // namespace weir::netlink
