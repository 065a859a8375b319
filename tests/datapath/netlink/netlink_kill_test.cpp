// SPDX-License-Identifier: Apache-2.0
/// Death at every system call: a child makes or removes a pod link while its parent traces it, and
/// kills it at the n-th call to rtnetlink, for every n until it gets through.
#include <cerrno>
#include <csignal>

#include <sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath/netlink/testbed.h"

namespace weir::netlink {
namespace {

using test::MountedNs;
using test::sh;
using testing::HasSubstr;
using testing::Not;

/// Calls at whose entry, or right after whose return, the child may die.
bool counts(long number) {
    return number == SYS_sendmsg || number == SYS_setns || number == SYS_ioctl ||
           number == SYS_socket;
}

enum class End { kKilled, kSucceeded, kFailed };

/// Runs `work` in a child and kills it at the n-th counted stop (two for each call).
template <typename Work>
End run_and_kill(int n, Work&& work) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::raise(SIGSTOP);
        ::_exit(work() ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    const long options = PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
    EXPECT_EQ(::ptrace(PTRACE_SETOPTIONS, child, nullptr, options), 0) << errno;
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    int seen = 0;
    for (;;) {
        const pid_t who = ::waitpid(-1, &status, __WALL);
        if (who < 0) return End::kFailed;
        if (who == child && WIFSIGNALED(status)) return End::kKilled;
        if (who == child && WIFEXITED(status)) {
            return WEXITSTATUS(status) == 0 ? End::kSucceeded : End::kFailed;
        }
        if (!WIFSTOPPED(status)) continue;
        const int signal = WSTOPSIG(status);
        if (signal == (SIGTRAP | 0x80)) {
            user_regs_struct registers{};
            ::ptrace(PTRACE_GETREGS, who, nullptr, &registers);
            if (counts(static_cast<long>(registers.orig_rax)) && ++seen == n) {
                ::kill(child, SIGKILL);
            }
        }
        const bool ours = signal == (SIGTRAP | 0x80) || signal == SIGTRAP || signal == SIGSTOP;
        ::ptrace(PTRACE_SYSCALL, who, nullptr, ours ? 0L : static_cast<long>(signal));
    }
}

class KillTest : public test::HostTest {
  protected:
    static std::string snapshot() {
        return sh("ip -d link") + sh("ip -4 route show table all") +
               sh("ip -6 route show table all") + sh("ip neigh") + sh("ip addr");
    }
    bool create_in_child(const std::filesystem::path& path) {
        auto ns = NetNs::open(path);
        if (!ns) return false;
        return pods().create(*ns, spec(5), programs()).has_value();
    }
};

TEST_F(KillTest, CreateDiesAnywhereAndTeardownLeavesNothing) {
    const std::string before = snapshot();
    int steps = 0;
    for (int n = 1; n < 500; n++) {
        SCOPED_TRACE(n);
        const MountedNs ns;
        const std::string pod_before = ns.sh("ip -o link | grep -v \" lo:\" || true");
        const End end = run_and_kill(n, [&] { return create_in_child(ns.path()); });
        ASSERT_NE(end, End::kFailed);
        // By the two ways in turn: DEL knows the container, cleanup what it finds.
        if (n % 2 == 0) {
            ASSERT_OK(pods().remove(spec(5).container_id, "eth0"));
        } else {
            auto found = pods().list();
            ASSERT_OK(found);
            ASSERT_LE(found->size(), 1U);
            for (const FoundPodLink& one : *found)
                ASSERT_OK(pods().remove(one.link.name));
        }
        EXPECT_EQ(snapshot(), before);
        EXPECT_EQ(ns.sh("ip -o link | grep -v \" lo:\" || true"), pod_before);
        // And it can be added after all.
        ASSERT_OK(pods().create(ns.open(), spec(5), programs()));
        ASSERT_OK(pods().remove(spec(5).host_ifname));
        steps++;
        if (end == End::kSucceeded) break;
    }
    EXPECT_GE(steps, 15) << "the child died at too few places for this to mean anything";
}

TEST_F(KillTest, NamespaceVanishesBetweenTheSteps) {
    const std::string before = snapshot();
    MountedNs ns;
    auto open = std::make_optional(ns.open());
    auto link = pods().create(*open, spec(5), programs());
    ASSERT_OK(link);
    open.reset();
    ns.vanish();
    // The last reference is gone; the kernel takes the link along, a moment later.
    for (int i = 0; i < 100 && !pods().list()->empty(); i++)
        ::usleep(20000);
    EXPECT_EQ(snapshot(), before);
    ASSERT_OK(pods().remove(spec(5).container_id, "eth0"));
    const auto problems = pods().inspect_host(spec(5), programs());
    ASSERT_OK(problems);
    ASSERT_EQ(problems->size(), 1U);
    EXPECT_THAT((*problems)[0].text, HasSubstr("is gone"));
    const auto repaired = pods().repair_host(spec(5), programs());
    ASSERT_FALSE(repaired);
    EXPECT_EQ(repaired.error().code(), Errc::kNotFound);
}

/// A failing request in the middle leaves nothing either.
TEST_F(KillTest, FailureInTheMiddleIsUndone) {
    const MountedNs ns;
    const std::string before = snapshot();
    const PodPrograms broken{programs().from_pod, 0};
    const auto made = pods().create(ns.open(), spec(5), broken);
    ASSERT_FALSE(made);
    EXPECT_THAT(made.error().message(), HasSubstr("egress program"));
    EXPECT_EQ(snapshot(), before);
    EXPECT_THAT(ns.sh("ip link"), Not(HasSubstr("eth0")));
}

}  // namespace
}  // namespace weir::netlink
