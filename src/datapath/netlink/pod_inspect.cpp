// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include <linux/bpf.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "datapath/netlink/pod_link.h"
#include "datapath/netlink/requests.h"

namespace weir::netlink {
namespace {

Result<uint32_t> program_id(int fd) {
    bpf_prog_info info{};
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(fd);
    attr.info.info_len = sizeof info;
    attr.info.info = reinterpret_cast<uintptr_t>(&info);
    if (::syscall(__NR_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof attr) != 0) {
        return fail_errno(errno, "id of the program with descriptor {}", fd);
    }
    return info.id;
}

bool is_absent(const Error& error) {
    const int reason = error.os_errno();
    return reason == ENOENT || reason == ENODEV || reason == ESRCH || reason == ENETUNREACH ||
           reason == EHOSTUNREACH || reason == EINVAL;
}

/// The object asked for, or nothing if the kernel has none such.
template <typename Parse>
auto look_up(Socket& socket, Message request, Parse&& parse)
    -> Result<decltype(parse(static_cast<const nlmsghdr*>(nullptr)))> {
    auto bytes = socket.get(std::move(request));
    if (bytes) return parse(reinterpret_cast<const nlmsghdr*>(bytes->data()));
    if (is_absent(bytes.error())) return decltype(parse(nullptr))();
    return Failure(std::move(bytes).error());
}

/// One side's findings.
class Inspection {
  public:
    Inspection(Socket& socket, const PodLinkSpec& spec) : socket_(socket), spec_(spec) {}

    Result<void> host_side(PodPrograms programs) {
        const auto link = WEIR_TRY(look_up(socket_, get_link(spec_.host_ifname), parse_link));
        if (!link) {
            add(Kind::kLink, "interface {} is gone", spec_.host_ifname);
            return {};
        }
        check_link(*link, spec_.host_mac);
        const std::string mark = alt_name(spec_.container_id, spec_.ifname);
        if (std::find(link->alt_names.begin(), link->alt_names.end(), mark) ==
            link->alt_names.end()) {
            add(Kind::kLink, "interface {} has lost the name {}", link->name, mark);
        }
        WEIR_CHECK(check_filter(*link, kIngress, programs.from_pod));
        WEIR_CHECK(check_filter(*link, kEgress, programs.to_pod));
        for (const auto& pod : spec_.addresses) {
            if (!pod) continue;
            WEIR_CHECK(check_host_route(*link, pod->address));
            WEIR_CHECK(check_neighbour(*link, pod->address, spec_.pod_mac));
        }
        return {};
    }

    Result<void> pod_side() {
        const auto link = WEIR_TRY(look_up(socket_, get_link(spec_.ifname), parse_link));
        if (!link) {
            add(Kind::kLink, "interface {} of the pod is gone", spec_.ifname);
            return {};
        }
        check_link(*link, spec_.pod_mac);
        for (const auto& pod : spec_.addresses) {
            if (!pod) continue;
            WEIR_CHECK(check_address(*link, pod->address));
            WEIR_CHECK(check_default_route(*link, pod->gateway));
            WEIR_CHECK(check_neighbour(*link, pod->gateway, spec_.host_mac));
        }
        return {};
    }

    std::vector<Problem> take() { return std::move(problems_); }

  private:
    template <typename... Args>
    void add(Kind kind, fmt::format_string<Args...> format, Args&&... args) {
        problems_.push_back({kind, fmt::format(format, std::forward<Args>(args)...)});
    }

    void check_link(const Link& link, const MacAddress& mac) {
        if (!link.is_up()) add(Kind::kLink, "interface {} is down", link.name);
        if (link.mac == mac) return;
        add(Kind::kLink, "interface {} has the MAC address {} instead of {}", link.name,
            link.mac ? to_string(*link.mac) : "none", to_string(mac));
    }

