// SPDX-License-Identifier: Apache-2.0
#include "netns/foreign_counter.h"

#include <cerrno>
#include <iterator>
#include <system_error>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>

namespace weir::test {
namespace {

Fd owned(int fd, const char* what) {
    if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
    return Fd(fd);
}

// Of kernel 6.6; the headers of the build may be older.
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
constexpr uint32_t kHandle = 0x77;

/// `verdict`: what lets pass.
Fd load_counter(int map_fd, bpf_prog_type kind, bpf_attach_type type, int verdict) {
    // r0 = &map[0]; if (r0) (*r0)++ atomically; return verdict
    const bpf_insn code[] = {
        {.code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = 10, .src_reg = 0, .off = -4, .imm = 0},
        {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10, .off = 0, .imm = 0},
        {.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .src_reg = 0, .off = 0, .imm = -4},
        {.code = BPF_LD | BPF_DW | BPF_IMM,
         .dst_reg = 1,
         .src_reg = BPF_PSEUDO_MAP_FD,
         .off = 0,
         .imm = map_fd},
        {},
        {.code = BPF_JMP | BPF_CALL,
         .dst_reg = 0,
         .src_reg = 0,
         .off = 0,
         .imm = BPF_FUNC_map_lookup_elem},
        {.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 2, .imm = 0},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .src_reg = 0, .off = 0, .imm = 1},
        {.code = BPF_STX | BPF_ATOMIC | BPF_DW,
         .dst_reg = 0,
         .src_reg = 1,
         .off = 0,
         .imm = BPF_ADD},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = verdict},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = type);
    return owned(bpf_prog_load(kind, "foreign", "GPL", code, std::size(code), &options),
                 "load the foreign program");
}

Fd make_map() {
    return owned(bpf_map_create(BPF_MAP_TYPE_ARRAY, "foreign", 4, 8, 1, nullptr), "create a map");
}

bpf_tc_attach_point point(Side side) {
    return side == Side::kIngress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

}  // namespace

ForeignCounter::ForeignCounter(int cgroup_fd, bpf_attach_type type)
    : map_(make_map()),
      program_(load_counter(map_.get(), BPF_PROG_TYPE_CGROUP_SOCK_ADDR, type, 1)),
      link_(owned(bpf_link_create(program_.get(), cgroup_fd, type, nullptr), "attach")) {}

ForeignCounter::ForeignCounter(uint32_t ifindex, Way way, Side side, uint32_t priority)
    : map_(make_map()),
      program_(load_counter(map_.get(), BPF_PROG_TYPE_SCHED_CLS, {}, TC_ACT_UNSPEC)) {
    const auto device = static_cast<int>(ifindex);
    if (way == Way::kTcx) {
        const auto type = side == Side::kIngress ? kTcxIngress : kTcxEgress;
        link_ = owned(bpf_link_create(program_.get(), device, type, nullptr), "attach by tcx");
        return;
    }
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = device,
                .attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    if (const int error = bpf_tc_hook_create(&hook); error != 0 && error != -EEXIST) {
        throw std::system_error(-error, std::generic_category(), "clsact");
    }
    hook.attach_point = point(side);
    LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program_.get(), .handle = kHandle,
                .priority = priority);
    if (const int error = bpf_tc_attach(&hook, &options); error != 0) {
        throw std::system_error(-error, std::generic_category(), "attach by clsact");
    }
    filter_ = Filter{ifindex, side, priority};
}

ForeignCounter::~ForeignCounter() {
    if (!filter_) return;
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(filter_->ifindex),
                .attach_point = point(filter_->side));
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = kHandle, .priority = filter_->priority);
    bpf_tc_detach(&hook, &options);
}

bool ForeignCounter::attached() const {
    bpf_prog_info program{};
    uint32_t length = sizeof program;
    if (bpf_obj_get_info_by_fd(program_.get(), &program, &length) != 0) return false;
    if (link_) {
        bpf_link_info info{};
        length = sizeof info;
        if (bpf_obj_get_info_by_fd(link_->get(), &info, &length) != 0) return false;
        // The device or cgroup is zero in a link that was detached; both stand in one place.
        return info.prog_id == program.id && info.xdp.ifindex != 0;
    }
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(filter_->ifindex),
                .attach_point = point(filter_->side));
    LIBBPF_OPTS(bpf_tc_opts, options, .handle = kHandle, .priority = filter_->priority);
    return bpf_tc_query(&hook, &options) == 0 && options.prog_id == program.id;
}

uint64_t ForeignCounter::runs() const {
    const uint32_t key = 0;
    uint64_t value = 0;
    if (bpf_map_lookup_elem(map_.get(), &key, &value) != 0) {
        throw std::system_error(errno, std::generic_category(), "read the foreign map");
    }
    return value;
}

}  // namespace weir::test
