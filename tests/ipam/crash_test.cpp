// SPDX-License-Identifier: Apache-2.0
// "After kill -9 at any point of ADD or DEL: no leak and no double allocation": a child process
// dies at its k-th change of the directory, before or (for a write) in the middle of it, for every
// k.
#include <set>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "ipam/pools.h"
#include "support/temp_dir.h"

namespace {
// -1: calls are neither counted nor fatal.
int calls_left = -1;

bool dies_now() {
    return calls_left > 0 && --calls_left == 0;
}
}  // namespace

extern "C" {
int __real_mkostemp(char* name, int flags);
ssize_t __real_write(int fd, const void* data, size_t size);
int __real_fsync(int fd);
int __real_rename(const char* from, const char* to);
int __real_unlink(const char* path);

int __wrap_mkostemp(char* name, int flags) {
    if (dies_now()) _exit(99);
    return __real_mkostemp(name, flags);
}
ssize_t __wrap_write(int fd, const void* data, size_t size) {
    if (dies_now()) {
        __real_write(fd, data, size / 2);
        _exit(99);
    }
    return __real_write(fd, data, size);
}
int __wrap_fsync(int fd) {
    if (dies_now()) _exit(99);
    return __real_fsync(fd);
}
int __wrap_rename(const char* from, const char* to) {
    if (dies_now()) _exit(99);
    return __real_rename(from, to);
}
int __wrap_unlink(const char* path) {
    if (dies_now()) _exit(99);
    return __real_unlink(path);
}
}

namespace weir::ipam {
namespace {

using std::chrono::seconds;

BootTime clock_now;

AttachmentKey key(int container) {
    return {.container = "c" + std::to_string(container), .ifname = "eth0"};
}

std::unique_ptr<Pools> start(const std::filesystem::path& dir, BootTime now,
                             const std::vector<Found>& existing) {
    clock_now = now;
    auto pools = Pools::open({.dir = dir, .rest = {}, .clock = [] { return clock_now; }}).value();
    EXPECT_TRUE(pools->set_ranges(
        {IpPrefix::parse("10.0.0.0/27").value(), IpPrefix::parse("fd00::/64").value()}));
    EXPECT_TRUE(pools->reconcile(existing));
    return pools;
}

// What an agent does in a life: a "1" in the shared progress file means that the pod was wired, as
// a runtime would have seen it; the file is the host of this test.
class Host {
  public:
    explicit Host(std::filesystem::path dir) : dir_(std::move(dir)) {
        std::filesystem::create_directories(dir_);
    }
    void wire(const Record& record) const {
        const int fd = ::open(path(record.key).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        std::string text;
        for (const IpAddress& address : record.addresses)
            text += address.to_string() + "\n";
        if (__real_write(fd, text.data(), text.size()) < 0) std::abort();
        ::close(fd);
    }
    void unwire(const AttachmentKey& gone) const { __real_unlink(path(gone).c_str()); }
    [[nodiscard]] std::vector<Found> list() const {
        std::vector<Found> all;
        for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
            Found found{.key = {.container = entry.path().filename(), .ifname = "eth0"},
                        .addresses = {}};
            const std::string text = read_file(entry.path()).value();
            for (size_t at = 0; at < text.size();) {
                const size_t end = text.find('\n', at);
                found.addresses.push_back(IpAddress::parse(text.substr(at, end - at)).value());
                at = end + 1;
            }
            all.push_back(std::move(found));
        }
        return all;
    }

  private:
    [[nodiscard]] std::filesystem::path path(const AttachmentKey& of) const {
        return dir_ / of.container;
    }
    std::filesystem::path dir_;
};

void add(Pools& pools, const Host& host, int container) {
    Claim claim;
    claim.key = key(container);
    const Record record = pools.allocate(claim).value();
    host.wire(record);
    if (!pools.commit(record.key)) std::abort();
}

void del(Pools& pools, const Host& host, int container) {
    host.unwire(key(container));
    if (!pools.release(key(container))) std::abort();
}

void live(const std::filesystem::path& dir, const Host& host) {
    auto pools = start(dir, seconds(1000), host.list());
    for (int i = 10; i < 14; ++i)
        add(*pools, host, i);
    for (const int i : {1, 11, 2, 12})
        del(*pools, host, i);
    add(*pools, host, 11);
    pools = nullptr;
    pools = start(dir, seconds(2000), host.list());
    del(*pools, host, 13);
    for (int i = 20; i < 24; ++i)
        add(*pools, host, i);
}

void expect_sound(Pools& pools, const Host& host) {
    std::map<AttachmentKey, std::vector<IpAddress>> on_host;
    for (Found& found : host.list())
        on_host.emplace(found.key, found.addresses);
    std::map<AttachmentKey, std::vector<IpAddress>> recorded;
    std::set<IpAddress> seen;
    for (Record& record : pools.list()) {
        for (const IpAddress& address : record.addresses) {
            EXPECT_TRUE(seen.insert(address).second) << address.to_string() << " is held twice";
        }
        recorded.emplace(record.key, record.addresses);
    }
    EXPECT_EQ(recorded, on_host) << "neither leaked nor lost";
    // All that is left can be had, and once only: /27 has 29.
    clock_now += seconds(60);
    size_t free = 0;
    for (int i = 100; i < 200; ++i, ++free) {
        Claim claim;
        claim.key = key(i);
        auto more = pools.allocate(claim);
        if (!more) break;
        for (const IpAddress& address : more->addresses)
            EXPECT_TRUE(seen.insert(address).second);
    }
    EXPECT_EQ(free + recorded.size(), 29U);
}

// Exit status of a child that dies at its `step`-th change; 0 when it had fewer.
int live_and_die(const std::filesystem::path& dir, const Host& host, int step) {
    const pid_t child = ::fork();
    if (child == 0) {
        calls_left = step;
        live(dir, host);
        _exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(IpamCrash, AtEveryStep) {
    int step = 1;
    for (;; ++step) {
        SCOPED_TRACE(testing::Message() << "step " << step);
        const test::TempDir dir;
        const Host host(dir.path() / "host");
        {
            auto pools = start(dir.path() / "ipam", seconds(100), {});
            for (int i = 0; i < 5; ++i)
                add(*pools, host, i);
        }
        const int status = live_and_die(dir.path() / "ipam", host, step);
        ASSERT_TRUE(status == 0 || status == 99) << status;
        auto pools = start(dir.path() / "ipam", seconds(3000), host.list());
        expect_sound(*pools, host);
        if (HasFailure() || status == 0) break;
    }
    EXPECT_GT(step, 100) << "the steps were not counted";
}

}  // namespace
}  // namespace weir::ipam
