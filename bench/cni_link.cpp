// SPDX-License-Identifier: Apache-2.0
/// What a burst of pods costs: 30 links made at once by PodLinks, against 30 bare veth pairs with
/// the same addresses made the same way, interleaved in one run. Everything happens in network
/// namespaces of its own.
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <linux/bpf.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "datapath/netlink/netns.h"
#include "datapath/netlink/pod_link.h"
#include "datapath/netlink/requests.h"

namespace {

using namespace weir;
using namespace weir::netlink;
using Clock = std::chrono::steady_clock;

constexpr double kAimMs = 20;

template <typename T>
T must(Result<T> result) {
    if (!result) {
        fmt::print(stderr, "cni_link: {}\n", result.error().message());
        std::exit(1);
    }
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

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

PodLinkSpec pod_spec(unsigned n) {
    PodLinkSpec spec;
    spec.container_id = fmt::format("{:064x}", n);
    spec.host_ifname = pod_host_ifname(spec.container_id, "eth0", fmt::format("web-{}", n));
    spec.alias = fmt::format("shop/web-{} eth0", n);
    spec.addresses[0] = PodAddress{must(IpAddress::parse(fmt::format("10.244.1.{}", n))),
                                   must(IpAddress::parse("169.254.1.1"))};
    spec.addresses[1] = PodAddress{must(IpAddress::parse(fmt::format("fd00:10:244:1::{:x}", n))),
                                   must(IpAddress::parse("fe80::ecee:eeff:feee:eeee"))};
    spec.host_mac = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
    spec.pod_mac = pod_mac(spec.container_id, "eth0");
    spec.endpoint = n;
    return spec;
}

/// The least that gives a pod an interface with its addresses.
Result<void> create_bare(NetNsThread& threads, const NetNs& ns, const PodLinkSpec& spec) {
    Socket pod = WEIR_TRY(threads.open_socket(ns));
    Socket host = WEIR_TRY(Socket::open());
    const VethEnd ours{spec.host_ifname, spec.host_mac, spec.mtu, std::nullopt};
    const VethEnd theirs{spec.ifname, spec.pod_mac, spec.mtu, ns.fd()};
    WEIR_CHECK(host.run(new_veth(ours, theirs)));
    LinkChange up;
    up.up = true;
    WEIR_CHECK(host.run(set_link(WEIR_TRY(host.ifindex(spec.host_ifname)), up, "up")));
    const uint32_t ifindex = WEIR_TRY(pod.ifindex(spec.ifname));
    Message requests[] = {set_link(ifindex, up, "up"),
                          put_address(ifindex, spec.addresses[0]->address),
                          put_address(ifindex, spec.addresses[1]->address)};
    return pod.run(requests);
}

/// Milliseconds of each of `count` calls made at once.
std::vector<double> burst(size_t count, const std::function<void(size_t)>& call) {
    std::vector<double> took(count);
    std::barrier start(static_cast<ptrdiff_t>(count));
    std::vector<std::thread> threads;
    for (size_t i = 0; i < count; i++) {
        threads.emplace_back([&, i] {
            start.arrive_and_wait();
            const auto begin = Clock::now();
            call(i);
            took[i] = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
        });
    }
    for (std::thread& thread : threads)
        thread.join();
    return took;
}

struct Row {
    double median;
    double p99;
    double worst;
};

Row summarise(std::vector<double> samples) {
    std::sort(samples.begin(), samples.end());
    const auto at = [&samples](double q) {
        return samples[static_cast<size_t>(q * static_cast<double>(samples.size() - 1))];
    };
    return {at(0.5), at(0.99), samples.back()};
}

class Bench {
  public:
    explicit Bench(size_t pods) : program_(load_pass_program()) {
        if (::unshare(CLONE_NEWNET) != 0) must<void>(fail_errno(errno, "unshare"));
        threads_ = must(NetNsThread::start());
        for (unsigned n = 1; n <= pods; n++) {
            spaces_.push_back(new_namespace());
            specs_.push_back(pod_spec(n));
        }
    }

    std::vector<double> weir(size_t at_once) {
        const PodLinks pods(*threads_);
        const PodPrograms programs{program_.get(), program_.get()};
        return measure(at_once,
                       [&](size_t i) { must(pods.create(spaces_[i], specs_[i], programs)); });
    }
    std::vector<double> bare(size_t at_once) {
        return measure(at_once,
                       [&](size_t i) { must(create_bare(*threads_, spaces_[i], specs_[i])); });
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
    std::unique_ptr<NetNsThread> threads_;
    std::vector<NetNs> spaces_;
    std::vector<PodLinkSpec> specs_;
};

void append(std::vector<double>& to, const std::vector<double>& from) {
    to.insert(to.end(), from.begin(), from.end());
}

void print(const std::string& name, const Row& weir, const Row& bare, bool json) {
    if (json) {
        fmt::print(R"({{"name":"{}","weir_ms":{{"median":{:.3f},"p99":{:.3f},"max":{:.3f}}},)"
                   R"("bare_ms":{{"median":{:.3f},"p99":{:.3f},"max":{:.3f}}},"aim_p99_ms":{}}})"
                   "\n",
                   name, weir.median, weir.p99, weir.worst, bare.median, bare.p99, bare.worst,
                   kAimMs);
        return;
    }
    fmt::print("{:<24} {:>8} {:>8} {:>8}\n", name, "median", "p99", "max");
    fmt::print("  {:<22} {:>8.2f} {:>8.2f} {:>8.2f}  ms (aim: p99 <= {} ms)\n", "pod link",
               weir.median, weir.p99, weir.worst, kAimMs);
    fmt::print("  {:<22} {:>8.2f} {:>8.2f} {:>8.2f}  ms\n", "bare veth, addresses", bare.median,
               bare.p99, bare.worst);
    fmt::print("  {:<22} {:>8.2f} {:>8.2f} {:>8.2f}\n", "ratio", weir.median / bare.median,
               weir.p99 / bare.p99, weir.worst / bare.worst);
}

}  // namespace

int main(int argc, char** argv) {
    const bool json = argc > 1 && std::string(argv[1]) == "--json";
    if (argc > (json ? 2 : 1)) {
        fmt::print(stderr, "usage: {} [--json]\n", argv[0]);
        return 2;
    }
    constexpr size_t kAtOnce = 30;
    constexpr int kRounds = 20;
    Bench bench(kAtOnce);
    for (const size_t at_once : {size_t{1}, kAtOnce}) {
        std::vector<double> weir_ms;
        std::vector<double> bare_ms;
        for (int round = 0; round < kRounds; round++) {
            append(weir_ms, bench.weir(at_once));
            append(bare_ms, bench.bare(at_once));
        }
        print(fmt::format("{} at once", at_once), summarise(weir_ms), summarise(bare_ms), json);
    }
    return 0;
}
