// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <optional>

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "agent/api_types.h"
#include "cli/app.h"
#include "cli/exit_code.h"
#include "cli/run/cni.h"
#include "cli/run/command.h"
#include "cli/run/netns.h"
#include "cli/run/pod_object.h"
#include "cli/run/probe.h"
#include "cli/run/process.h"
#include "cli/run/reaper.h"
#include "common/cni_protocol.h"
#include "common/rfc3339.h"

namespace weir::cli {
namespace {

using namespace run;
using Clock = std::chrono::steady_clock;

constexpr int kForwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

// Where things are on this node: what the options leave open, the agent says.
struct Surroundings {
    std::filesystem::path cgroup_root;
    std::filesystem::path conflist;
    std::string cni_bin;
    std::string node;

    [[nodiscard]] bool complete() const {
        return !cgroup_root.empty() && !conflist.empty() && !cni_bin.empty() && !node.empty();
    }
    void fill_from(const api::Status& status) {
        if (cgroup_root.empty()) cgroup_root = status.cgroup_root;
        if (conflist.empty()) conflist = status.cni_conf;
        if (cni_bin.empty()) cni_bin = status.cni_bin;
        if (node.empty()) node = status.node;
    }
};

std::string host_name() {
    std::array<char, HOST_NAME_MAX + 1> name{};
    ::gethostname(name.data(), name.size() - 1);
    return name.data();
}

Result<Surroundings> look_around(const Invocation& invocation) {
    const RunOptions& options = invocation.run;
    Surroundings around{options.cgroup_root, options.cni_conf, options.cni_bin, options.node_name};
    if (around.complete()) return around;
    const auto answer = invocation.client().get("/v1/status");
    // Without a cgroup root nothing can be made; the rest has its usual place.
    if (!answer && around.cgroup_root.empty()) return Failure(Error(answer.error()));
    if (answer) around.fill_from(WEIR_TRY(api::from_json<api::Status>(*answer)));
    if (around.node.empty()) around.node = host_name();
    if (around.conflist.empty()) around.conflist = invocation.run_dir / "cni" / cni::kConflistName;
    if (around.cni_bin.empty()) around.cni_bin = invocation.run_dir / "cni/bin";
    if (around.cgroup_root.empty()) {
        return fail(Errc::kInvalid, "the agent names no cgroup root; give one with --cgroup-root");
    }
    return around;
}

Result<Record> make_record(const Invocation& invocation, const PodSpec& spec,
                           const Surroundings& around) {
    Record record;
    record.ns = spec.ns;
    record.name = spec.name;
    record.container_id = WEIR_TRY(random_hex(32));
    const std::string hex = WEIR_TRY(random_hex(16));
    record.uid = fmt::format("{}-{}-4{}-8{}-{}", hex.substr(0, 8), hex.substr(8, 4),
                             hex.substr(13, 3), hex.substr(17, 3), hex.substr(20));
    record.id = spec.name.substr(0, 40) + "-" + record.container_id.substr(0, 6);
    record.netns = "/run/netns/weir-" + record.id;
    record.cgroup = around.cgroup_root / ("weir-run-" + record.id);
    record.manifest = invocation.run_dir / "pods.d" / (spec.ns + "_" + spec.name + ".json");
    record.cni_bin = around.cni_bin;
    record.port_mappings = port_mappings(spec.host_ports);
    auto conflist = read_file(around.conflist);
    if (!conflist) {
        return Failure(std::move(conflist).error().with(
            "no network configuration (the agent writes it when it is ready; see `weir status`)"));
    }
    record.conflist = std::move(*conflist);
    if (auto good = check_conflist(record.conflist, record.cni_bin); !good) {
        return Failure(std::move(good).error().with("{}", around.conflist.string()));
    }
    return record;
}

/// The front process of a run, from the first thing it makes to the command's end.
class Front {
  public:
    Front(const Invocation& invocation, PodSpec spec, RecordFile& file, const Record& record,
          std::string node)
        : invocation_(invocation), spec_(std::move(spec)), file_(file), record_(record) {
        state_.created = rfc3339_now();
        state_.node = std::move(node);
    }

    /// The command's exit status.
    Result<int> run();

  private:
    Result<void> publish() const;
    Result<Network> wire();
    Result<void> start();
    Result<int> watch();
    void on_signal();
    void on_probe();
    void begin_end();
    void forward(int signal) const { ::kill(command_, signal); }
    void say(std::string_view text) const {
        if (!invocation_.run.quiet) {
            complain(fmt::format("pod {}/{}: {}", spec_.ns, spec_.name, text));
        }
    }
    void publish_or_complain() const {
        if (auto done = publish(); !done) complain(done.error().message());
    }

