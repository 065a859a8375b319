// SPDX-License-Identifier: Apache-2.0
#include "support/place.h"

#include <array>
#include <csignal>
#include <cstdio>

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/fd.h"

namespace weir::test {
namespace {

bool join_cgroup(const std::string& directory) {
    std::array<char, 4096> path{};
    std::snprintf(path.data(), path.size(), "%s/cgroup.procs", directory.c_str());
    const int raw = ::open(path.data(), O_WRONLY | O_CLOEXEC);
    if (raw < 0) return false;
    const Fd procs(raw);
    return ::write(procs.get(), "0", 1) == 1;
}

bool join_netns(const std::string& path) {
    const int raw = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (raw < 0) return false;
    const Fd ns(raw);
    return ::setns(ns.get(), CLONE_NEWNET) == 0;
}

}  // namespace

bool settle(const Place& place) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // nothing is left behind when a test crashes
    if (!place.cgroup.empty() && !join_cgroup(place.cgroup)) return false;
    return place.netns.empty() || join_netns(place.netns);
}

}  // namespace weir::test
