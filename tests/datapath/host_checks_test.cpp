// SPDX-License-Identifier: Apache-2.0
#include "datapath/host_checks.h"

#include <array>
#include <cstdio>
#include <functional>

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "common/fd.h"
#include "datapath/features.h"

namespace weir::datapath {
namespace {

namespace fs = std::filesystem;

/// Runs `body` in a child, so that what it does to its namespaces goes with it; its answer as text.
std::string in_child(const std::function<std::string()>& body) {
    std::array<int, 2> pipe{};
    EXPECT_EQ(::pipe(pipe.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        const std::string answer = body();
        (void)!::write(pipe[1], answer.data(), answer.size());
        ::_exit(0);
    }
    ::close(pipe[1]);
    std::string answer(4096, '\0');
    const ssize_t length = ::read(pipe[0], answer.data(), answer.size());
    answer.resize(length > 0 ? static_cast<size_t>(length) : 0);
    ::close(pipe[0]);
    ::waitpid(child, nullptr, 0);
    return answer;
}

template <typename T>
std::string words(const Result<T>& result) {
    return result ? "ok" : result.error().message();
}

fs::path cgroup2_mount() {
    const fs::path hybrid = "/sys/fs/cgroup/unified";
    return fs::exists(hybrid) ? hybrid : hybrid.parent_path();
}

/// A cgroup of the test's own.
class HostChecksTest : public testing::Test {
  protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        own_ = cgroup2_mount() / ("weir-hc-" + std::to_string(::getpid()));
        ASSERT_EQ(::mkdir(own_.c_str(), 0755), 0);
        dir_ = "/tmp/weir-hc-" + std::to_string(::getpid());
        fs::create_directory(dir_);
    }
    void TearDown() override {
        ::rmdir(own_.c_str());
        ::rmdir(dir_.c_str());
    }
    /// In a child: joins the test's cgroup, then a cgroup namespace rooted there with its own mount
    /// of cgroup2 at dir_.
    std::string in_private_cgroup_namespace(const std::function<std::string()>& body) const {
        return in_child([&]() -> std::string {
            const std::string pid = std::to_string(::getpid());
            if (!write_procs(own_, pid)) return "cannot join the cgroup";
            if (::unshare(CLONE_NEWCGROUP | CLONE_NEWNS) != 0) return "cannot unshare";
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
            if (::mount("none", dir_.c_str(), "cgroup2", 0, nullptr) != 0) return "cannot mount";
            const std::string answer = body();
            ::umount2(dir_.c_str(), MNT_DETACH);
            return answer;
        });
    }
    static bool write_procs(const fs::path& cgroup, const std::string& pid) {
        FILE* file = std::fopen((cgroup / "cgroup.procs").c_str(), "w");
        if (file == nullptr) return false;
        const bool written = std::fputs(pid.c_str(), file) >= 0;
        return (std::fclose(file) == 0) && written;
    }

    fs::path own_;
    fs::path dir_;
};

TEST_F(HostChecksTest, FindsTheHostsRootInUnifiedAndHybridLayouts) {
    const auto root = find_cgroup_root({});
    ASSERT_TRUE(root) << root.error().message();
    EXPECT_EQ(root->path, cgroup2_mount());
    EXPECT_FALSE(root->subtree);
    EXPECT_GT(root->id, 0U);
}

TEST_F(HostChecksTest, AnExplicitSubtreeIsTakenAndFlagged) {
    const auto root = find_cgroup_root(own_);
    ASSERT_TRUE(root) << root.error().message();
    EXPECT_TRUE(root->subtree);
    struct stat status{};
    ASSERT_EQ(::stat(own_.c_str(), &status), 0);
    EXPECT_EQ(root->id, status.st_ino);
}

TEST_F(HostChecksTest, AnExplicitPathMustBeCgroup2) {
    EXPECT_EQ(find_cgroup_root("/tmp").error().code(), Errc::kInvalid);
    EXPECT_EQ(find_cgroup_root("/nonexistent").error().code(), Errc::kNotFound);
}

TEST_F(HostChecksTest, APrivateCgroupNamespaceIsRefusedWithTheMountToAdd) {
    const std::string answer =
        in_private_cgroup_namespace([&] { return words(find_cgroup_root_below(dir_, "/proc")); });
    EXPECT_NE(answer.find("private cgroup namespace"), std::string::npos) << answer;
    EXPECT_NE(answer.find("--cgroupns=host"), std::string::npos) << answer;
}

TEST_F(HostChecksTest, NoCgroup2AtAllNamesTheMount) {
    const auto root = find_cgroup_root_below(dir_, "/proc");
    ASSERT_FALSE(root);
    EXPECT_EQ(root.error().code(), Errc::kNotFound);
    EXPECT_NE(root.error().message().find("mount -t cgroup2"), std::string::npos);
}

TEST_F(HostChecksTest, BpffsMustBeOne) {
    const auto checked = check_bpffs(dir_);
    ASSERT_FALSE(checked);
    EXPECT_NE(checked.error().message().find("mount -t bpf bpf " + dir_.string()),
              std::string::npos);
}

TEST_F(HostChecksTest, ABpffsThatOnlyWeSeeIsRefused) {
    const std::string answer = in_child([&]() -> std::string {
        ::unshare(CLONE_NEWNS);
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
        if (::mount("bpf", dir_.c_str(), "bpf", 0, nullptr) != 0) return "cannot mount";
        return words(check_bpffs(dir_));
    });
    EXPECT_NE(answer.find("private to this mount namespace"), std::string::npos) << answer;
    EXPECT_NE(answer.find("Bidirectional"), std::string::npos) << answer;
}

TEST_F(HostChecksTest, TheHostsBpffsIsTakenAlsoFromAnotherMountNamespace) {
    ASSERT_EQ(::mount("bpf", dir_.c_str(), "bpf", 0, nullptr), 0);
    EXPECT_EQ(words(check_bpffs(dir_)), "ok");
    const std::string answer = in_child([&] {
        ::unshare(CLONE_NEWNS);
        return words(check_bpffs(dir_ / "."));
    });
    EXPECT_EQ(answer, "ok");
    ASSERT_EQ(::umount(dir_.c_str()), 0);
}

TEST_F(HostChecksTest, ABpffsIsMountedWhereThereIsNone) {
    const std::string answer = in_child([&]() -> std::string {
        ::unshare(CLONE_NEWNS);
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
        const auto first = mount_bpffs(dir_);
        const auto second = mount_bpffs(dir_);
        if (!first || !second) return words(first) + words(second);
        return fmt::format("{} {}", *first, *second);
    });
    EXPECT_EQ(answer, "true false");
    const auto nowhere = mount_bpffs("/nonexistent/bpf");
    ASSERT_FALSE(nowhere);
    EXPECT_NE(nowhere.error().message().find("/nonexistent/bpf"), std::string::npos);
}

TEST(MountinfoTest, ReadsPropagation) {
    const auto mounts = parse_mountinfo(
        "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw\n"
        "broken line\n"
        "37 35 0:33 / /sys/fs/bpf rw - bpf bpf rw,mode=700\n");
    ASSERT_EQ(mounts.size(), 2U);
    EXPECT_EQ(mounts[0].master, 1U);
    EXPECT_EQ(mounts[0].shared, 7U);
    EXPECT_EQ(mounts[0].type, "ext3");
    EXPECT_EQ(mounts[1].point, "/sys/fs/bpf");
    EXPECT_EQ(mounts[1].device, "0:33");
    EXPECT_FALSE(mounts[1].shared);
}

TEST_F(HostChecksTest, FeaturesOfASupportedKernelArePresent) {
    for (const Feature& feature : probe_features()) {
        EXPECT_FALSE(feature.why.empty()) << feature.name;
        if (feature.required) EXPECT_TRUE(feature.present) << feature.name << ": " << feature.why;
    }
}

}  // namespace
}  // namespace weir::datapath
