// SPDX-License-Identifier: Apache-2.0
#include "support/child.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "common/fd.h"

namespace weir::test {
namespace {

constexpr unsigned kChildSeconds = 20;

struct Pipe {
    Fd read;
    Fd write;
    static Pipe make() {
        std::array<int, 2> ends{};
        if (pipe2(ends.data(), O_CLOEXEC) != 0) {
            throw std::system_error(errno, std::generic_category(), "pipe2");
        }
        return {.read = Fd(ends[0]), .write = Fd(ends[1])};
    }
};

/// Forks; the child enters `place`, runs `work` and leaves with _exit(): no destructor of the
/// parent's.
pid_t spawn(const Place& place, const Pipe& report, const std::function<std::string()>& work) {
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid > 0) return pid;
    std::string text;
    try {
        if (!settle(place)) throw std::system_error(errno, std::generic_category(), "settle");
        if (getppid() != parent) _exit(1);
        text = work();
    } catch (const std::exception& error) {
        text = fmt::format("child: {}", error.what());
    }
    size_t done = 0;
    while (done < text.size()) {
        const ssize_t n = write(report.write.get(), text.data() + done, text.size() - done);
        if (n <= 0) _exit(1);
        done += static_cast<size_t>(n);
    }
    _exit(0);
}

std::string read_all(int fd) {
    std::string text;
    std::array<char, 4096> buffer{};
    ssize_t got = 0;
    while ((got = read(fd, buffer.data(), buffer.size())) > 0) {
        text.append(buffer.data(), static_cast<size_t>(got));
    }
    return text;
}

}  // namespace

std::string in_child(const Place& place, const std::function<std::string()>& work) {
    Pipe report = Pipe::make();
    const pid_t pid = spawn(place, report, [&work] {
        alarm(kChildSeconds);
        return work();
    });
    {
        Fd closed = std::move(report.write);
    }
    std::string text = read_all(report.read.get());
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status)) return fmt::format("child: signal {}", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0) return fmt::format("child: exit {}", WEXITSTATUS(status));
    return text;
}

BackgroundChild::BackgroundChild(const Place& place,
                                 const std::function<void(const Ready& ready)>& work)
    : pid_(-1) {
    Pipe report = Pipe::make();
    pid_ = spawn(place, report, [&] {
        work([&] {
            if (write(report.write.get(), "!", 1) != 1) _exit(1);
        });
        return std::string("child: ended before it was told to");
    });
    {
        Fd closed = std::move(report.write);
    }
    char first = 0;
    if (read(report.read.get(), &first, 1) != 1 || first != '!') {
        std::string why = std::string(1, first) + read_all(report.read.get());
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
        throw std::runtime_error("background " + why);
    }
}

BackgroundChild::BackgroundChild(BackgroundChild&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)) {}

BackgroundChild::~BackgroundChild() {
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
}

}  // namespace weir::test
