// SPDX-License-Identifier: Apache-2.0
#include "datapath/cleanup.h"

#include <chrono>
#include <csignal>
#include <thread>
#include <vector>

#include <unistd.h>

#include <boost/json.hpp>

#include "cli/app.h"
#include "cli/exit_code.h"
#include "cli/run/reaper.h"
#include "common/cni_protocol.h"
#include "datapath/netlink/host_link.h"
#include "datapath/netlink/netns.h"
#include "datapath/netlink/pod_link.h"
#include "datapath/netlink/sysctl.h"
#include "flow/filter.h"

namespace weir::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlugin = "weir-cni";
constexpr auto kAgentStep = std::chrono::milliseconds(200);
// What the agent keeps in its run directory.
constexpr const char* kState[] = {"agent.sock", "cni", "cni-queue", "ipam", "names.json", "node"};

/// Goes on whatever fails, and says everything it did.
class Cleanup {
  public:
    void note(const Result<void>& done, std::string_view what) {
        if (done) {
            print(fmt::format("removed {}\n", what));
        } else {
            failed(fmt::format("{}: {}", what, done.error().message()));
        }
    }
    void failed(const std::string& text) {
        complain(text);
        status_ = kFailed;
    }
    void remove_path(const fs::path& path) {
        std::error_code error;
        const auto count = fs::remove_all(path, error);
        if (error) failed(fmt::format("{}: {}", path.string(), error.message()));
        if (!error && count > 0) print(fmt::format("removed {}\n", path.string()));
    }
    [[nodiscard]] int status() const { return status_; }

  private:
    int status_ = kOk;
};

// Links first: the filters on them go with them. Then what was changed on the host is put back.
void clean_network(Cleanup& cleanup, const fs::path& run_dir) {
    const fs::path file = run_dir / "sysctl.json";
    auto journal = netlink::SysctlJournal::open(file);
    if (!journal) {
        cleanup.failed(journal.error().message());
        cleanup.note(netlink::remove_all_links(), "links of pods and weir0");
        return;
    }
    cleanup.note(netlink::HostLink(*journal).remove(), "weir0 and routes");
    cleanup.note(netlink::remove_all_links(), "links of pods");
    const auto changed = journal->restore_all();
    if (!changed) {
        cleanup.failed(changed.error().message());
        return;
    }
    for (const auto& name : *changed) {
        complain(fmt::format("{} was changed by somebody else meanwhile and stays as it is", name));
    }
    cleanup.remove_path(file);
}

void clean_kernel(Cleanup& cleanup, const fs::path& bpffs) {
    const auto cleaned = datapath::clean_up(datapath::PinDir(bpffs));
    for (const auto& text : cleaned.removed)
        print("removed " + text + "\n");
    for (const auto& text : cleaned.failed)
        cleanup.failed(text);
    for (const auto& text : cleaned.remaining)
        cleanup.failed("still in the kernel: " + text);
}

void clean_files(Cleanup& cleanup, const Invocation& invocation) {
    cleanup.remove_path(invocation.cni_conf_dir / cni::kConflistName);
    cleanup.remove_path(invocation.cni_bin_dir / kPlugin);
    for (const char* name : kState)
        cleanup.remove_path(invocation.run_dir / name);
    // These hold runs that could not be taken down, if anything.
    std::error_code ignored;
    for (const char* name : {"pods.d", "runs", ""})
        fs::remove(invocation.run_dir / name, ignored);
}

/// Pods that have a link of ours, by what people call them.
Result<std::vector<std::string>> living_pods() {
    const auto home = WEIR_TRY(netlink::HomeNetNs::current());
    std::vector<std::string> names;
    for (const auto& found : WEIR_TRY(netlink::PodLinks(home).list()))
        names.push_back(found.link.alias.empty() ? found.link.name : found.link.alias);
    return names;
}

/// Whether an agent still answers after the time it is given to end.
Result<bool> agent_runs(const Invocation& invocation) {
    std::chrono::nanoseconds patience{};
    if (!invocation.await_agent.empty()) {
        patience =
            std::chrono::nanoseconds(WEIR_TRY(flow::parse_duration_ns(invocation.await_agent)));
    }
    const auto end = std::chrono::steady_clock::now() + patience;
    while (invocation.client().get("/healthz")) {
        if (std::chrono::steady_clock::now() >= end) return true;
        std::this_thread::sleep_for(kAgentStep);
    }
    return false;
}

/// What keeps it from being done, if anything.
Result<void> check_agent(const Invocation& invocation) {
    if (invocation.yes || !WEIR_TRY(agent_runs(invocation))) return {};
    return fail(Errc::kExists,
                "an agent is running and would make everything again; stop it first, or say --yes");
}

int clean(const Invocation& invocation) {
    Cleanup cleanup;
    run::reap_abandoned(invocation.run_dir);
    clean_network(cleanup, invocation.run_dir);
    clean_kernel(cleanup, invocation.bpffs);
    clean_files(cleanup, invocation);
    return cleanup.status();
}

void wait_for_signal() {
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGTERM);
    ::sigaddset(&signals, SIGINT);
    ::sigprocmask(SIG_BLOCK, &signals, nullptr);
    int got = 0;
    ::sigwait(&signals, &got);
}

}  // namespace

int cleanup_command(const Invocation& invocation) {
    if (::geteuid() != 0) {
        return report(Error(Errc::kPermission, "cleanup changes the host's network; use sudo"));
    }
    if (const auto free = check_agent(invocation); !free) return report(free.error());
    std::vector<std::string> alive;
    if (invocation.only_empty) {
        auto found = living_pods();
        if (!found) return report(found.error());
        alive = std::move(*found);
    }
    int status = kOk;
    if (alive.empty()) {
        status = clean(invocation);
    } else {
        print(
            fmt::format("left as it is: {} pods live here: {}\n", alive.size(), join(alive, ", ")));
    }
    if (status == kOk && invocation.stay) wait_for_signal();
    return status;
}

}  // namespace weir::cli
