// SPDX-License-Identifier: Apache-2.0
/// What a burst of pods costs: 30 links made at once by PodLinks, against 30 bare veth pairs with
/// the same addresses made the same way, interleaved in one run. Everything happens in network
/// namespaces of its own.
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <linux/bpf.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cni/bare.h"
#include "datapath/netlink/netns.h"
#include "datapath/netlink/pod_link.h"
#include "must.h"
#include "rows.h"

namespace {

using namespace weir;
using namespace weir::netlink;
using bench::burst;
using bench::create_bare;
using bench::must;
using bench::pod_spec;

Fd load_pass_program() {
    const uint64_t instructions[] = {0x00000000000000b7ULL, 0x0000000000000095ULL};
    bpf_attr attr{};
    attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attr.insns = reinterpret_cast<uintptr_t>(instructions);
    attr.insn_cnt = 2;
    attr.license = reinterpret_cast<uintptr_t>("GPL");
    const long fd = ::syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    if (fd < 0) must<void>(fail_errno(errno, "load a program"));
    return Fd(static_cast<int>(fd));
}

NetNs new_namespace() {
    std::optional<NetNs> ns;
    std::thread([&ns] {
        if (::unshare(CLONE_NEWNET) != 0) must<void>(fail_errno(errno, "unshare"));
        ns.emplace(must(NetNs::current()));
    }).join();
    return std::move(*ns);
}

class Bench {
  public:
    explicit Bench(size_t pods) : program_(load_pass_program()) {
        if (::unshare(CLONE_NEWNET) != 0) must<void>(fail_errno(errno, "unshare"));
        home_.emplace(must(HomeNetNs::current()));
        for (unsigned n = 1; n <= pods; n++) {
            spaces_.push_back(new_namespace());
            specs_.push_back(pod_spec(n));
        }
    }

    std::vector<double> weir(size_t at_once) {
        const PodLinks pods(*home_);
        const PodPrograms programs{program_.get(), program_.get()};
        return measure(at_once,
                       [&](size_t i) { must(pods.create(spaces_[i], specs_[i], programs)); });
    }
    std::vector<double> bare(size_t at_once) {
        return measure(at_once,
                       [&](size_t i) { must(create_bare(*home_, spaces_[i], specs_[i])); });
    }

  private:
    std::vector<double> measure(size_t at_once, const std::function<void(size_t)>& call) {
        auto took = burst(at_once, call);
        must(remove_all_links());
        // The kernel's deferred work on the links removed must not fall into the next burst.
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        return took;
    }

    Fd program_;
    std::optional<HomeNetNs> home_;
    std::vector<NetNs> spaces_;
    std::vector<PodLinkSpec> specs_;
};

void append(std::vector<double>& to, const std::vector<double>& from) {
    to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1) {
        fmt::print(stderr, "usage: {}: takes no options\n", argv[0]);
        return 2;
    }
    constexpr size_t kAtOnce = 30;
    constexpr int kRounds = 20;
    Bench bench(kAtOnce);
    for (const size_t at_once : {size_t{1}, kAtOnce}) {
        bench::Row row{.kind = "cni", .unit = "ms", .against = "bare veth pair"};
        row.name = fmt::format("a pod's link, {} at once", at_once);
        std::vector<double> bare;
        for (int round = 0; round < kRounds; round++) {
            const auto ours = bench.weir(at_once);
            const auto theirs = bench.bare(at_once);
            append(row.samples, ours);
            append(bare, theirs);
            row.ratios.push_back(bench::quantile(ours, 0.5) / bench::quantile(theirs, 0.5));
        }
        row.note = fmt::format("p99 {:.1f}, bare {:.1f}", bench::quantile(row.samples, 0.99),
                               bench::quantile(bare, 0.99));
        print(row);
    }
    return 0;
}
