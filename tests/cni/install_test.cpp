// SPDX-License-Identifier: Apache-2.0
#include <fstream>

#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/cni_install.h"
#include "common/fd.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace weir::agent {
namespace {

class CniInstallTest : public testing::Test {
  protected:
    [[nodiscard]] CniInstall install() const {
        return {.binary = WEIR_CNI,
                .bin_dir = dir_.path() / "opt/cni/bin",
                .conflist = dir_.path() / "net.d/05-weir.conflist"};
    }
    test::TempDir dir_;
};

ino_t inode_of(const std::filesystem::path& path) {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_ino;
}

TEST_F(CniInstallTest, PlacesPluginAndConfiguration) {
    ASSERT_TRUE(install_cni(install()));
    const auto list = boost::json::parse(read_file(install().conflist).value());
    EXPECT_EQ(list.at("name").as_string(), "weir");
    // Runtimes with an old libcni read this one and refuse 1.1.0.
    EXPECT_EQ(list.at("cniVersion").as_string(), "1.0.0");
    EXPECT_EQ(list.at("cniVersions").as_array().back().as_string(), "1.1.0");
    EXPECT_EQ(list.at("plugins").at(0).at("type").as_string(), "weir-cni");
    const auto installed = (install().bin_dir / "weir-cni").string();
    EXPECT_EQ(test::run({installed}, {.environment = {{{"CNI_COMMAND", "VERSION"}}}, .input = "{}"})
                  .status,
              0);
    const ino_t before = inode_of(installed);
    ASSERT_TRUE(install_cni(install()));
    EXPECT_EQ(inode_of(installed), before) << "nothing new, nothing written";
}

// A plugin that runs is not overwritten (ETXTBSY), and the next one is the new one.
TEST_F(CniInstallTest, ReplacesARunningPlugin) {
    ASSERT_TRUE(install_cni(install()));
    const auto installed = (install().bin_dir / "weir-cni").string();
    // It waits for the end of its stdin.
    test::Process running({"/bin/sh", "-c", "sleep 100 | CNI_COMMAND=VERSION " + installed});
    std::ofstream(dir_.path() / "newer") << "#!/bin/sh\necho newer\n";
    CniInstall newer = install();
    newer.binary = dir_.path() / "newer";
    ASSERT_TRUE(install_cni(newer));
    EXPECT_EQ(test::run({installed}).out, "newer\n");
    EXPECT_TRUE(running.running());
    test::succeeds("pkill -P " + std::to_string(running.pid()));
}

// What real runtimes do: containerd's watcher reacts to renames within the directory, not to files
// that appear; and it reads only names that end as configurations do.
TEST_F(CniInstallTest, TheConfigurationAppearsByRename) {
    std::filesystem::create_directories(install().conflist.parent_path());
    const Fd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    ASSERT_GE(::inotify_add_watch(watch.get(), install().conflist.parent_path().c_str(),
                                  IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO),
              0);
    ASSERT_TRUE(install_cni(install()));
    alignas(inotify_event) std::array<char, 4096> events{};
    const ssize_t size = ::read(watch.get(), events.data(), events.size());
    std::vector<std::string> seen;
    for (ssize_t at = 0; at < size;) {
        const auto* event = reinterpret_cast<const inotify_event*>(events.data() + at);
        const std::string name = event->name;
        if ((event->mask & IN_CREATE) != 0) {
            EXPECT_FALSE(name.ends_with(".conf") || name.ends_with(".conflist") ||
                         name.ends_with(".json"));
        }
        if ((event->mask & IN_MOVED_FROM) != 0) seen.push_back("from");
        if ((event->mask & IN_MOVED_TO) != 0) seen.push_back("to " + name);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
    EXPECT_THAT(seen, testing::ElementsAre("from", "to 05-weir.conflist"));
}

TEST_F(CniInstallTest, UninstallsItsOwnOnly) {
    ASSERT_TRUE(install_cni(install()));
    std::ofstream(dir_.path() / "net.d/10-other.conflist") << "{}";
    ASSERT_TRUE(uninstall_cni(install()));
    ASSERT_TRUE(uninstall_cni(install()));
    EXPECT_FALSE(std::filesystem::exists(install().conflist));
    EXPECT_FALSE(std::filesystem::exists(install().bin_dir / "weir-cni"));
    EXPECT_TRUE(std::filesystem::exists(dir_.path() / "net.d/10-other.conflist"));
}

}  // namespace
}  // namespace weir::agent
