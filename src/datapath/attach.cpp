// SPDX-License-Identifier: Apache-2.0
#include "datapath/attach.h"

#include <array>
#include <cerrno>
#include <functional>
#include <thread>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <sched.h>

#include "datapath/bpf_object.h"

namespace weir::datapath {
namespace {

// Of kernel 6.6; the headers of the build may be older.
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
constexpr uint32_t kLoopback = 1;

bpf_attach_type tcx_type(Direction direction) {
    return direction == Direction::kIngress ? kTcxIngress : kTcxEgress;
}

/// `return 0` as a classifier.
Result<Fd> load_trivial_classifier() {
    const std::array<bpf_insn, 2> code = {
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
        bpf_insn{.code = BPF_JMP | BPF_EXIT}};
    const int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "weir_probe", "GPL", code.data(),
                                 code.size(), nullptr);
    if (fd < 0) return fail_errno(-fd, "load a two-instruction classifier");
    return Fd(fd);
}

Result<bpf_link_info> link_info(int fd) {
    bpf_link_info info{};
    uint32_t length = sizeof info;
    if (const int error = bpf_obj_get_info_by_fd(fd, &info, &length); error != 0) {
        return fail_errno(-error, "read the facts of a link");
    }
    return info;
}

/// Device of a pinned link; 0: it is gone.
uint32_t ifindex_of(const bpf_link_info& info) {
    return info.xdp.ifindex;  // tcx has its ifindex in the same place
}

Result<uint32_t> program_id(int fd) {
    bpf_prog_info info{};
    uint32_t length = sizeof info;
    if (const int error = bpf_obj_get_info_by_fd(fd, &info, &length); error != 0) {
        return fail_errno(-error, "read the facts of a program");
    }
    return info.id;
}

/// Makes a link of ours run `program`, whatever it ran.
Result<void> set_link_program(int link, const bpf_link_info& info, int program) {
    if (info.prog_id == WEIR_TRY(program_id(program))) return {};
    if (const int error = bpf_link_update(link, program, nullptr); error != 0) {
        return fail_errno(-error, "give the link on device {} the pinned stub", ifindex_of(info));
    }
    return {};
}

}  // namespace

Result<void> in_scratch_netns(const std::function<Result<void>()>& work) {
    Result<void> result;
    std::thread([&] {
        if (::unshare(CLONE_NEWNET) != 0) {
            result = fail_errno(errno, "make a network namespace to probe in");
            return;
        }
        result = work();
    }).join();
    return result;
}

Result<bool> probe_tcx() {
    bool works = false;
    WEIR_CHECK(in_scratch_netns([&]() -> Result<void> {
        const Fd program = WEIR_TRY(load_trivial_classifier());
        const int link = bpf_link_create(program.get(), kLoopback, kTcxIngress, nullptr);
        if (link >= 0) const Fd close(link);
        works = link >= 0;
        return {};
    }));
    return works;
}

Result<Fd> DeviceAttacher::stub(std::string_view hook) const {
    return open_pin(pins_.prog("stub_" + std::string(hook)));
}

std::filesystem::path DeviceAttacher::link_pin(uint32_t ifindex, Direction direction) const {
    return pins_.link(
        fmt::format("tcx_{}_{}", ifindex, direction == Direction::kIngress ? "in" : "out"));
}

Result<void> DeviceAttacher::attach(uint32_t ifindex, Direction direction,
                                    std::string_view hook) const {
    const Fd program = WEIR_TRY(stub(hook));
    return tcx_ ? attach_tcx(ifindex, direction, program.get())
                : ClsactFilters(pins_).attach(ifindex, direction, program.get());
}

Result<void> DeviceAttacher::attach_tcx(uint32_t ifindex, Direction direction, int program) const {
    const auto path = link_pin(ifindex, direction);
    if (const auto pinned = open_pin(path); pinned) {
        const bpf_link_info info = WEIR_TRY(link_info(pinned->get()));
        if (ifindex_of(info) == ifindex) return set_link_program(pinned->get(), info, program);
    } else if (pinned.error().code() != Errc::kNotFound) {
        return Failure(pinned.error());
    }
    const int link =
        bpf_link_create(program, static_cast<int>(ifindex), tcx_type(direction), nullptr);
    if (link < 0) {
        return fail_errno(-link, "attach to device {}, {}, by tcx", ifindex, to_string(direction));
    }
    return pin_replacing(Fd(link).get(), path);
}

Result<void> DeviceAttacher::detach(uint32_t ifindex, Direction direction) const {
    WEIR_TRY(unpin(link_pin(ifindex, direction)));
    const ClsactFilters filters(pins_);
    WEIR_CHECK(filters.detach(ifindex, direction));
    WEIR_TRY(filters.remove_qdisc(ifindex));
    return {};
}

Result<std::vector<std::string>> DeviceAttacher::sweep_stale() const {
    std::vector<std::string> removed;
    for (const std::string& name : list_pins(pins_.links())) {
        if (!name.starts_with("tcx_")) continue;
        const Fd link = WEIR_TRY(open_pin(pins_.link(name)));
        const bool attached = ifindex_of(WEIR_TRY(link_info(link.get()))) != 0;
        if (attached && !name.ends_with(kUnfinished)) continue;
        WEIR_TRY(unpin(pins_.link(name)));
        removed.push_back("link " + name);
    }
    const ClsactFilters filters(pins_);
    for (const uint32_t ifindex : filters.own_qdiscs()) {
        std::array<char, IF_NAMESIZE> name{};
        if (::if_indextoname(ifindex, name.data()) != nullptr) continue;
        WEIR_CHECK(filters.disown_qdisc(ifindex));
        removed.push_back(fmt::format("qdisc of device {}", ifindex));
    }
    return removed;
}

}  // namespace weir::datapath
