// SPDX-License-Identifier: Apache-2.0
#include "cli/run/process.h"

#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::cli::run {
namespace {

constexpr size_t kMaxOutput = size_t{1} << 20;

Result<Fd> memory_file(const char* name, std::string_view content) {
    const int raw = ::memfd_create(name, MFD_CLOEXEC);
    if (raw < 0) return fail_errno(errno, "memfd_create");
    Fd fd(raw);
    if (::pwrite(fd.get(), content.data(), content.size(), 0) !=
        static_cast<ssize_t>(content.size())) {
        return fail_errno(errno, "write to memory");
    }
    return fd;
}

std::string content_of(const Fd& fd) {
    std::string text(kMaxOutput, '\0');
    const ssize_t n = ::pread(fd.get(), text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return text;
}

std::vector<std::string> merged(const std::map<std::string, std::string>& added) {
    std::vector<std::string> all;
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string_view text(*entry);
        if (!added.contains(std::string(text.substr(0, text.find('='))))) all.emplace_back(text);
    }
    for (const auto& [key, value] : added)
        all.push_back(key + "=" + value);
    return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (auto& text : texts)
        result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

}  // namespace

void reset_signals() {
    for (int signal = 1; signal < NSIG; ++signal)
        std::signal(signal, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

Result<Fd> open_pidfd(pid_t pid) {
    const long raw = ::syscall(SYS_pidfd_open, pid, 0);
    if (raw < 0) return fail_errno(errno, "pidfd_open {}", pid);
    return Fd(static_cast<int>(raw));
}

Result<Finished> run_program(const std::filesystem::path& program,
                             const std::map<std::string, std::string>& environment,
                             std::string_view input, std::chrono::milliseconds patience) {
    const Fd in = WEIR_TRY(memory_file("in", input));
    const Fd out = WEIR_TRY(memory_file("out", ""));
    const Fd err = WEIR_TRY(memory_file("err", ""));
    std::vector<std::string> texts = merged(environment);
    std::vector<char*> envp = pointers(texts);
    std::string name = program.string();
    char* argv[] = {name.data(), nullptr};
    const pid_t child = ::fork();
    if (child < 0) return fail_errno(errno, "fork for {}", name);
    if (child == 0) {
        reset_signals();
        if (::dup2(in.get(), 0) < 0 || ::dup2(out.get(), 1) < 0 || ::dup2(err.get(), 2) < 0) {
            ::_exit(127);
        }
        ::execve(name.c_str(), argv, envp.data());
        ::_exit(127);
    }
    bool late = false;
    if (const auto pidfd = open_pidfd(child)) {
        pollfd poll{.fd = pidfd->get(), .events = POLLIN, .revents = 0};
        while (::poll(&poll, 1, static_cast<int>(patience.count())) < 0 && errno == EINTR) {
        }
        late = (poll.revents & POLLIN) == 0;
    }
    if (late) ::kill(child, SIGKILL);
    Finished finished;
    while (::waitpid(child, &finished.status, 0) < 0 && errno == EINTR) {
    }
    if (late) {
        return fail(Errc::kUnavailable, "{} did not end within {} ms", name, patience.count());
    }
    finished.out = content_of(out);
    finished.err = content_of(err);
    return finished;
}

int shell_status(int wait_status) {
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

Result<std::string> random_hex(size_t bytes) {
    std::vector<unsigned char> raw(bytes);
    if (::getrandom(raw.data(), raw.size(), 0) != static_cast<ssize_t>(raw.size())) {
        return fail_errno(errno, "getrandom");
    }
    std::string text;
    for (const unsigned char byte : raw)
        text += fmt::format("{:02x}", byte);
    return text;
}

}  // namespace weir::cli::run
