// SPDX-License-Identifier: Apache-2.0
#include "cni/host_wirer.h"

#include <array>
#include <cstdio>
#include <cstdlib>

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weir::test {
namespace {

constexpr uint32_t kMtu = 1500;

Fd load_pass_program() {
    const std::array<uint64_t, 2> instructions = {0xb7, 0x95};  // r0 = TC_ACT_OK; exit
    bpf_attr attr{};
    attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attr.insns = reinterpret_cast<uintptr_t>(instructions.data());
    attr.insn_cnt = instructions.size();
    attr.license = reinterpret_cast<uintptr_t>("GPL");
    const auto fd = static_cast<int>(::syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof attr));
    if (fd < 0) {
        std::perror("load a tc program");
        std::abort();
    }
    return Fd(fd);
}

}  // namespace

std::unique_ptr<HostWirer> HostWirer::open() {
    // One for the process and those it forks, as the agent's pinned stubs are one for its
    // successors.
    static const Fd program = load_pass_program();
    return std::unique_ptr<HostWirer>(
        new HostWirer(netlink::HomeNetNs::current().value(), program.get()));
}

Result<agent::Wired> HostWirer::wire(const ipam::Record& record) {
    const auto ns = WEIR_TRY(links_.open_ns(record.netns));
    const auto spec = agent::pod_link_spec(record, static_cast<uint32_t>(record.serial), kMtu);
    WEIR_CHECK(links_.create(ns, spec, programs()));
    return agent::Wired{.host_ifname = spec.host_ifname,
                        .host_mac = netlink::to_string(spec.host_mac),
                        .pod_mac = netlink::to_string(spec.pod_mac),
                        .mtu = spec.mtu};
}

Result<void> HostWirer::unwire(const ipam::AttachmentKey& key) {
    return links_.remove(key.container, key.ifname);
}

Result<void> HostWirer::check(const ipam::Record& record) {
    if (!WEIR_TRY(agent::pod_link_exists(record.key))) {
        return fail(Errc::kNotFound, "the interface of {} is gone", record.key.to_string());
    }
    const auto ns = WEIR_TRY(links_.open_ns(record.netns));
    return links_.check(
        ns, agent::pod_link_spec(record, static_cast<uint32_t>(record.serial), kMtu), programs());
}

Result<std::vector<ipam::Found>> HostWirer::list() {
    return agent::found_pods(links_);
}

}  // namespace weir::test