    const Invocation& invocation_;
    PodSpec spec_;
    RecordFile& file_;
    const Record& record_;
    PodState state_;
    pid_t command_ = -1;
    std::optional<Fd> signals_;
    std::optional<Prober> prober_;
    std::optional<Clock::time_point> signal_at_;
};

Result<void> Front::publish() const {
    std::error_code error;
    std::filesystem::create_directories(record_.manifest.parent_path(), error);
    return write_file_atomic(record_.manifest, pod_json(spec_, record_, state_));
}

Result<Network> Front::wire() {
    WEIR_CHECK(make_cgroup(record_.cgroup));
    WEIR_CHECK(make_netns(record_.netns));
    Network network = WEIR_TRY(cni_add(record_));
    WEIR_CHECK(file_.write_result(network.result));
    if (!network.resolv_conf.empty()) {
        WEIR_CHECK(write_file_atomic(file_.resolv_conf(), network.resolv_conf));
    }
    return network;
}

Result<void> Front::start() {
    WEIR_CHECK(publish());
    const Network network = WEIR_TRY(wire());
    Place place{record_.netns, record_.cgroup, {}, spec_.hostname, !invocation_.run.share_mounts};
    if (!network.resolv_conf.empty()) place.resolv_conf = file_.resolv_conf();
    command_ = WEIR_TRY(start_command(place, spec_.command));
    state_.running = true;
    state_.ips = network.ips;
    state_.ready = spec_.readiness.kind == Readiness::Kind::kRunning;
    WEIR_CHECK(publish());
    say("runs with " + join(network.ips, ", "));
    if (!state_.ready) {
        const IpAddress address = WEIR_TRY(IpAddress::parse(network.ips.front()));
        prober_.emplace(WEIR_TRY(start_prober(spec_.readiness, record_.netns, address)));
    }
    return {};
}

void Front::begin_end() {
    if (!state_.deleted.empty()) return;
    state_.deleted = rfc3339_now();
    publish_or_complain();
}

void Front::on_signal() {
    signalfd_siginfo info{};
    if (::read(signals_->get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return;
    const int signal = static_cast<int>(info.ssi_signo);
    const bool end = signal == SIGTERM || signal == SIGINT || signal == SIGQUIT;
    const bool first = state_.deleted.empty();
    if (end) begin_end();
    if (signal == SIGTERM && first && spec_.drain.count() > 0) {
        signal_at_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(spec_.drain);
        return;
    }
    // A terminal sends to the whole foreground group: the command has it already.
    if (info.ssi_code != SI_KERNEL) forward(signal);
}

void Front::on_probe() {
    char change = 0;
    if (::read(prober_->changes.get(), &change, 1) != 1) {
        prober_.reset();
        return;
    }
    state_.ready = change == 'R';
    say(state_.ready ? "ready" : "not ready");
    publish_or_complain();
}

Result<int> Front::watch() {
    const Fd pidfd = WEIR_TRY(open_pidfd(command_));
    for (;;) {
        std::array<pollfd, 3> polls{pollfd{pidfd.get(), POLLIN, 0},
                                    pollfd{signals_->get(), POLLIN, 0},
                                    pollfd{prober_ ? prober_->changes.get() : -1, POLLIN, 0}};
        int patience = -1;
        if (signal_at_) {
            const auto left =
                std::chrono::ceil<std::chrono::milliseconds>(*signal_at_ - Clock::now());
            patience = static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX));
        }
        if (::poll(polls.data(), polls.size(), patience) < 0 && errno != EINTR) {
            return fail_errno(errno, "poll");
        }
        if (signal_at_ && Clock::now() >= *signal_at_) {
            signal_at_.reset();
            forward(SIGTERM);
        }
        if ((polls[1].revents & POLLIN) != 0) on_signal();
        if (polls[2].revents != 0) on_probe();
        if ((polls[0].revents & POLLIN) == 0) continue;
        int status = 0;
        if (::waitpid(command_, &status, 0) < 0) return fail_errno(errno, "wait for the command");
        return shell_status(status);
    }
}

Result<int> Front::run() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : kForwarded)
        ::sigaddset(&set, signal);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    const int raw = ::signalfd(-1, &set, SFD_CLOEXEC);
    if (raw < 0) return fail_errno(errno, "signalfd");
    signals_.emplace(raw);
    WEIR_CHECK(start());
    auto status = watch();
    if (prober_) {
        ::kill(prober_->pid, SIGKILL);
        ::waitpid(prober_->pid, nullptr, 0);
    }
    return status;
}

// Runs the pod while a reaper stands by; the reaper takes it down in every case.
Result<int> run_supervised(const Invocation& invocation, const PodSpec& spec, RecordFile& file,
                           const Record& record, const std::string& node) {
    std::optional<Reaper> reaper(WEIR_TRY(start_reaper(file, record)));
    auto status = Front(invocation, spec, file, record, node).run();
    const pid_t pid = reaper->pid;
    reaper.reset();
    int ended = 0;
    while (::waitpid(pid, &ended, 0) < 0 && errno == EINTR) {
    }
    if (status && *status == 0 && ended != 0) return static_cast<int>(kFailed);
    return status;
}

Result<int> run_pod(const Invocation& invocation) {
    const PodSpec spec = WEIR_TRY(parse_spec(invocation.run));
    if (::geteuid() != 0) {
        return fail(Errc::kPermission, "making a network namespace needs root; use sudo");
    }
    const Surroundings around = WEIR_TRY(look_around(invocation));
    reap_abandoned(invocation.run_dir);
    RecordFile file = WEIR_TRY(RecordFile::acquire(invocation.run_dir, spec.ns, spec.name));
    if (const auto dead = file.leftover()) {
        return fail(Errc::kExists,
                    "pod {}/{} is left over from a dead run and cannot be taken down (see above)",
                    dead->ns, dead->name);
    }
    const auto record = make_record(invocation, spec, around);
    if (!record) {
        file.remove();
        return Failure(Error(record.error()));
    }
    WEIR_CHECK(file.write(*record));
    return run_supervised(invocation, spec, file, *record, around.node);
}

}  // namespace

int run_command(const Invocation& invocation) {
    const auto status = run_pod(invocation);
    return status ? *status : report(status.error());
}

}  // namespace weir::cli
