// SPDX-License-Identifier: Apache-2.0
// The socket hooks' links: made, replaced, moved and removed, with real sockets in a cgroup.
#include "datapath/sock_links.h"

#include <atomic>
#include <fstream>
#include <new>

#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath/fixture.h"

namespace weir::datapath::test {
namespace {

constexpr uint32_t kSeen1 = 51;
constexpr uint32_t kSeen2 = 52;

using Names = std::vector<std::string>;

/// Shared with the process that makes the connects.
struct Traffic {
    std::atomic<bool> stop;
    std::atomic<uint64_t> connects;
    std::atomic<uint64_t> failed;
};

/// Connects UDP sockets to loopback, `times` times or until told to stop.
void connect_many(const std::filesystem::path& cgroup, uint64_t times, Traffic& traffic) {
    std::ofstream(cgroup / "cgroup.procs") << ::getpid() << std::flush;
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(9)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (uint64_t i = 0; i < times && !traffic.stop; ++i) {
        const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
        const auto* target = reinterpret_cast<const sockaddr*>(&address);
        if (::connect(fd, target, sizeof address) != 0) ++traffic.failed;
        ::close(fd);
        ++traffic.connects;
    }
}

/// A process in a cgroup that connects. It is forked before the datapath is opened: a child shares
/// the lock of the pins.
class Connector {
  public:
    Connector(const std::filesystem::path& cgroup, uint64_t times)
        : traffic_(new(::mmap(nullptr, sizeof(Traffic), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Traffic{}) {
        child_ = ::fork();
        if (child_ != 0) return;
        connect_many(cgroup, times, *traffic_);
        ::_exit(0);
    }
    Connector(const Connector&) = delete;
    Connector& operator=(const Connector&) = delete;
    ~Connector() { ::munmap(traffic_, sizeof(Traffic)); }
    const Traffic& wait() {
        ::waitpid(child_, nullptr, 0);
        return *traffic_;
    }
    const Traffic& stop() {
        traffic_->stop = true;
        return wait();
    }

  private:
    Traffic* traffic_;
    pid_t child_ = -1;
};

/// How many of `times` connects failed.
uint64_t connect_in(const std::filesystem::path& cgroup, uint64_t times) {
    return Connector(cgroup, times).wait().failed;
}

class SockLinksTest : public DatapathTest {
  protected:
    void SetUp() override {
        DatapathTest::SetUp();
        ASSERT_EQ(sh("ip link set lo up"), 0);
    }
};

TEST_F(SockLinksTest, MadeThenReplaced) {
    {
        auto datapath = Datapath::open(options(1));
        WEIR_ASSERT_OK(datapath);
        WEIR_ASSERT_OK((*datapath)->load({}));
        const auto done = (*datapath)->activate(SocketHooks::kAll);
        WEIR_ASSERT_OK(done);
        EXPECT_EQ(done->sock.created, (Names{"sock_connect4", "sock_sendmsg4"}));
    }
    EXPECT_EQ(connect_in(cgroup_, 5), 0U);
    EXPECT_EQ(counter(kSeen1), 5U);

    auto datapath = Datapath::open(options(2));
    WEIR_ASSERT_OK(datapath);
    WEIR_ASSERT_OK((*datapath)->load({}));
    const auto done = (*datapath)->activate(SocketHooks::kAll);
    WEIR_ASSERT_OK(done);
    EXPECT_EQ(done->sock.updated, Names{"sock_connect4"});
    EXPECT_EQ(done->sock.created, Names{"sock_connect6"});
    EXPECT_EQ(done->sock.removed, Names{"sock_sendmsg4"}) << "no program of this build";
    EXPECT_EQ(connect_in(cgroup_, 3), 0U);
    EXPECT_EQ(counter(kSeen1), 5U);
    EXPECT_EQ(counter(kSeen2), 3U);
}

TEST_F(SockLinksTest, OffRemovesThem) {
    WEIR_ASSERT_OK(start(1));
    auto datapath = Datapath::open(options(2));
    WEIR_ASSERT_OK(datapath);
    WEIR_ASSERT_OK((*datapath)->load({}));
    const auto done = (*datapath)->activate(SocketHooks::kOff);
    WEIR_ASSERT_OK(done);
    EXPECT_EQ(done->sock.removed, (Names{"sock_connect4", "sock_sendmsg4"}));
    EXPECT_TRUE(list_pins(pins().links()).empty());
    EXPECT_EQ(connect_in(cgroup_, 2), 0U);
    EXPECT_EQ(counter(kSeen1) + counter(kSeen2), 0U);
}

TEST_F(SockLinksTest, AnotherCgroupRootMovesThem) {
    WEIR_ASSERT_OK(start(1));
    const auto other = cgroup_ / "other";
    ASSERT_EQ(::mkdir(other.c_str(), 0755), 0);
    {
        auto moved = options(1);
        moved.cgroup_root = other;
        auto datapath = Datapath::open(moved);
        WEIR_ASSERT_OK(datapath);
        WEIR_ASSERT_OK((*datapath)->load({}));
        const auto done = (*datapath)->activate(SocketHooks::kAll);
        WEIR_ASSERT_OK(done);
        EXPECT_EQ(done->sock.moved, (Names{"sock_connect4", "sock_sendmsg4"}));
    }
    EXPECT_EQ(connect_in(cgroup_, 4), 0U);
    EXPECT_EQ(counter(kSeen1), 0U) << "still attached to the old cgroup";
    EXPECT_EQ(connect_in(other, 4), 0U);
    EXPECT_EQ(counter(kSeen1), 4U);
    ::rmdir(other.c_str());
}

TEST_F(SockLinksTest, EveryConnectDuringReplacementIsSeenByOneBuild) {
    WEIR_ASSERT_OK(start(1));
    Connector connector(cgroup_, UINT64_MAX);
    for (int round = 0; round < 6; ++round) {
        const auto next = start(round % 2 == 0 ? 2 : 1);
        EXPECT_TRUE(next) << next.error().message();
    }
    const Traffic& traffic = connector.stop();
    EXPECT_EQ(traffic.failed, 0U);
    EXPECT_GT(traffic.connects, 1000U);
    EXPECT_EQ(counter(kSeen1) + counter(kSeen2), traffic.connects);
    EXPECT_GT(counter(kSeen1), 0U);
    EXPECT_GT(counter(kSeen2), 0U);
}

}  // namespace
}  // namespace weir::datapath::test
