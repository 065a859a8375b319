// SPDX-License-Identifier: Apache-2.0
#include "cli/run/reaper.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/run/cni.h"
#include "cli/run/netns.h"

namespace weir::cli::run {
namespace {

constexpr int kDelTries = 3;
constexpr auto kDelPause = std::chrono::seconds(1);

Result<void> delete_network(const RecordFile& file, const Record& record) {
    if (record.conflist.empty()) return {};
    for (int attempt = 1;; ++attempt) {
        auto done = cni_del(record, file.result());
        if (done || attempt == kDelTries) return done;
        std::this_thread::sleep_for(kDelPause);
    }
}

Result<void> remove_manifest(const Record& record) {
    if (record.manifest.empty() || ::unlink(record.manifest.c_str()) == 0 || errno == ENOENT) {
        return {};
    }
    return fail_errno(errno, "remove {}", record.manifest.string());
}

// The reaper's descriptors: the pipe, the lock, standard error.
void keep_only(int pipe_end, int lock) {
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    const int low = std::min(pipe_end, lock);
    const int high = std::max(pipe_end, lock);
    if (low > STDERR_FILENO + 1)
        ::close_range(STDERR_FILENO + 1, static_cast<unsigned>(low - 1), 0);
    if (high > low + 1) {
        ::close_range(static_cast<unsigned>(low + 1), static_cast<unsigned>(high - 1), 0);
    }
    ::close_range(static_cast<unsigned>(high + 1), ~0U, 0);
}

[[noreturn]] void reap(const RecordFile& file, const Record& record, int pipe_end) {
    // What ends the front process must not end this one: a terminal's signals and hang-up, and a
    // service manager's SIGTERM to the whole group.
    ::setsid();
    for (const int signal : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE})
        std::signal(signal, SIG_IGN);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::prctl(PR_SET_NAME, "weir-run-reaper");
    keep_only(pipe_end, file.fd());
    char byte = 0;
    while (::read(pipe_end, &byte, 1) < 0 && errno == EINTR) {
    }
    const auto done = tear_down(file, record);
    if (!done) {
        complain(fmt::format("pod {}/{}: {}; the next `weir run` tries again", record.ns,
                             record.name, done.error().message()));
    }
    ::_exit(done ? 0 : 1);
}

}  // namespace

Result<void> tear_down(const RecordFile& file, const Record& record) {
    std::string failures;
    const auto note = [&](const Result<void>& done) {
        if (!done) failures += (failures.empty() ? "" : "; ") + done.error().message();
    };
    note(remove_manifest(record));
    note(remove_cgroup(record.cgroup));
    note(delete_network(file, record));
    note(remove_netns(record.netns));
    if (!failures.empty()) return fail(Errc::kSystem, "{}", failures);
    file.remove();
    return {};
}

Result<Reaper> start_reaper(const RecordFile& file, const Record& record) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    const Fd reading(ends[0]);
    Fd writing(ends[1]);
    const pid_t child = ::fork();
    if (child < 0) return fail_errno(errno, "fork the reaper");
    if (child == 0) reap(file, record, reading.get());
    return Reaper{child, std::move(writing)};
}

size_t reap_abandoned(const std::filesystem::path& run_dir) {
    size_t count = 0;
    for (const auto& file : RecordFile::abandoned(run_dir)) {
        const auto record = file.leftover();
        if (!record) {
            file.remove();
            continue;
        }
        const auto done = tear_down(file, *record);
        if (done) {
            ++count;
        } else {
            complain(fmt::format("left over from a dead run, pod {}/{}: {}", record->ns,
                                 record->name, done.error().message()));
        }
    }
    return count;
}

}  // namespace weir::cli::run
