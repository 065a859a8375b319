// SPDX-License-Identifier: Apache-2.0
// "After kill -9 at any point of ADD or DEL: no leak and no double allocation." A child process
// runs the service with real links and ends at its k-th system call that changes the directory or
// the network, for every k; then a new one starts on what it left.
#include <algorithm>
#include <map>
#include <set>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "agent/cni_service.h"
#include "cni/host_wirer.h"
#include "cni/lab.h"

namespace {
// Nothing is counted unless positive.
std::atomic<int> calls_left = -1;

void count_call() {
    if (calls_left > 0 && --calls_left == 0) _exit(99);
}
}  // namespace

extern "C" {
int __real_mkostemp(char* name, int flags);
ssize_t __real_write(int fd, const void* data, size_t size);
int __real_rename(const char* from, const char* to);
int __real_unlink(const char* path);
ssize_t __real_send(int fd, const void* data, size_t size, int flags);
ssize_t __real_sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to,
                      socklen_t length);
ssize_t __real_sendmsg(int fd, const msghdr* message, int flags);

int __wrap_mkostemp(char* name, int flags) {
    count_call();
    return __real_mkostemp(name, flags);
}
ssize_t __wrap_write(int fd, const void* data, size_t size) {
    count_call();
    return __real_write(fd, data, size);
}
int __wrap_rename(const char* from, const char* to) {
    count_call();
    return __real_rename(from, to);
}
int __wrap_unlink(const char* path) {
    count_call();
    return __real_unlink(path);
}
ssize_t __wrap_send(int fd, const void* data, size_t size, int flags) {
    count_call();
    return __real_send(fd, data, size, flags);
}
ssize_t __wrap_sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to,
                      socklen_t length) {
    count_call();
    return __real_sendto(fd, data, size, flags, to, length);
}
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
    count_call();
    return __real_sendmsg(fd, message, flags);
}
}

namespace weir::test {
namespace {

class CniCrash : public Lab {
  protected:
    struct Agent {
        std::unique_ptr<ipam::Pools> pools;
        std::unique_ptr<HostWirer> wirer;
        std::unique_ptr<agent::CniService> service;
    };
    static Agent start() {
        Agent agent;
        agent.pools =
            ipam::Pools::open({.dir = "/run/weir/ipam", .rest = {}, .clock = boot_now}).value();
        EXPECT_TRUE(agent.pools->set_ranges(
            {IpPrefix::parse("10.1.0.0/24").value(), IpPrefix::parse("fd00:1::/64").value()}));
        agent.wirer = HostWirer::open();
        agent.service =
            agent::CniService::open(*agent.pools, *agent.wirer, "/run/weir/cni-queue").value();
        const auto started = agent.service->start();
        EXPECT_TRUE(started) << started.error().message();
        if (started) EXPECT_TRUE(started->conflicts.empty());
        return agent;
    }
    static unsigned ask(Agent& agent, const std::string& operation, const std::string& pod) {
        const std::string body =
            fmt::format(R"({{"network":"weir","containerId":"id-{0}","netns":"/run/netns/{0}",)"
                        R"("ifname":"eth0","args":{{"K8S_POD_NAME":"{0}"}}}})",
                        pod);
        return agent.service->handle("/v1/cni/" + operation, body).status;
    }
    /// Links, records and routes tell the same, and every address belongs to one.
    static void expect_sound(Agent& agent) {
        std::map<ipam::AttachmentKey, std::vector<IpAddress>> recorded;
        std::set<IpAddress> seen;
        for (const ipam::Record& record : agent.pools->list()) {
            EXPECT_EQ(record.state, ipam::RecordState::kCommitted) << record.key.to_string();
            const auto checked = agent.wirer->check(record);
            EXPECT_TRUE(checked) << checked.error().message();
            for (const IpAddress& each : record.addresses)
                EXPECT_TRUE(seen.insert(each).second);
            recorded.emplace(record.key, record.addresses);
        }
        std::map<ipam::AttachmentKey, std::vector<IpAddress>> existing;
        auto listed = agent.wirer->list().value();
        for (ipam::Found& found : listed) {
            std::ranges::sort(found.addresses);
            existing.emplace(found.key, found.addresses);
        }
        for (auto& [key, addresses] : recorded)
            std::ranges::sort(addresses);
        EXPECT_EQ(recorded, existing);
        EXPECT_EQ(links(), existing.size());
        EXPECT_EQ(records(), recorded.size()) << "on disk";
    }
};

TEST_F(CniCrash, AtEveryStepOfAddAndDel) {
    make_pod("old");
    make_pod("new");
    ASSERT_NE(HostWirer::open(), nullptr);  // its program is the children's too
    int step = 1;
    for (;; ++step) {
        SCOPED_TRACE(testing::Message() << "step " << step);
        const pid_t child = ::fork();
        if (child == 0) {
            Agent agent = start();
            ask(agent, "add", "old");
            calls_left = step;
            const bool done = ask(agent, "add", "new") == 200 && ask(agent, "del", "old") == 200;
            _exit(done ? 0 : 1);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        ASSERT_TRUE(WIFEXITED(status));
        ASSERT_TRUE(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 99) << WEXITSTATUS(status);
        {
            Agent agent = start();
            expect_sound(agent);
            // What the runtime does after an ADD or DEL that was cut off: DEL, and all over again.
            for (const std::string pod : {"old", "new"}) {
                EXPECT_EQ(ask(agent, "del", pod), 200U);
                EXPECT_EQ(ask(agent, "add", pod), 200U);
            }
            expect_sound(agent);
            for (const std::string pod : {"old", "new"})
                EXPECT_EQ(ask(agent, "del", pod), 200U);
            EXPECT_EQ(links(), 0U);
        }
        if (HasFailure() || WEXITSTATUS(status) == 0) break;
    }
    std::printf("%d steps\n", step - 1);
    EXPECT_GT(step, 15) << "the steps were not counted";
}

// The same from outside: the process is killed at growing delays while the plugin works, and what
// the plugin answers must be so.
TEST_F(CniCrash, KilledFromOutside) {
    constexpr int kRounds = 25;
    constexpr auto kDelay = std::chrono::microseconds(1500);
    make_pod("web-1");
    for (int i = 0; i < kRounds && !HasFailure(); ++i) {
        SCOPED_TRACE(testing::Message() << "round " << i);
        start_agent();
        Outcome added;
        Outcome deleted;
        std::thread runtime([&] {
            added = plugin("ADD", "web-1");
            deleted = plugin("DEL", "web-1");
        });
        std::this_thread::sleep_for(kDelay * i);
        agent().stop(SIGKILL);
        start_agent();
        runtime.join();
        EXPECT_TRUE(added.status == 0 || code_of(added) == 11U) << added.out;
        EXPECT_EQ(deleted.status, 0) << deleted.out;
        EXPECT_TRUE(eventually([] { return links() == 0 && records() == 0; }));
        kill_agent();
    }
}

}  // namespace
}  // namespace weir::test
