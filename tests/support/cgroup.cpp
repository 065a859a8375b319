// SPDX-License-Identifier: Apache-2.0
#include "support/cgroup.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace weir::test {

std::filesystem::path cgroup2_mount() {
    std::ifstream mounts("/proc/self/mounts");
    std::string line;
    while (std::getline(mounts, line)) {
        std::istringstream fields(line);
        std::string device;
        std::string where;
        std::string type;
        fields >> device >> where >> type;
        if (type == "cgroup2") return where;
    }
    throw std::runtime_error("no cgroup2 is mounted; mount -t cgroup2 cgroup2 DIRECTORY");
}

namespace {

std::filesystem::path make_directory(const std::filesystem::path& parent) {
    static std::atomic<int> number = 0;
    auto path = parent / fmt::format("weir-test-{}-{}", getpid(), number++);
    if (mkdir(path.c_str(), 0755) != 0) {
        throw std::system_error(errno, std::generic_category(), "mkdir " + path.string());
    }
    return path;
}

int open_directory(const std::filesystem::path& path) {
    int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), path.string());
    return fd;
}

}  // namespace

Cgroup::Cgroup(const std::filesystem::path& parent)
    : path_(make_directory(parent)), fd_(open_directory(path_)) {}
Cgroup::Cgroup() : Cgroup(cgroup2_mount()) {}

Cgroup::~Cgroup() {
    // A process that was just reaped may still be counted for a moment.
    for (int i = 0; i < 100 && rmdir(path_.c_str()) != 0 && errno == EBUSY; i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

}  // namespace weir::test
