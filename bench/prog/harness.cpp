// SPDX-License-Identifier: Apache-2.0
#include "prog/harness.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <bpf/bpf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench_harness.skel.h"
#include "common/fd.h"

namespace weir::bench {
namespace {

/// Instructions that this thread executes in the kernel.
std::optional<Fd> instruction_counter() {
    perf_event_attr attr{};
    attr.type = PERF_TYPE_HARDWARE;
    attr.size = sizeof attr;
    attr.config = PERF_COUNT_HW_INSTRUCTIONS;
    attr.disabled = 1;
    attr.exclude_user = 1;
    attr.exclude_hv = 1;
    const long fd = ::syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) return std::nullopt;
    return Fd(static_cast<int>(fd));
}

struct Destroy {
    void operator()(weir_bench_harness_bpf* skeleton) const {
        weir_bench_harness_bpf__destroy(skeleton);
    }
};

}  // namespace

struct Harness::State {
    std::unique_ptr<weir_bench_harness_bpf, Destroy> skeleton;
    bench_frame* frames = nullptr;  // mapped
    test::Bytes packet;
    std::optional<Fd> counter;
    static constexpr size_t kMapped = sizeof(bench_frame) * BENCH_FRAMES;

    ~State() {
        if (frames != nullptr) ::munmap(frames, kMapped);
    }
};

Harness::Harness(std::unique_ptr<State> state) : state_(std::move(state)) {}
Harness::Harness(Harness&&) noexcept = default;
Harness::~Harness() = default;

Result<Harness> Harness::make() {
    auto state = std::make_unique<State>();
    state->skeleton.reset(weir_bench_harness_bpf__open_and_load());
    if (!state->skeleton) return fail_errno(errno, "load the harness; run as root");
    void* mapped = ::mmap(nullptr, State::kMapped, PROT_READ | PROT_WRITE, MAP_SHARED,
                          bpf_map__fd(state->skeleton->maps.bench_frames), 0);
    if (mapped == MAP_FAILED) return fail_errno(errno, "map the frames");
    state->frames = static_cast<bench_frame*>(mapped);
    state->counter = instruction_counter();
    const int hash = bpf_map__fd(state->skeleton->maps.bench_hash);
    for (uint32_t i = 0; i < BENCH_FRAMES; ++i) {
        const bench_key key{.number = i, .rest = {}};
        const uint64_t value = i;
        if (bpf_map_update_elem(hash, &key, &value, BPF_ANY) != 0) {
            return fail_errno(errno, "fill the hash");
        }
    }
    return Harness(std::move(state));
}

void Harness::set_frames(std::span<const test::Frame> frames, std::span<const uint32_t> sender) {
    const size_t count = std::min<size_t>(frames.size(), BENCH_FRAMES);
    for (size_t i = 0; i < count; ++i) {
        test::Frame frame = frames[i];
        const size_t headers = (frame.src.is_v4() ? 20 : 40) + (frame.proto == test::kUdp ? 8 : 20);
        frame.payload.assign(BENCH_L3_LEN - headers, 0x5a);
        const test::Bytes bytes = test::build(frame);
        std::memcpy(state_->frames[i].l3, bytes.data() + BENCH_ETH_LEN, BENCH_L3_LEN);
        state_->frames[i].endpoint = sender[i];
        if (i != 0) continue;
        state_->packet = bytes;
        std::memcpy(state_->skeleton->bss->state.eth, bytes.data(), BENCH_ETH_LEN);
    }
    state_->skeleton->bss->state.count = static_cast<uint32_t>(count);
}

Result<void> Harness::aim_at(int program_fd) {
    const uint32_t zero = 0;
    const int map = bpf_map__fd(state_->skeleton->maps.bench_target);
    if (bpf_map_update_elem(map, &zero, &program_fd, BPF_ANY) == 0) return {};
    return fail_errno(errno, "put a program behind the harness");
}

Result<void> Harness::aim_at(Yardstick yardstick) {
    const auto& programs = state_->skeleton->progs;
    const bpf_program* const by_yardstick[] = {programs.bench_empty, programs.bench_one_hash,
                                               programs.bench_one_line, programs.bench_one_page,
                                               programs.bench_one_insert};
    return aim_at(bpf_program__fd(by_yardstick[static_cast<size_t>(yardstick)]));
}

Result<int> Harness::run(uint32_t first, uint32_t count, unsigned ifindex, Cost& total) {
    __sk_buff context{};
    context.ifindex = ifindex;
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = state_->packet.data(),
                .data_size_in = static_cast<uint32_t>(state_->packet.size()), .ctx_in = &context,
                .ctx_size_in = sizeof context, .repeat = static_cast<int>(count));
    state_->skeleton->bss->state.next = first;
    const auto& counter = state_->counter;
    if (counter) {
        ::ioctl(counter->get(), PERF_EVENT_IOC_RESET, 0);
        ::ioctl(counter->get(), PERF_EVENT_IOC_ENABLE, 0);
    }
    const int drive = bpf_program__fd(state_->skeleton->progs.bench_drive);
    if (bpf_prog_test_run_opts(drive, &opts) != 0) return fail_errno(errno, "run the harness");
    if (counter) {
        ::ioctl(counter->get(), PERF_EVENT_IOC_DISABLE, 0);
        uint64_t value = 0;
        if (::read(counter->get(), &value, sizeof value) == sizeof value) {
            total.instructions = total.instructions.value_or(0) + double(value);
        }
    }
    total.ns += double(opts.duration) * count;
    return static_cast<int>(opts.retval);
}

Result<void> Harness::clear_inserted(uint32_t first, uint32_t count) {
    const int map = bpf_map__fd(state_->skeleton->maps.bench_half);
    for (uint32_t i = first; i < first + count; ++i) {
        // The number is that of the next frame when the program runs.
        const bench_key key{.number = i + 1 < state_->skeleton->bss->state.count ? i + 1 : 0,
                            .rest = {}};
        if (bpf_map_delete_elem(map, &key) != 0) return fail_errno(errno, "nothing was inserted");
    }
    return {};
}

Result<Harness::One> Harness::run_one(uint32_t index, unsigned ifindex) {
    __sk_buff context{};
    context.ifindex = ifindex;
    One one{.verdict = 0, .packet = test::Bytes(state_->packet.size() + 64)};
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = state_->packet.data(),
                .data_out = one.packet.data(),
                .data_size_in = static_cast<uint32_t>(state_->packet.size()),
                .data_size_out = static_cast<uint32_t>(one.packet.size()), .ctx_in = &context,
                .ctx_size_in = sizeof context);
    state_->skeleton->bss->state.next = index;
    const int drive = bpf_program__fd(state_->skeleton->progs.bench_drive);
    if (bpf_prog_test_run_opts(drive, &opts) != 0) return fail_errno(errno, "run the harness");
    one.verdict = static_cast<int>(opts.retval);
    one.packet.resize(opts.data_size_out);
    return one;
}

}  // namespace weir::bench
