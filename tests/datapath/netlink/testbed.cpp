// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/testbed.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::netlink::test {
namespace {

int run(const std::string& command, std::string& output) {
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return -1;
    std::array<char, 4096> chunk{};
    while (const size_t n = ::fread(chunk.data(), 1, chunk.size(), pipe)) {
        output.append(chunk.data(), n);
    }
    return ::pclose(pipe);
}

std::string inside(const std::filesystem::path& path, const std::string& command) {
    return "nsenter --net=" + path.string() + " sh -c '" + command + "'";
}

}  // namespace

std::string sh(const std::string& command) {
    std::string output;
    const int status = run(command, output);
    EXPECT_EQ(status, 0) << command << "\n" << output;
    return output;
}

bool succeeds(const std::string& command) {
    std::string output;
    return run(command, output) == 0;
}

MountedNs::MountedNs() {
    static std::atomic<int> counter = 0;
    path_ = fmt::format("/tmp/weir-netns-{}-{}", ::getpid(), counter++);
    std::ofstream(path_.c_str()).close();
    std::thread([this] {
        ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
        ASSERT_EQ(::mount("/proc/thread-self/ns/net", path_.c_str(), nullptr, MS_BIND, nullptr), 0);
    }).join();
}

MountedNs::~MountedNs() {
    vanish();
    std::filesystem::remove(path_);
}

void MountedNs::vanish() {
    if (std::exchange(mounted_, false)) ::umount2(path_.c_str(), MNT_DETACH);
}

NetNs MountedNs::open() const {
    auto ns = NetNs::open(path_);
    EXPECT_TRUE(ns) << ns.error().message();
    return std::move(*ns);
}

std::string MountedNs::sh(const std::string& command) const {
    return test::sh(inside(path_, command));
}

bool MountedNs::succeeds(const std::string& command) const {
    return test::succeeds(inside(path_, command));
}

Fd load_program(const std::vector<uint64_t>& instructions) {
    bpf_attr attr{};
    attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attr.insns = reinterpret_cast<uintptr_t>(instructions.data());
    attr.insn_cnt = static_cast<uint32_t>(instructions.size());
    attr.license = reinterpret_cast<uintptr_t>("GPL");
    std::array<char, 8192> log{};
    attr.log_buf = reinterpret_cast<uintptr_t>(log.data());
    attr.log_size = log.size();
    attr.log_level = 1;
    const auto fd = static_cast<int>(::syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof attr));
    EXPECT_GE(fd, 0) << std::strerror(errno) << "\n" << log.data();
    return Fd(fd);
}

Fd load_pass_program() {
    // r0 = TC_ACT_OK; exit
    return load_program({0x00000000000000b7ULL, 0x0000000000000095ULL});
}

void HostTest::SetUp() {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: makes network namespaces";
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    sh("ip link set lo up");
    auto home = HomeNetNs::current();
    ASSERT_OK(home);
    home_.emplace(std::move(*home));
    pods_ = std::make_unique<PodLinks>(*home_);
    pass_ = std::make_unique<Fd>(load_pass_program());
}

PodLinkSpec HostTest::spec(unsigned n) {
    PodLinkSpec spec;
    spec.container_id = fmt::format("{:064x}", n);
    spec.host_ifname = pod_host_ifname(spec.container_id, "eth0", fmt::format("web-{}", n));
    spec.alias = fmt::format("shop/web-{} eth0", n);
    const auto v4 = IpAddress::parse(fmt::format("10.244.1.{}", n));
    const auto v6 = IpAddress::parse(fmt::format("fd00:10:244:1::{:x}", n));
    spec.addresses[0] = PodAddress{*v4, *IpAddress::parse("169.254.1.1")};
    spec.addresses[1] = PodAddress{*v6, *IpAddress::parse("fe80::ecee:eeff:feee:eeee")};
    spec.host_mac = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
    spec.pod_mac = pod_mac(spec.container_id, "eth0");
    spec.endpoint = n;
    return spec;
}

}  // namespace weir::netlink::test
