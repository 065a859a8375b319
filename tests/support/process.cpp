// SPDX-License-Identifier: Apache-2.0
#include "support/process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "common/fd.h"

namespace weir::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kNotStarted = 127;

int exit_status(int raw) {
    return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
}

int reap(pid_t pid) {
    int raw = 0;
    while (::waitpid(pid, &raw, 0) < 0 && errno == EINTR) {
    }
    return exit_status(raw);
}

Fd owned(int fd, const char* what) {
    if (fd < 0) throw std::system_error(errno, std::generic_category(), what);
    return Fd(fd);
}

/// Texts as exec takes them; made before fork(), after which nothing may be allocated.
class Words {
  public:
    explicit Words(std::vector<std::string> texts) : texts_(std::move(texts)) {
        for (auto& text : texts_)
            raw_.push_back(text.data());
        raw_.push_back(nullptr);
    }
    char** get() { return raw_.data(); }

  private:
    std::vector<std::string> texts_;
    std::vector<char*> raw_;
};

Words environment_of(const std::optional<Variables>& variables) {
    std::vector<std::string> texts;
    if (!variables) {
        for (char** each = environ; *each != nullptr; ++each)
            texts.emplace_back(*each);
    } else {
        texts.push_back(fmt::format("PATH={}", std::getenv("PATH")));
        for (const auto& [name, value] : *variables)
            texts.push_back(fmt::format("{}={}", name, value));
    }
    return Words(std::move(texts));
}

struct Streams {
    int in;
    int out;
    int err;
};

pid_t spawn(const std::vector<std::string>& argv, const RunOptions& options,
            const Streams& streams) {
    Words words(argv);
    Words environment = environment_of(options.environment);
    const pid_t pid = ::fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid > 0) return pid;
    ::signal(SIGPIPE, SIG_DFL);
    if (::dup2(streams.in, 0) == 0 && ::dup2(streams.out, 1) == 1 && ::dup2(streams.err, 2) == 2 &&
        settle(options.place)) {
        ::execvpe(words.get()[0], words.get(), environment.get());
    }
    ::dprintf(2, "cannot run %s: %s\n", words.get()[0], ::strerrordesc_np(errno));
    ::_exit(kNotStarted);
}

struct Pipe {
    std::optional<Fd> read;
    std::optional<Fd> write;
    Pipe() {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
            throw std::system_error(errno, std::generic_category(), "pipe2");
        }
        read.emplace(ends[0]);
        write.emplace(ends[1]);
    }
};

/// Feeds `input` and reads both outputs until they are closed; false at the deadline.
bool converse(Pipe& in, const Pipe& out, const Pipe& err, std::string_view input, Outcome& outcome,
              Clock::time_point deadline) {
    std::array<pollfd, 3> fds{{{in.write->get(), POLLOUT, 0},
                               {out.read->get(), POLLIN, 0},
                               {err.read->get(), POLLIN, 0}}};
    const std::array<std::string*, 3> sinks{nullptr, &outcome.out, &outcome.err};
    std::array<char, 65536> chunk{};
    while (fds[1].fd >= 0 || fds[2].fd >= 0) {
        if (input.empty()) {
            in.write.reset();
            fds[0].fd = -1;
        }
        const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
        if (left <= 0 || ::poll(fds.data(), fds.size(), static_cast<int>(left)) <= 0) return false;
        if (fds[0].revents != 0) {
            const ssize_t n = ::write(fds[0].fd, input.data(), input.size());
            input.remove_prefix(n > 0 ? static_cast<size_t>(n) : input.size());
        }
        for (const size_t i : {1U, 2U}) {
            if (fds.at(i).fd < 0 || fds.at(i).revents == 0) continue;
            const ssize_t n = ::read(fds.at(i).fd, chunk.data(), chunk.size());
            if (n > 0) sinks.at(i)->append(chunk.data(), static_cast<size_t>(n));
            if (n <= 0) fds.at(i).fd = -1;
        }
    }
    return true;
}

}  // namespace

std::string Outcome::describe() const {
    return fmt::format("status {}\nstdout: {}\nstderr: {}", status, out, err);
}

Outcome run(const std::vector<std::string>& argv, const RunOptions& options) {
    ::signal(SIGPIPE, SIG_IGN);
    Pipe in;
    Pipe out;
    Pipe err;
    const pid_t pid = spawn(argv, options, {in.read->get(), out.write->get(), err.write->get()});
    in.read.reset();
    out.write.reset();
    err.write.reset();
    Outcome outcome;
    if (!converse(in, out, err, options.input, outcome, Clock::now() + options.deadline)) {
        ::kill(pid, SIGKILL);
    }
    outcome.status = reap(pid);
    return outcome;
}

std::string sh(const std::string& command) {
    const Outcome outcome = run({"/bin/sh", "-ec", command});
    EXPECT_EQ(outcome.status, 0) << command << "\n" << outcome.describe();
    return outcome.out;
}

bool succeeds(const std::string& command) {
    return run({"/bin/sh", "-ec", command}).ok();
}

Process::Process(const std::vector<std::string>& argv, const Options& options) {
    auto out = options.log;
    auto err = options.log;
    if (options.log.empty()) {
        output_ = std::make_unique<TempDir>();
        out = output_->path() / "out";
        err = output_->path() / "err";
    }
    constexpr int kAppend = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
    const Fd in = owned(::open("/dev/null", O_RDONLY | O_CLOEXEC), "/dev/null");
    const Fd out_file = owned(::open(out.c_str(), kAppend, 0644), out.c_str());
    const Fd err_file = owned(::open(err.c_str(), kAppend, 0644), err.c_str());
    pid_ = spawn(argv, {.place = options.place}, {in.get(), out_file.get(), err_file.get()});
}

Process::Process(Process&& other) noexcept
    : output_(std::move(other.output_)),
      pid_(std::exchange(other.pid_, -1)),
      status_(other.status_) {}

Process& Process::operator=(Process&& other) noexcept {
    if (this == &other) return *this;
    stop(SIGKILL);
    output_ = std::move(other.output_);
    pid_ = std::exchange(other.pid_, -1);
    status_ = other.status_;
    return *this;
}

Process::~Process() {
    stop(SIGKILL);
}

void Process::send(int signal) const {
    if (pid_ > 0 && !status_) ::kill(pid_, signal);
}

std::optional<int> Process::wait_for(milliseconds deadline) {
    const auto end = Clock::now() + deadline;
    while (!status_ && pid_ > 0) {
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

int Process::wait() {
    if (!status_ && pid_ > 0) status_ = reap(pid_);
    return status_.value_or(-1);
}

int Process::stop(int signal) {
    if (running()) send(signal);
    return wait();
}

std::string Process::out() const {
    return output_ ? read_file(output_->path() / "out").value_or("") : "";
}

std::string Process::err() const {
    return output_ ? read_file(output_->path() / "err").value_or("") : "";
}

bool eventually(const std::function<bool()>& condition, milliseconds deadline) {
    const auto end = Clock::now() + deadline;
    for (;;) {
        if (condition()) return true;
        if (Clock::now() >= end) return false;
        std::this_thread::sleep_for(milliseconds(10));
    }
}

}  // namespace weir::test
