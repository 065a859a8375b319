// SPDX-License-Identifier: Apache-2.0
#include "cni/process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

extern char** environ;

namespace weir::test {
namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> all;
    for (std::string& text : texts)
        all.push_back(text.data());
    all.push_back(nullptr);
    return all;
}

struct Pipe {
    std::array<int, 2> ends{};
    Pipe() {
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    }
    ~Pipe() {
        close_end(0);
        close_end(1);
    }
    void close_end(size_t end) {
        if (ends.at(end) >= 0) ::close(ends.at(end));
        ends.at(end) = -1;
    }
};

int wait_for(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Moves data both ways until the program has closed its outputs.
void converse(Pipe& in, Pipe& out, Pipe& err, std::string_view input, Finished& finished,
              std::chrono::steady_clock::time_point deadline, pid_t pid) {
    std::array<pollfd, 3> fds = {
        {{in.ends[1], POLLOUT, 0}, {out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}}};
    std::array<char, 65536> chunk{};
    while (fds[1].fd >= 0 || fds[2].fd >= 0) {
        if (input.empty() && fds[0].fd >= 0) {
            in.close_end(1);
            fds[0].fd = -1;
        }
        ::poll(fds.data(), fds.size(), 100);
        if (std::chrono::steady_clock::now() > deadline) ::kill(pid, SIGKILL);
        if (fds[0].revents != 0) {
            const ssize_t n = ::write(fds[0].fd, input.data(), input.size());
            input.remove_prefix(n > 0 ? static_cast<size_t>(n) : input.size());
        }
        for (const size_t i : {1U, 2U}) {
            if (fds.at(i).fd < 0 || fds.at(i).revents == 0) continue;
            const ssize_t n = ::read(fds.at(i).fd, chunk.data(), chunk.size());
            if (n <= 0) {
                fds.at(i).fd = -1;
                continue;
            }
            (i == 1 ? finished.out : finished.err).append(chunk.data(), static_cast<size_t>(n));
        }
    }
}

}  // namespace

Finished run(const std::vector<std::string>& arguments, const Variables& variables,
             std::string_view input, std::chrono::seconds limit) {
    ::signal(SIGPIPE, SIG_IGN);
    std::vector<std::string> argv = arguments;
    std::vector<std::string> envp = {std::string("PATH=") + std::getenv("PATH")};
    for (const auto& [name, value] : variables)
        envp.push_back(name + "=" + value);
    Pipe in;
    Pipe out;
    Pipe err;
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in.ends[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, out.ends[1], 1);
    ::posix_spawn_file_actions_adddup2(&actions, err.ends[1], 2);
    pid_t pid = -1;
    const int failed = ::posix_spawnp(&pid, argv[0].c_str(), &actions, nullptr,
                                      pointers(argv).data(), pointers(envp).data());
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        ADD_FAILURE() << "cannot run " << argv[0] << ": " << std::strerror(failed);
        return {};
    }
    in.close_end(0);
    out.close_end(1);
    err.close_end(1);
    Finished finished;
    converse(in, out, err, input, finished, std::chrono::steady_clock::now() + limit, pid);
    finished.exit_code = wait_for(pid);
    return finished;
}

std::string sh(const std::string& command) {
    const Finished finished = run({"/bin/sh", "-ec", command});
    EXPECT_EQ(finished.exit_code, 0) << command << "\n" << finished.out << finished.err;
    return finished.out;
}

bool succeeds(const std::string& command) {
    return run({"/bin/sh", "-ec", command}).exit_code == 0;
}

Background::Background(const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = arguments;
    const int failed =
        ::posix_spawnp(&pid_, argv[0].c_str(), nullptr, nullptr, pointers(argv).data(), environ);
    if (failed != 0) {
        ADD_FAILURE() << "cannot run " << argv[0] << ": " << std::strerror(failed);
        pid_ = -1;
    }
}

void Background::stop(int signal) {
    if (pid_ < 0) return;
    ::kill(pid_, signal);
    wait_for(pid_);
    pid_ = -1;
}

bool Background::running() {
    if (pid_ < 0) return false;
    if (::waitpid(pid_, nullptr, WNOHANG) != pid_) return true;
    pid_ = -1;
    return false;
}

}  // namespace weir::test
