// SPDX-License-Identifier: Apache-2.0
#include "cli/run/command.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/run/process.h"
#include "common/fd.h"

// <sys/mount.h> and <linux/mount.h> cannot be included together.
extern "C" int mount(const char* source, const char* target, const char* type, unsigned long flags,
                     const void* data) noexcept;

namespace weir::cli::run {
namespace {

constexpr unsigned long kMsBind = 4096;
constexpr unsigned long kMsRec = 16384;
constexpr unsigned long kMsSlave = 1UL << 19;

// What a child says when it cannot go on.
struct ChildFailure {
    int error = 0;
    char step[60] = {};
};

// The new /sys shows the pod's devices; the cgroup tree below the old one is kept.
bool mount_sysfs() {
    const long tree = ::syscall(SYS_open_tree, AT_FDCWD, "/sys/fs/cgroup",
                                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (::mount("sysfs", "/sys", "sysfs", 0, nullptr) != 0) return false;
    if (tree >= 0) {
        ::syscall(SYS_move_mount, static_cast<int>(tree), "", AT_FDCWD, "/sys/fs/cgroup",
                  MOVE_MOUNT_F_EMPTY_PATH);
        ::close(static_cast<int>(tree));
    }
    return true;
}

bool set_mounts(const Place& place) {
    if (::unshare(CLONE_NEWNS) != 0) return false;
    if (::mount("", "/", nullptr, kMsSlave | kMsRec, nullptr) != 0) return false;
    if (!mount_sysfs()) return false;
    return place.resolv_conf.empty() ||
           ::mount(place.resolv_conf.c_str(), "/etc/resolv.conf", nullptr, kMsBind, nullptr) == 0;
}

bool write_self(int cgroup_procs) {
    return ::write(cgroup_procs, "0", 1) == 1;
}

// In the child: only returns on failure.
ChildFailure enter_and_execute(const Place& place, int netns, int cgroup_procs, pid_t parent,
                               char* const* argv) {
    const auto failed = [](const char* step) {
        ChildFailure failure;
        failure.error = errno;
        std::strncpy(failure.step, step, sizeof failure.step - 1);
        return failure;
    };
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return failed("prctl");
    if (::getppid() != parent) ::_exit(1);
    if (!write_self(cgroup_procs)) return failed("enter the pod's cgroup");
    if (::setns(netns, CLONE_NEWNET) != 0) return failed("enter the pod's network namespace");
    if (place.own_mounts && !set_mounts(place)) return failed("set up the pod's mounts");
    if (::unshare(CLONE_NEWUTS) != 0 ||
        ::sethostname(place.hostname.data(), place.hostname.size()) != 0) {
        return failed("set the host name");
    }
    reset_signals();
    ::execvp(argv[0], argv);
    return failed("execute the command");
}

Result<Fd> open_file(const std::filesystem::path& path, int flags) {
    const int raw = ::open(path.c_str(), flags | O_CLOEXEC);
    if (raw < 0) return fail_errno(errno, "open {}", path.string());
    return Fd(raw);
}

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> argv;
    for (auto& word : words)
        argv.push_back(word.data());
    argv.push_back(nullptr);
    return argv;
}

// Nothing if the pipe closed by exec.
std::optional<ChildFailure> read_failure(const Fd& reading) {
    ChildFailure failure;
    ssize_t n = 0;
    while ((n = ::read(reading.get(), &failure, sizeof failure)) < 0 && errno == EINTR) {
    }
    if (n == 0) return std::nullopt;
    return failure;
}

}  // namespace

Result<pid_t> start_command(const Place& place, const std::vector<std::string>& command) {
    const Fd netns = WEIR_TRY(open_file(place.netns, O_RDONLY));
    const Fd cgroup = WEIR_TRY(open_file(place.cgroup / "cgroup.procs", O_WRONLY));
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    const Fd reading(ends[0]);
    std::optional<Fd> writing(std::in_place, ends[1]);
    std::vector<std::string> words = command;
    const std::vector<char*> argv = pointers(words);
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) return fail_errno(errno, "fork");
    if (child == 0) {
        const auto failure =
            enter_and_execute(place, netns.get(), cgroup.get(), parent, argv.data());
        (void)!::write(writing->get(), &failure, sizeof failure);
        ::_exit(127);
    }
    writing.reset();
    const auto failure = read_failure(reading);
    if (!failure) return child;
    ::waitpid(child, nullptr, 0);
    return fail_errno(failure->error, "{}: {}", command.front(), failure->step);
}

}  // namespace weir::cli::run
