// SPDX-License-Identifier: Apache-2.0
#include "datapath/clsact.h"

#include <cerrno>
#include <charconv>

#include <bpf/libbpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datapath/netlink/requests.h"
#include "datapath/netlink/socket.h"

namespace weir::datapath {
namespace {

bpf_tc_attach_point point(Direction direction) {
    return direction == Direction::kIngress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

/// Whether any filter of any kind is on either side.
Result<bool> has_filters(netlink::Socket& socket, uint32_t ifindex) {
    bool any = false;
    for (const uint32_t parent : {netlink::kIngress, netlink::kEgress}) {
        WEIR_CHECK(socket.dump(
            netlink::get_filters(ifindex, parent), [] {}, [&](const nlmsghdr*) { any = true; }));
    }
    return any;
}

bool is_gone(const Error& error) {
    const int reason = error.os_errno();
    return reason == ENOENT || reason == EINVAL || reason == ENODEV;
}

}  // namespace

std::filesystem::path ClsactFilters::mark(uint32_t ifindex) const {
    return pins_.qdiscs() / std::to_string(ifindex);
}

// The mark comes second: what is not known to be ours is never removed, whenever the agent dies.
Result<void> ClsactFilters::ensure_qdisc(uint32_t ifindex) const {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex),
                .attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    const int error = bpf_tc_hook_create(&hook);
    if (error == -EEXIST) return {};
    if (error != 0) return fail_errno(-error, "add a clsact qdisc to device {}", ifindex);
    if (::mkdir(mark(ifindex).c_str(), 0700) == 0 || errno == EEXIST) return {};
    return fail_errno(errno, "note in {} that the qdisc is ours", mark(ifindex).string());
}

Result<void> ClsactFilters::attach(uint32_t ifindex, Direction direction, int program) const {
    WEIR_CHECK(ensure_qdisc(ifindex));
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex),
                .attach_point = point(direction));
    LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program, .flags = BPF_TC_F_REPLACE,
                .handle = kClsactHandle, .priority = kClsactPriority);
    const int error = bpf_tc_attach(&hook, &opts);
    if (error == 0) return {};
    return fail_errno(-error, "attach to device {}, {}, by clsact", ifindex, to_string(direction));
}

Result<void> ClsactFilters::detach(uint32_t ifindex, Direction direction) const {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex),
                .attach_point = point(direction));
    LIBBPF_OPTS(bpf_tc_opts, opts, .handle = kClsactHandle, .priority = kClsactPriority);
    const int error = bpf_tc_detach(&hook, &opts);
    const bool absent = error == -ENOENT || error == -EINVAL || error == -ENODEV;
    if (error == 0 || absent) return {};
    return fail_errno(-error, "detach from device {}, {}", ifindex, to_string(direction));
}

Result<bool> ClsactFilters::remove_qdisc(uint32_t ifindex) const {
    if (::access(mark(ifindex).c_str(), F_OK) != 0) return false;
    auto socket = WEIR_TRY(netlink::Socket::open());
    const auto used = has_filters(socket, ifindex);
    if (!used && !is_gone(used.error())) return Failure(used.error());
    if (used && *used) return false;
    const auto removed = socket.run(netlink::delete_clsact(ifindex));
    if (!removed && !is_gone(removed.error())) return Failure(removed.error());
    WEIR_CHECK(disown_qdisc(ifindex));
    return removed.has_value();
}

std::vector<uint32_t> ClsactFilters::own_qdiscs() const {
    std::vector<uint32_t> devices;
    for (const std::string& name : list_pins(pins_.qdiscs())) {
        uint32_t ifindex = 0;
        std::from_chars(name.data(), name.data() + name.size(), ifindex);
        if (ifindex != 0) devices.push_back(ifindex);
    }
    return devices;
}

Result<void> ClsactFilters::disown_qdisc(uint32_t ifindex) const {
    if (::rmdir(mark(ifindex).c_str()) == 0 || errno == ENOENT) return {};
    return fail_errno(errno, "remove {}", mark(ifindex).string());
}

std::optional<uint32_t> clsact_program(uint32_t ifindex, Direction direction) {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex),
                .attach_point = point(direction));
    LIBBPF_OPTS(bpf_tc_opts, opts, .handle = kClsactHandle, .priority = kClsactPriority);
    if (bpf_tc_query(&hook, &opts) != 0) return std::nullopt;
    return opts.prog_id;
}

}  // namespace weir::datapath
