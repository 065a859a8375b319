// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/overlay_link.h"

#include <cerrno>

#include <linux/if.h>

#include "datapath/netlink/names.h"
#include "datapath/netlink/requests.h"

namespace weir::netlink {
namespace {

/// With the index of the one before if that is free: programs know it by that.
Result<void> create(Socket& socket, const OverlaySpec& spec) {
    VxlanLink link{.name = std::string(kOverlayLink),
                   .mac = spec.mac,
                   .mtu = spec.mtu,
                   .port = spec.port,
                   .ifindex = spec.served};
    auto made = socket.run(new_vxlan(link));
    if (!made && made.error().os_errno() == EBUSY && link.ifindex != 0) {
        link.ifindex = 0;
        made = socket.run(new_vxlan(link));
    }
    if (!made && made.error().os_errno() == EEXIST) {
        return fail(Errc::kExists,
                    "another VXLAN device of this host has UDP port {} (`ip -d link show type "
                    "vxlan`): delete it, or give Weir another vxlan-port on all nodes",
                    spec.port);
    }
    return made;
}

bool has_settings(const Link& link, const OverlaySpec& spec) {
    return link.mtu == spec.mtu && link.mac == spec.mac && link.addr_gen_mode.value_or(1) == 1 &&
           (link.flags & IFF_NOARP) != 0;
}

/// Without ARP the kernel takes any next hop as it is; what addresses frames bear, the program
/// says.
Result<void> set(Socket& socket, uint32_t ifindex, const OverlaySpec& spec) {
    LinkChange change;
    change.noarp = true;
    change.no_autoconf = true;
    change.mtu = spec.mtu;
    change.mac = spec.mac;
    return socket.run(set_link(ifindex, change, "set weir_vxlan"));
}

Result<void> bring_up(Socket& socket, uint32_t ifindex, uint16_t port) {
    LinkChange up;
    up.up = true;
    // The socket is made now.
    auto done = socket.run(set_link(ifindex, up, "bring weir_vxlan up"));
    if (!done && done.error().os_errno() == EADDRINUSE) {
        return fail(Errc::kExists,
                    "UDP port {} is taken on this host (`ss -lunp`; another VXLAN device has no "
                    "process): free it, or give Weir another vxlan-port on all nodes",
                    port);
    }
    return done;
}

/// What `parse` reads in the kernel's answer; none: there is no link of this name.
template <typename T>
Result<std::optional<T>> ask_link(Socket& socket, std::string_view name,
                                  std::optional<T> (*parse)(const nlmsghdr*)) {
    auto bytes = socket.get(get_link(std::string(name)));
    if (!bytes && bytes.error().os_errno() == ENODEV) return std::nullopt;
    if (!bytes) return Failure(std::move(bytes).error());
    return parse(reinterpret_cast<const nlmsghdr*>(bytes->data()));
}

}  // namespace

Result<std::optional<Link>> find_link(Socket& socket, std::string_view name) {
    return ask_link(socket, name, parse_link);
}

Result<uint64_t> packets_received(Socket& socket, std::string_view link) {
    return WEIR_TRY(ask_link(socket, link, parse_received)).value_or(0);
}

Result<OverlayState> ensure_overlay(Socket& socket, const OverlaySpec& spec,
                                    std::vector<Problem>& repaired) {
    auto link = WEIR_TRY(find_link(socket, kOverlayLink));
    if (link && !link->is_ours()) {
        return fail(Errc::kExists,
                    "the host has an interface {} that Weir did not make: rename or delete it",
                    kOverlayLink);
    }
    if (link && link->vxlan_port != spec.port) {
        repaired.push_back({Kind::kLink, "weir_vxlan had another port"});
        WEIR_CHECK(socket.run(delete_link(link->ifindex)));
        link.reset();
    }
    OverlayState state;
    state.created = !link;
    if (!link) {
        repaired.push_back({Kind::kLink, "weir_vxlan was not there"});
        WEIR_CHECK(create(socket, spec));
        link = WEIR_TRY(find_link(socket, kOverlayLink)).value_or(Link{});
    }
    state.ifindex = link->ifindex;
    if (!has_settings(*link, spec)) {
        if (!state.created) repaired.push_back({Kind::kLink, "weir_vxlan had other settings"});
        WEIR_CHECK(set(socket, state.ifindex, spec));
    }
    state.up = link->is_up();
    if (!state.up && !state.created && state.ifindex == spec.served) {
        repaired.push_back({Kind::kLink, "weir_vxlan was down"});
        WEIR_CHECK(bring_up(socket, state.ifindex, spec.port));
        state.up = true;
    }
    return state;
}

Result<bool> remove_overlay(Socket& socket) {
    const auto link = WEIR_TRY(find_link(socket, kOverlayLink));
    if (!link || !link->is_ours()) return false;
    auto deleted = socket.run(delete_link(link->ifindex));
    if (!deleted && deleted.error().os_errno() != ENODEV) {
        return Failure(std::move(deleted).error());
    }
    return true;
}

}  // namespace weir::netlink