    Result<void> check_filter(const Link& link, uint32_t parent, int program) {
        const auto filter =
            WEIR_TRY(look_up(socket_, get_filter(link.ifindex, parent), parse_filter));
        const std::string_view direction = parent == kIngress ? "ingress" : "egress";
        if (!filter) {
            add(Kind::kFilter, "interface {} has no {} program", link.name, direction);
            return {};
        }
        const uint32_t id = WEIR_TRY(program_id(program));
        if (filter->program != id) {
            add(Kind::kFilter, "interface {} has {} program {} instead of {}", link.name, direction,
                filter->program, id);
        }
        if (filter->class_id != spec_.endpoint) {
            add(Kind::kFilter, "the {} program of interface {} serves endpoint {} instead of {}",
                direction, link.name, filter->class_id, spec_.endpoint);
        }
        return {};
    }

    Result<void> check_host_route(const Link& link, const IpAddress& address) {
        const auto route = WEIR_TRY(look_up(socket_, get_route(address), parse_route));
        const unsigned full = address.is_v4() ? 32 : 128;
        if (!route || route->dst.length() != full) {
            add(Kind::kRoute, "there is no route to {}", address.to_string());
        } else if (route->oifs != std::vector{link.ifindex} || route->type != RTN_UNICAST) {
            add(Kind::kRoute, "the route to {} does not lead to {}", address.to_string(),
                link.name);
        }
        return {};
    }

    Result<void> check_neighbour(const Link& link, const IpAddress& address,
                                 const MacAddress& mac) {
        const auto found =
            WEIR_TRY(look_up(socket_, get_neighbour(link.ifindex, address), parse_neighbour));
        if (found && found->mac == mac && (found->state & NUD_PERMANENT) != 0) return {};
        add(Kind::kNeighbour, "interface {} has no permanent neighbour {} at {}", link.name,
            address.to_string(), to_string(mac));
        return {};
    }

    Result<void> check_address(const Link& link, const IpAddress& address) {
        bool found = false;
        WEIR_CHECK(socket_.dump(
            get_addresses(address.family(), link.ifindex), [&found] { found = false; },
            [&](const nlmsghdr* message) {
                const auto one = parse_address(message);
                found = found || (one && one->address == address && one->ifindex == link.ifindex);
            }));
        if (!found) add(Kind::kAddress, "{} has lost {}", link.name, address.to_string());
        return {};
    }

    Result<void> check_default_route(const Link& link, const IpAddress& gateway) {
        bool found = false;
        WEIR_CHECK(socket_.dump(
            get_routes(gateway.family()), [&found] { found = false; },
            [&](const nlmsghdr* message) {
                const auto route = parse_route(message);
                found = found || (route && route->dst.length() == 0 && route->gateway == gateway &&
                                  route->oifs == std::vector{link.ifindex});
            }));
        if (!found) {
            add(Kind::kRoute, "the pod has no default route via {}", gateway.to_string());
        }
        return {};
    }

    Socket& socket_;
    const PodLinkSpec& spec_;
    std::vector<Problem> problems_;
};

}  // namespace

std::string_view to_string(Kind kind) {
    switch (kind) {
        case Kind::kLink:
            return "link";
        case Kind::kAddress:
            return "address";
        case Kind::kRoute:
            return "route";
        case Kind::kNeighbour:
            return "neighbour";
        case Kind::kFilter:
            return "filter";
    }
    return "unknown";
}

Result<std::vector<Problem>> PodLinks::inspect_host(const PodLinkSpec& spec,
                                                    PodPrograms programs) const {
    Socket host = WEIR_TRY(Socket::open());
    Inspection inspection(host, spec);
    WEIR_CHECK(inspection.host_side(programs));
    return inspection.take();
}

Result<void> PodLinks::check(const NetNs& ns, const PodLinkSpec& spec, PodPrograms programs) const {
    auto problems = WEIR_TRY(inspect_host(spec, programs));
    Socket pod = WEIR_TRY(home_.open_socket(ns));
    Inspection inspection(pod, spec);
    WEIR_CHECK(inspection.pod_side());
    for (Problem& problem : inspection.take())
        problems.push_back(std::move(problem));
    if (problems.empty()) return {};
    std::string text;
    for (const Problem& problem : problems)
        text += (text.empty() ? "" : "; ") + problem.text;
    return fail(Errc::kNotFound, "pod link {}: {}", spec.host_ifname, text);
}

}  // namespace weir::netlink
