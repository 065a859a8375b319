// SPDX-License-Identifier: Apache-2.0
#include "netns/foreign_counter.h"

#include <cerrno>
#include <iterator>
#include <system_error>

#include <bpf/bpf.h>

namespace weir::test {
namespace {

Fd owned(int fd, const char* what) {
    if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
    return Fd(fd);
}

Fd load_counter(int map_fd, bpf_attach_type type) {
    // r0 = &map[0]; if (r0) (*r0)++ atomically; return 1
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
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = type);
    return owned(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "foreign", "GPL", code,
                               std::size(code), &options),
                 "load the foreign program");
}

}  // namespace

ForeignCounter::ForeignCounter(int cgroup_fd, bpf_attach_type type)
    : map_(owned(bpf_map_create(BPF_MAP_TYPE_ARRAY, "foreign", 4, 8, 1, nullptr), "create a map")),
      program_(load_counter(map_.get(), type)),
      link_(owned(bpf_link_create(program_.get(), cgroup_fd, type, nullptr), "attach")) {}

uint64_t ForeignCounter::runs() const {
    const uint32_t key = 0;
    uint64_t value = 0;
    if (bpf_map_lookup_elem(map_.get(), &key, &value) != 0) {
        throw std::system_error(errno, std::generic_category(), "read the foreign map");
    }
    return value;
}

}  // namespace weir::test
