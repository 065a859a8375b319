// SPDX-License-Identifier: Apache-2.0
/// CNI ADD through the real plugin against bare veth pairs with addresses, all at once, in turns:
///
///   bench_cni_add ROUNDS PLUGIN CONFIGURATION NETNS...
///
/// As many pods as namespaces. A runtime's part (namespace, process of the container) is not timed;
/// the start of the plugin is.
#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cni/bare.h"
#include "must.h"
#include "rows.h"

namespace {

using namespace weir;
using namespace weir::netlink;
using bench::burst;
using bench::must;

constexpr double kAimMs = 20;

struct Pod {
    std::string container;
    std::string netns;
    NetNs ns;
};

/// Runs the plugin as a runtime does: configuration on stdin, the rest in the environment.
Result<void> run_plugin(const std::string& plugin, const std::string& configuration,
                        const std::string& command, const Pod& pod) {
    std::array<std::string, 6> variables = {
        "CNI_COMMAND=" + command,
        "CNI_CONTAINERID=" + pod.container,
        "CNI_NETNS=" + pod.netns,
        "CNI_IFNAME=eth0",
        "CNI_PATH=/",
        "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME=" + pod.container};
    std::array<char*, 7> environment{};
    for (size_t i = 0; i < variables.size(); ++i)
        environment[i] = variables[i].data();
    std::string program = plugin;
    std::array<char*, 2> arguments = {program.data(), nullptr};
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_addopen(&files, 0, configuration.c_str(), O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    pid_t child = 0;
    const int failed = ::posix_spawn(&child, program.c_str(), &files, nullptr, arguments.data(),
                                     environment.data());
    ::posix_spawn_file_actions_destroy(&files);
    if (failed != 0) return fail_errno(failed, "start {}", plugin);
    int status = 0;
    if (::waitpid(child, &status, 0) < 0) return fail_errno(errno, "wait for {}", plugin);
    if (status == 0) return {};
    return fail(Errc::kSystem, "{} of {} failed: the agent's log says why", command, pod.netns);
}

class Bench {
  public:
    Bench(std::string plugin, std::string configuration, std::span<char*> spaces)
        : plugin_(std::move(plugin)),
          configuration_(std::move(configuration)),
          nothing_(std::filesystem::read_symlink("/proc/self/exe").parent_path() /
                   "bench_cni_nothing") {
        for (unsigned n = 1; n <= spaces.size(); n++) {
            const std::string path = spaces[n - 1];
            pods_.push_back(
                {fmt::format("{:x}-{:x}", ::getpid(), n), path, must(NetNs::open(path))});
            specs_.push_back(bench::pod_spec(n));
        }
        // The bare pairs' host is a namespace of this process's own.
        if (::unshare(CLONE_NEWNET) != 0) must<void>(fail_errno(errno, "unshare"));
        home_.emplace(must(HomeNetNs::current()));
    }
    [[nodiscard]] size_t size() const { return pods_.size(); }

    std::vector<double> weir(size_t at_once) {
        auto took = burst(at_once, [&](size_t i) { plugin("ADD", i); });
        (void)burst(at_once, [&](size_t i) { plugin("DEL", i); });
        settle();
        return took;
    }
    std::vector<double> bare(size_t at_once) {
        return pairs(at_once, [](size_t) {});
    }
    /// What no plugin can do without: a process that does nothing, and a bare pair.
    std::vector<double> least(size_t at_once) {
        return pairs(at_once,
                     [this](size_t i) { must(run_plugin(nothing_, "/dev/null", "", pods_[i])); });
    }

  private:
    std::vector<double> pairs(size_t at_once, const std::function<void(size_t)>& first) {
        auto took = burst(at_once, [&](size_t i) {
            first(i);
            must(bench::create_bare(*home_, pods_[i].ns, specs_[i]));
        });
        must(remove_all_links());
        settle();
        return took;
    }
    void plugin(const std::string& command, size_t i) {
        must(run_plugin(plugin_, configuration_, command, pods_[i]));
    }
    /// The kernel's deferred work on the links removed must not fall into the next burst.
    static void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(150)); }

    std::string plugin_;
    std::string configuration_;
    std::string nothing_;  ///< a program
    std::vector<Pod> pods_;
    std::vector<PodLinkSpec> specs_;
    std::optional<HomeNetNs> home_;
};

void report(Bench& bench, size_t at_once, int rounds) {
    bench::Row all{.kind = "cni", .unit = "ms", .against = "bare veth pair"};
    all.name = fmt::format("ADD, {} at once", at_once);
    std::vector<double> bare;
    std::vector<double> least;
    bench::Row worst = all;
    for (int round = 0; round < rounds; round++) {
        const auto ours = bench.weir(at_once);
        const auto theirs = bench.bare(at_once);
        all.samples.insert(all.samples.end(), ours.begin(), ours.end());
        bare.insert(bare.end(), theirs.begin(), theirs.end());
        const auto floor = bench.least(at_once);
        least.insert(least.end(), floor.begin(), floor.end());
        all.ratios.push_back(bench::quantile(ours, 0.5) / bench::quantile(theirs, 0.5));
        worst.ratios.push_back(bench::quantile(ours, 1) / bench::quantile(theirs, 1));
    }
    print(all);
    const double p99 = bench::quantile(all.samples, 0.99);
    worst.name += ", p99";
    worst.samples = {p99};
    worst.aim = fmt::format("<= {} ms", kAimMs);
    worst.met = p99 <= kAimMs;
    worst.note = fmt::format(
        "bare: median {:.1f}, p99 {:.1f}; with an empty program each: median {:.1f}, p99 {:.1f}",
        bench::quantile(bare, 0.5), bench::quantile(bare, 0.99), bench::quantile(least, 0.5),
        bench::quantile(least, 0.99));
    print(worst);
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 4 ? std::atoi(argv[1]) : 0;  // NOLINT(cert-err34-c)
    if (rounds <= 0) {
        fmt::print(stderr, "usage: {} ROUNDS PLUGIN CONFIGURATION NETNS...\n", argv[0]);
        return 2;
    }
    Bench bench(argv[2], argv[3], std::span(argv + 4, static_cast<size_t>(argc - 4)));
    report(bench, 1, rounds);
    report(bench, bench.size(), rounds);
    return 0;
}
