// SPDX-License-Identifier: Apache-2.0
#include "datapath/fixture.h"

#include <array>
#include <cstdlib>
#include <map>

#include <bpf/bpf.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::datapath::test {

ObjectImage test_object(const std::string& name) {
    static std::map<std::string, std::string> files;
    auto [it, fresh] = files.try_emplace(name);
    if (fresh) {
        auto content = read_file(std::string(WEIR_TEST_OBJECTS "/") + name + ".o");
        EXPECT_TRUE(content) << content.error().message();
        if (content) it->second = std::move(*content);
    }
    return {name, std::as_bytes(std::span(it->second))};
}

Build test_build(int mark) {
    const std::string suffix = std::to_string(mark);
    return {.stub = test_object("stub"),
            .pod = test_object("pod" + suffix),
            .host = test_object("host" + suffix),
            .sock = test_object("sock" + suffix)};
}

TableSizes small_sizes() {
    return {.ct_per_shard = 64,
            .half_open = 256,
            .frags = 64,
            .vips = 64,
            .services = 64,
            .slots = 256,
            .backends = 64,
            .socks = 64,
            .endpoints = 16,
            .pods = 32,
            .devices = 32,
            .node_addrs = 16,
            .netns = 16,
            .cidrs = 16,
            .event_bytes = 4096};
}

void DatapathTest::SetUp() {
    ASSERT_EQ(::geteuid(), 0U) << "loading BPF programs needs root";
    ASSERT_EQ(::unshare(CLONE_NEWNS | CLONE_NEWNET), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    // What `ip netns add` leaves in the file system goes with the mount.
    ASSERT_EQ(::mount("tmpfs", "/run", "tmpfs", 0, nullptr), 0);
    bpffs_ = "/tmp/weir-dp-" + std::to_string(::getpid());
    std::filesystem::create_directory(bpffs_);
    ASSERT_EQ(::mount("bpf", bpffs_.c_str(), "bpf", 0, nullptr), 0);
    const std::filesystem::path hybrid = "/sys/fs/cgroup/unified";
    const auto root = std::filesystem::exists(hybrid) ? hybrid : hybrid.parent_path();
    cgroup_ = root / ("weir-dp-" + std::to_string(::getpid()));
    ASSERT_EQ(::mkdir(cgroup_.c_str(), 0755), 0);
}

void DatapathTest::TearDown() {
    ::umount2("/run", MNT_DETACH);
    ::umount2(bpffs_.c_str(), MNT_DETACH);
    ::rmdir(bpffs_.c_str());
    ::rmdir(cgroup_.c_str());
}

Datapath::Options DatapathTest::options(int mark) const {
    return {
        .bpffs = bpffs_, .cgroup_root = cgroup_, .sizes = small_sizes(), .build = test_build(mark)};
}

Result<std::unique_ptr<Datapath>> DatapathTest::start(int mark) const {
    auto datapath = WEIR_TRY(Datapath::open(options(mark)));
    WEIR_CHECK(datapath->load(weir_config{.host_ifindex = static_cast<uint32_t>(mark)}));
    WEIR_TRY(datapath->activate(SocketHooks::kAll));
    return datapath;
}

int DatapathTest::run_stub(std::string_view hook) const {
    const auto stub = open_pin(pins().prog("stub_" + std::string(hook)));
    if (!stub) return -1;
    const std::array<std::byte, 64> frame{};
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_size_in = frame.size(),
                .repeat = 1);
    return bpf_prog_test_run_opts(stub->get(), &run) == 0 ? static_cast<int>(run.retval) : -2;
}

uint64_t DatapathTest::counter(uint32_t index) const {
    uint64_t sum = 0;
    auto fd = open_pin(pins().map("weir_counters"), true);
    if (!fd) return 0;
    const auto map = PercpuArray<uint64_t>::from(std::move(*fd));
    const auto values = map->get(index);
    for (const uint64_t value : *values) {
        sum += value;
    }
    return sum;
}

int sh(const std::string& command) {
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace weir::datapath::test
