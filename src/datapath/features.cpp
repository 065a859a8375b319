// SPDX-License-Identifier: Apache-2.0
#include "datapath/features.h"

#include <array>
#include <cerrno>
#include <functional>
#include <span>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/result.h"
#include "datapath/attach.h"
#include "datapath/netlink/requests.h"
#include "datapath/netlink/socket.h"

namespace weir::datapath {
namespace {

constexpr uint16_t kVxlanPort = 4789;

using Probe = std::function<Result<void>()>;

Result<void> want_fd(int fd, std::string_view what) {
    if (fd < 0) return fail_errno(-fd, "{}", what);
    const Fd close(fd);
    return {};
}

Result<void> can_make_map(bpf_map_type type, uint32_t key, uint32_t value, uint32_t entries,
                          uint32_t flags) {
    LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
    return want_fd(bpf_map_create(type, "weir_probe", key, value, entries, &opts), "make the map");
}

Result<void> can_make_map_of_maps() {
    const int inner = bpf_map_create(BPF_MAP_TYPE_HASH, "weir_probe", 4, 4, 1, nullptr);
    if (inner < 0) return fail_errno(-inner, "make the inner map");
    const Fd close(inner);
    LIBBPF_OPTS(bpf_map_create_opts, opts, .inner_map_fd = static_cast<uint32_t>(inner));
    return want_fd(bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "weir_probe", 4, 4, 1, &opts),
                   "make the outer map");
}

/// A program that calls one helper with what the verifier accepts, behind a test that is not true.
Result<void> can_call(bpf_prog_type type, bpf_attach_type attach, uint32_t helper) {
    const std::array<bpf_insn, 6> code = {
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .imm = 1},
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = 0},
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = 0},
        bpf_insn{.code = BPF_JMP | BPF_CALL, .imm = static_cast<int32_t>(helper)},
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
        bpf_insn{.code = BPF_JMP | BPF_EXIT}};
    LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
    return want_fd(bpf_prog_load(type, "weir_probe", "GPL", code.data(), code.size(), &opts),
                   "load a program that calls it");
}

Result<void> can_attach_cgroup(bpf_attach_type attach) {
    const std::array<bpf_insn, 2> code = {
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
        bpf_insn{.code = BPF_JMP | BPF_EXIT}};
    LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
    return want_fd(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "weir_probe", "GPL", code.data(),
                                 code.size(), &opts),
                   "load the program");
}

Result<void> can_attach_clsact() {
    return in_scratch_netns([]() -> Result<void> {
        LIBBPF_OPTS(
            bpf_tc_hook, hook, .ifindex = 1,
            .attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
        if (const int error = bpf_tc_hook_create(&hook); error != 0) {
            return fail_errno(-error, "add a clsact qdisc");
        }
        return {};
    });
}

Result<void> can_wait_by_membarrier() {
    const long commands = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    if (commands >= 0 && (commands & MEMBARRIER_CMD_GLOBAL) != 0) return {};
    return fail(Errc::kUnsupported, "the kernel does not offer it here");
}

struct NamedProbe {
    std::string_view name;
    bool required;
    std::string_view why;
    Probe probe;
};

Result<void> can_make_vxlan() {
    return in_scratch_netns([]() -> Result<void> {
        auto socket = WEIR_TRY(netlink::Socket::open());
        netlink::VxlanLink link{.name = "weir_probe", .mac = {2, 0, 0, 0, 0, 1}};
        link.mtu = 1450;
        link.port = kVxlanPort;
        return socket.run(netlink::new_vxlan(link));
    });
}

std::vector<NamedProbe> map_probes() {
    return {
        {"hash", true, "all tables", [] { return can_make_map(BPF_MAP_TYPE_HASH, 4, 4, 1, 0); }},
        {"lru_hash", true, "new connections, fragments",
         [] { return can_make_map(BPF_MAP_TYPE_LRU_HASH, 4, 4, 16, 0); }},
        {"lpm_trie", true, "address ranges",
         [] { return can_make_map(BPF_MAP_TYPE_LPM_TRIE, 20, 4, 16, BPF_F_NO_PREALLOC); }},
        {"mmapable_array", true, "Services change by one store",
         [] { return can_make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_MMAPABLE); }},
        {"map_of_maps", true, "connection tracking in shards", can_make_map_of_maps},
        {"ring_buffer", true, "flow events",
         [] { return can_make_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0); }},
        {"program_array", true, "upgrades without a gap",
         [] { return can_make_map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0); }},
    };
}

std::vector<NamedProbe> hook_probes() {
    return {
        {"clsact", true, "programs on pods' devices", can_attach_clsact},
        {"tcx", false, "links on external devices that survive others; without: clsact filters",
         []() -> Result<void> {
             if (WEIR_TRY(probe_tcx())) return {};
             return fail(Errc::kUnsupported, "the kernel refused the link (it came with 6.6)");
         }},
        {"cgroup_connect", false, "Services at connect(); without: translation of each packet",
         [] { return can_attach_cgroup(BPF_CGROUP_INET4_CONNECT); }},
        {"cgroup_getpeername", false, "getpeername() shows the Service's address",
         [] { return can_attach_cgroup(BPF_CGROUP_INET4_GETPEERNAME); }},
        {"set_retval", false, "connect() fails with ECONNREFUSED; without: EPERM",
         [] {
             return can_call(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT,
                             BPF_FUNC_set_retval);
         }},
        {"redirect_peer", false, "pod to pod past the host's stack; without: through it",
         [] {
             return can_call(BPF_PROG_TYPE_SCHED_CLS, static_cast<bpf_attach_type>(0),
                             BPF_FUNC_redirect_peer);
         }},
        {"membarrier", false, "grace periods by system call; without: by a map of maps",
         can_wait_by_membarrier},
    };
}

Feature tried(const NamedProbe& probe) {
    const Result<void> outcome = probe.probe();
    return {.name = std::string(probe.name),
            .required = probe.required,
            .present = outcome.has_value(),
            .why = outcome ? std::string(probe.why)
                           : fmt::format("{} ({})", probe.why, outcome.error().message())};
}

}  // namespace

Feature probe_overlay() {
    Feature feature = tried({"vxlan", true, "pods of nodes that share no link", can_make_vxlan});
    if (!feature.present) {
        feature.why +=
            ": load the module (modprobe vxlan; some distributions have it in a package of extra "
            "modules), or set routing to native where the network between the nodes knows pods' "
            "ranges";
    }
    return feature;
}

std::vector<Feature> probe_features() {
    std::vector<NamedProbe> probes = map_probes();
    for (NamedProbe& probe : hook_probes())
        probes.push_back(std::move(probe));
    std::vector<Feature> features;
    for (const NamedProbe& probe : probes)
        features.push_back(tried(probe));
    return features;
}

}  // namespace weir::datapath
