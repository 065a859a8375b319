// SPDX-License-Identifier: Apache-2.0
#include "datapath/grace.h"

#include <cerrno>

#include <bpf/bpf.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/fd.h"

namespace weir::datapath {
namespace {

Result<Fd> make_map(bpf_map_type type, const char* name, int inner) {
    LIBBPF_OPTS(bpf_map_create_opts, opts);
    if (inner >= 0) opts.inner_map_fd = static_cast<uint32_t>(inner);
    const int fd = bpf_map_create(type, name, sizeof(uint32_t), sizeof(uint32_t), 1, &opts);
    if (fd < 0) return fail_errno(-fd, "make the map {}", name);
    return Fd(fd);
}

/// The kernel waits for running programs before it lets a changed outer map return to user space.
Result<void> wait_by_outer_map() {
    const Fd inner = WEIR_TRY(make_map(BPF_MAP_TYPE_ARRAY, "weir_grace_in", -1));
    const Fd outer = WEIR_TRY(make_map(BPF_MAP_TYPE_ARRAY_OF_MAPS, "weir_grace_out", inner.get()));
    const uint32_t key = 0;
    const int value = inner.get();
    if (const int error = bpf_map_update_elem(outer.get(), &key, &value, BPF_ANY); error != 0) {
        return fail_errno(-error, "wait for a grace period");
    }
    return {};
}

}  // namespace

Result<void> wait_grace_period() {
    if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) return {};
    return wait_by_outer_map();
}

GraceWorker::GraceWorker() : thread_([this] { run(); }) {}

GraceWorker::~GraceWorker() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

void GraceWorker::after(std::function<void(const Result<void>&)> done) {
    {
        const std::lock_guard lock(mutex_);
        waiting_.push_back(std::move(done));
    }
    wake_.notify_one();
}

void GraceWorker::run() {
    for (;;) {
        std::vector<std::function<void(const Result<void>&)>> batch;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
            if (stop_) return;
            batch.swap(waiting_);
        }
        const Result<void> waited = wait_grace_period();
        for (const auto& done : batch)
            done(waited);
    }
}

}  // namespace weir::datapath
