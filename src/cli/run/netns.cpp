// SPDX-License-Identifier: Apache-2.0
#include "cli/run/netns.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fd.h"

namespace weir::cli::run {
namespace {

using namespace std::chrono_literals;

constexpr auto kKillPatience = 5s;

// Namespaces are bound below a shared mount, so that other mount namespaces see them come and go.
Result<void> prepare_directory(const std::filesystem::path& dir) {
    std::error_code error;
    std::filesystem::create_directories(dir, error);
    if (error) return fail_errno(error.value(), "create {}", dir.string());
    if (::mount("", dir.c_str(), "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
    if (errno != EINVAL) return fail_errno(errno, "share {}", dir.string());
    if (::mount(dir.c_str(), dir.c_str(), "none", MS_BIND | MS_REC, nullptr) != 0 ||
        ::mount("", dir.c_str(), "none", MS_SHARED | MS_REC, nullptr) != 0) {
        return fail_errno(errno, "share {}", dir.string());
    }
    return {};
}

int bring_loopback_up() {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    std::strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
    request.ifr_flags = IFF_UP;
    return fd < 0 || ::ioctl(fd, SIOCSIFFLAGS, &request) != 0 ? errno : 0;
}

// In a child of its own: unshare is for good. The errno is its exit status.
int bind_new_namespace(const char* path) {
    const pid_t child = ::fork();
    if (child < 0) return errno;
    if (child == 0) {
        if (::unshare(CLONE_NEWNET) != 0) ::_exit(errno);
        if (const int error = bring_loopback_up(); error != 0) ::_exit(error);
        if (::mount("/proc/self/ns/net", path, "none", MS_BIND, nullptr) != 0) ::_exit(errno);
        ::_exit(0);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

bool is_populated(const std::filesystem::path& cgroup) {
    std::ifstream events(cgroup / "cgroup.events");
    for (std::string key, value; events >> key >> value;) {
        if (key == "populated") return value == "1";
    }
    return false;
}

// cgroup.kill where the kernel has it (5.14), else one by one until none is left.
void kill_all(const std::filesystem::path& cgroup) {
    const int raw = ::open((cgroup / "cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC);
    if (raw >= 0) {
        const Fd fd(raw);
        (void)!::write(fd.get(), "1", 1);
        return;
    }
    std::ifstream processes(cgroup / "cgroup.procs");
    for (pid_t pid = 0; processes >> pid;)
        ::kill(pid, SIGKILL);
}

}  // namespace

Result<void> make_netns(const std::filesystem::path& path) {
    WEIR_CHECK(prepare_directory(path.parent_path()));
    const int raw = ::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
    if (raw < 0) return fail_errno(errno, "create {}", path.string());
    ::close(raw);
    if (const int error = bind_new_namespace(path.c_str()); error != 0) {
        ::unlink(path.c_str());
        return fail_errno(error, "make a network namespace at {}", path.string());
    }
    return {};
}

Result<void> remove_netns(const std::filesystem::path& path) {
    if (path.empty()) return {};
    if (::umount2(path.c_str(), MNT_DETACH) != 0 && errno != ENOENT && errno != EINVAL) {
        return fail_errno(errno, "unmount {}", path.string());
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return fail_errno(errno, "remove {}", path.string());
    }
    return {};
}

Result<void> make_cgroup(const std::filesystem::path& path) {
    if (::mkdir(path.c_str(), 0755) != 0)
        return fail_errno(errno, "create cgroup {}", path.string());
    if (::access((path / "cgroup.procs").c_str(), F_OK) != 0) {
        ::rmdir(path.c_str());
        return fail(Errc::kInvalid,
                    "{} is not below a cgroup2 file system; give one with --cgroup-root",
                    path.parent_path().string());
    }
    return {};
}

Result<void> remove_cgroup(const std::filesystem::path& path) {
    if (path.empty()) return {};
    const auto end = std::chrono::steady_clock::now() + kKillPatience;
    for (;;) {
        if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
        const int error = errno;
        if (error != EBUSY || std::chrono::steady_clock::now() > end) {
            return fail_errno(error, "remove cgroup {}", path.string());
        }
        if (is_populated(path)) kill_all(path);
        std::this_thread::sleep_for(5ms);
    }
}

}  // namespace weir::cli::run
