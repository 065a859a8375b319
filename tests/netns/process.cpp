// SPDX-License-Identifier: Apache-2.0
#include "netns/process.h"

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

int exit_status(int raw) {
    return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
}

[[noreturn]] void give_up(const char* what) {
    std::perror(what);
    std::_Exit(126);
}

/// In a child: goes to its place and dies with the test.
void settle(const Place& place) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!place.cgroup.empty()) {
        std::FILE* procs = std::fopen((place.cgroup + "/cgroup.procs").c_str(), "we");
        if (procs == nullptr) give_up("cgroup.procs");
        if (std::fputs("0", procs) < 0 || std::fclose(procs) != 0) give_up("join cgroup");
    }
    if (!place.netns.empty()) {
        const int ns = ::open(place.netns.c_str(), O_RDONLY | O_CLOEXEC);
        if (ns < 0 || ::setns(ns, CLONE_NEWNET) != 0) give_up(place.netns.c_str());
    }
}

[[noreturn]] void execute(const std::vector<std::string>& argv) {
    std::vector<char*> raw;
    for (const auto& word : argv)
        raw.push_back(const_cast<char*>(word.c_str()));
    raw.push_back(nullptr);
    ::execvp(raw[0], raw.data());
    give_up(raw[0]);
}

struct Pipe {
    Fd read;
    Fd write;
};

Pipe make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) give_up("pipe2");
    return {Fd(ends[0]), Fd(ends[1])};
}

/// Reads both pipes until both are closed; false at the deadline.
bool drain(const Fd& out, const Fd& err, Outcome& outcome, Clock::time_point deadline) {
    std::array<pollfd, 2> fds{{{out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}}};
    std::array<std::string*, 2> sinks{&outcome.out, &outcome.err};
    int open = 2;
    while (open > 0) {
        const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
        if (left <= 0 || ::poll(fds.data(), fds.size(), static_cast<int>(left)) <= 0) return false;
        for (size_t i = 0; i < fds.size(); ++i) {
            if (fds[i].revents == 0) continue;
            std::array<char, 4096> chunk{};
            const ssize_t n = ::read(fds[i].fd, chunk.data(), chunk.size());
            if (n > 0) {
                sinks[i]->append(chunk.data(), static_cast<size_t>(n));
            } else {
                fds[i].fd = -1;
                --open;
            }
        }
    }
    return true;
}

int reap(pid_t pid) {
    int raw = 0;
    while (::waitpid(pid, &raw, 0) < 0 && errno == EINTR) {
    }
    return exit_status(raw);
}

}  // namespace

std::string Outcome::describe() const {
    return fmt::format("status {}\nstdout: {}\nstderr: {}", status, out, err);
}

Outcome run(const std::vector<std::string>& argv, const Place& place, milliseconds deadline) {
    auto out = make_pipe();
    auto err = make_pipe();
    const pid_t pid = ::fork();
    if (pid < 0) give_up("fork");
    if (pid == 0) {
        ::dup2(out.write.get(), STDOUT_FILENO);
        ::dup2(err.write.get(), STDERR_FILENO);
        settle(place);
        execute(argv);
    }
    {
        const Fd closed_out = std::move(out.write), closed_err = std::move(err.write);
    }
    Outcome outcome;
    if (!drain(out.read, err.read, outcome, Clock::now() + deadline)) ::kill(pid, SIGKILL);
    outcome.status = reap(pid);
    return outcome;
}

std::string run_in(const Place& place, const std::function<std::string()>& body) {
    auto out = make_pipe();
    const pid_t pid = ::fork();
    if (pid < 0) give_up("fork");
    if (pid == 0) {
        settle(place);
        ::alarm(20);
        const std::string text = body();
        size_t done = 0;
        while (done < text.size()) {
            const ssize_t n = ::write(out.write.get(), text.data() + done, text.size() - done);
            if (n <= 0) break;
            done += static_cast<size_t>(n);
        }
        std::_Exit(0);
    }
    {
        const Fd closed = std::move(out.write);
    }
    std::string text;
    std::array<char, 4096> chunk{};
    for (ssize_t n = 0; (n = ::read(out.read.get(), chunk.data(), chunk.size())) > 0;) {
        text.append(chunk.data(), static_cast<size_t>(n));
    }
    const int status = reap(pid);
    return status == 0 ? text : fmt::format("died: status {}", status);
}

Process Process::start(const std::vector<std::string>& argv, const std::string& log,
                       const Place& place) {
    const pid_t pid = ::fork();
    if (pid < 0) give_up("fork");
    if (pid == 0) {
        const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0) give_up(log.c_str());
        ::dup2(fd, STDOUT_FILENO);
        ::dup2(fd, STDERR_FILENO);
        settle(place);
        execute(argv);
    }
    return Process(pid);
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}

Process& Process::operator=(Process&& other) noexcept {
    if (this == &other) return *this;
    stop();
    pid_ = std::exchange(other.pid_, -1);
    status_ = other.status_;
    return *this;
}

Process::~Process() {
    stop();
}

void Process::stop() {
    if (pid_ < 0 || status_) return;
    ::kill(pid_, SIGKILL);
    status_ = reap(pid_);
}

bool Process::running() {
    return !wait(milliseconds(0)).has_value();
}

void Process::send(int signal) const {
    if (pid_ > 0 && !status_) ::kill(pid_, signal);
}

std::optional<int> Process::wait(milliseconds deadline) {
    const auto end = Clock::now() + deadline;
    while (!status_) {
        int raw = 0;
        if (::waitpid(pid_, &raw, WNOHANG) == pid_) {
            status_ = exit_status(raw);
        } else if (Clock::now() >= end) {
            break;
        } else {
            std::this_thread::sleep_for(milliseconds(5));
        }
    }
    return status_;
}

bool eventually(const std::function<bool()>& condition, milliseconds deadline) {
    const auto end = Clock::now() + deadline;
    for (;;) {
        if (condition()) return true;
        if (Clock::now() >= end) return false;
        std::this_thread::sleep_for(milliseconds(20));
    }
}

}  // namespace weir::test
