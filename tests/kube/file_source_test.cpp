// SPDX-License-Identifier: Apache-2.0
#include "kube/file_source.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kube/temp_tree.h"

namespace weir::kube {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

std::string service(std::string_view name, int port) {
    return fmt::format(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: shop}}\n"
        "spec:\n  ports: [{{port: {}}}]\n",
        name, port);
}

class FileSourceTest : public testing::Test {
  protected:
    FileSourceTest() {
        fs::create_directory(tree_.path("d"));
        store_.subscribe([this](const Delta&) { ++published_; });
    }
    void open(std::vector<fs::path> directories) {
        auto source = FileSource::open(store_, std::move(directories));
        ASSERT_TRUE(source.has_value()) << source.error().message();
        source_.emplace(std::move(*source));
        store_.publish();
    }
    void open() { open({tree_.path("d")}); }

    /// Drives the source as an event loop would, until it has been quiet for longer than a burst.
    void settle() {
        pollfd waiting{.fd = source_->fd(), .events = POLLIN, .revents = 0};
        while (::poll(&waiting, 1, 40) > 0) {
            ASSERT_TRUE(source_->on_readable().has_value());
        }
        store_.publish();
    }
    /// "web:80 api:81", by name.
    std::string services() {
        settle();
        std::map<std::string, int> found;
        store_.for_each<model::Service>(
            [&](const model::Service& s) { found[s.meta.name.name.str()] = s.ports[0].port; });
        std::string out;
        for (const auto& [name, port] : found) {
            out += fmt::format("{}{}:{}", out.empty() ? "" : " ", name, port);
        }
        return out;
    }
    std::vector<std::string> problems() {
        std::vector<std::string> out;
        for (const auto& problem : source_->problems()) {
            out.push_back(problem.to_string().substr(tree_.root().string().size() + 1));
        }
        return out;
    }

    TempTree tree_;
    Store store_;
    std::optional<FileSource> source_;
    int published_ = 0;
};

TEST_F(FileSourceTest, ReadsWhatIsThereAtOnce) {
    tree_.write("d/a.yaml", service("web", 80));
    tree_.write("d/b.yml", service("api", 81));
    tree_.write(
        "d/c.json",
        R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":"shop"},)"
        R"("spec":{"ports":[{"port":82}]}})");
    tree_.write("d/.hidden.yaml", service("no", 1));
    tree_.write("d/#edit#.yaml", service("no", 1));
    tree_.write("d/a.yaml~", service("no", 1));
    tree_.write("d/notes.txt", service("no", 1));
    fs::create_directory(tree_.path("d/sub.yaml"));
    open();
    EXPECT_TRUE(source_->synced());
    EXPECT_EQ(published_, 1);
    EXPECT_EQ(services(), "api:81 db:82 web:80");
    EXPECT_THAT(problems(), IsEmpty());
    EXPECT_EQ(store_.label(store_.origin({Kind::kService, {"shop", "web"}})->source),
              tree_.path("d/a.yaml").string());
    EXPECT_EQ(store_.origin({Kind::kService, {"shop", "web"}})->line, 2U);
}

TEST_F(FileSourceTest, FollowsWritesRenamesAndDeletions) {
    open();
    EXPECT_EQ(services(), "");
    tree_.write("d/a.yaml", service("web", 80));
    EXPECT_EQ(services(), "web:80");
    tree_.write("d/a.yaml", service("web", 81));
    EXPECT_EQ(services(), "web:81");
    tree_.replace("d/a.yaml", service("web", 82) + service("api", 1));
    EXPECT_EQ(services(), "api:1 web:82");
    fs::rename(tree_.path("d/a.yaml"), tree_.path("d/b.yaml"));
    EXPECT_EQ(services(), "api:1 web:82");
    fs::rename(tree_.path("d/b.yaml"), tree_.path("d/b.off"));
    EXPECT_EQ(services(), "");
    fs::create_hard_link(tree_.path("d/b.off"), tree_.path("d/c.yaml"));
    EXPECT_EQ(services(), "api:1 web:82");
    fs::remove(tree_.path("d/c.yaml"));
    EXPECT_EQ(services(), "");
    tree_.write("outside.yaml", service("moved", 5));
    fs::rename(tree_.path("outside.yaml"), tree_.path("d/in.yaml"));
    EXPECT_EQ(services(), "moved:5");
}

TEST_F(FileSourceTest, ABurstIsToldOnce) {
    open();
    published_ = 0;
    for (int i = 0; i < 20; ++i)
        tree_.write(fmt::format("d/{}.yaml", i), service("web", i + 1));
    settle();
    EXPECT_LE(published_, 3) << "gathered for some milliseconds";
    EXPECT_EQ(services(), "web:1");
}

TEST_F(FileSourceTest, ALoneChangeIsTakenAtOnceAndWhatFollowsIsGathered) {
    open();
    settle();
    published_ = 0;
    tree_.replace("d/a.yaml", service("web", 80));
    ASSERT_TRUE(source_->on_readable().has_value());
    store_.publish();
    EXPECT_EQ(published_, 1) << "without waiting for more";
    for (int i = 0; i < 20; ++i) {
        tree_.replace(fmt::format("d/b{}.yaml", i), service(fmt::format("api-{}", i), i + 1));
        ASSERT_TRUE(source_->on_readable().has_value());
        store_.publish();
    }
    settle();
    EXPECT_EQ(store_.count<model::Service>(), 21U);
    EXPECT_LT(published_, 15) << "the rest in batches";
}

TEST_F(FileSourceTest, NothingIsMissingBetweenTheHalvesOfARename) {
    tree_.write("d/a.yaml", service("web", 80));
    open();
    settle();
    int missing = 0;
    store_.subscribe([&](const Delta&) {
        missing += store_.find<model::Service>({"shop", "web"}) == nullptr ? 1 : 0;
    });
    // The kernel may wake a reader after the first of the two events.
    fs::rename(tree_.path("d/a.yaml"), tree_.path("elsewhere"));
    ASSERT_TRUE(source_->on_readable().has_value());
    store_.publish();
    fs::rename(tree_.path("elsewhere"), tree_.path("d/b.yaml"));
    ASSERT_TRUE(source_->on_readable().has_value());
    settle();
    EXPECT_EQ(missing, 0);
    EXPECT_EQ(services(), "web:80");
}

TEST_F(FileSourceTest, AnUnfinishedFileChangesNothingUntilItIsWhole) {
    tree_.write("d/a.yaml", service("web", 80));
    open();
    const std::string whole = service("web", 81) + "  type: ClusterIP\n";
    {
        const int fd = ::open(tree_.path("d/a.yaml").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
        ASSERT_GE(fd, 0);
        const Fd file(fd);
        ASSERT_GT(::write(fd, whole.data(), 40), 0);
        EXPECT_EQ(services(), "web:80") << "still open for writing";
        ASSERT_GT(::write(fd, whole.data() + 40, whole.size() - 40), 0);
    }
    EXPECT_EQ(services(), "web:81");
}

TEST_F(FileSourceTest, ATornFileKeepsTheLastGoodStateAndIsToldUntilMended) {
    tree_.write("d/a.yaml", service("web", 80) + service("api", 90));
    open();
    tree_.write("d/a.yaml", "apiVersion: v1\nkind: [Serv");
    EXPECT_EQ(services(), "api:90 web:80");
    ASSERT_EQ(source_->problems().size(), 1U);
    const Problem torn = source_->problems()[0];
    EXPECT_EQ(torn.file, tree_.path("d/a.yaml").string());
    EXPECT_EQ(torn.line, 2U);
    tree_.write("d/other.yaml", service("db", 1));
    EXPECT_EQ(services(), "api:90 db:1 web:80");
    ASSERT_EQ(source_->problems().size(), 1U);
    EXPECT_EQ(source_->problems()[0].since, torn.since);
    tree_.write("d/a.yaml", service("web", 81));
    EXPECT_EQ(services(), "db:1 web:81");
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(FileSourceTest, ABadDocumentKeepsItsObjectAndTheRestApplies) {
    tree_.write("d/a.yaml", service("web", 80) + service("api", 90) + service("db", 1));
    open();
    tree_.write("d/a.yaml", service("web", 70000) + service("api", 91) + service("new", 99999));
    EXPECT_EQ(services(), "api:91 web:80");
    EXPECT_THAT(problems(),
                ElementsAre("d/a.yaml:6: Service shop/web: spec.ports[0].port: 70000 is not within "
                            "1 to 65535",
                            "d/a.yaml:18: Service shop/new: spec.ports[0].port: 99999 is not "
                            "within 1 to 65535"));
    tree_.write("d/a.yaml", service("web", 81) + service("api", 91));
    EXPECT_EQ(services(), "api:91 web:81");
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(FileSourceTest, AMistypedKindKeepsTheObjectButAForeignOneDoesNot) {
    const std::string deployment =
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n";
    tree_.write("d/a.yaml", deployment + service("web", 80));
    open();
    EXPECT_EQ(services(), "web:80");
    ASSERT_THAT(problems(), ElementsAre(HasSubstr("Deployment shop/web: kind: \"Deployment\"")));
    std::string mistyped = service("web", 81);
    mistyped.replace(mistyped.find("Service"), 7, "Servce");
    tree_.write("d/a.yaml", deployment + mistyped);
    EXPECT_EQ(services(), "web:80");
    tree_.write("d/a.yaml", mistyped);
    EXPECT_EQ(services(), "web:80") << "as long as it stands there";
    tree_.write("d/a.yaml", deployment + service("web", 82));
    EXPECT_EQ(services(), "web:82");
    tree_.write("d/a.yaml", deployment);
    EXPECT_EQ(services(), "") << "the Deployment was there before, it is not the Service";
}

TEST_F(FileSourceTest, WhatIsDefinedTwiceIsOfTheFirstFile) {
    tree_.write("d/b.yaml", service("web", 2));
    open();
    tree_.write("d/a.yaml", service("web", 1));
    EXPECT_EQ(services(), "web:1");
    EXPECT_THAT(problems(), ElementsAre(fmt::format("d/b.yaml:2: Service shop/web: is defined in "
                                                    "{}:2 already, which stays in force",
                                                    tree_.path("d/a.yaml").string())));
    fs::remove(tree_.path("d/a.yaml"));
    EXPECT_EQ(services(), "web:2");
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(FileSourceTest, AnEarlierDirectoryGoesFirst) {
    fs::create_directory(tree_.path("first"));
    open({tree_.path("first"), tree_.path("d")});
    tree_.write("d/a.yaml", service("web", 2));
    EXPECT_EQ(services(), "web:2");
    tree_.write("first/z.yaml", service("web", 1));
    EXPECT_EQ(services(), "web:1");
}

TEST_F(FileSourceTest, ADirectoryMayComeLater) {
    open({tree_.path("x/y/z")});
    EXPECT_FALSE(source_->synced());
    EXPECT_THAT(problems(),
                ElementsAre(HasSubstr("x/y/z: directory cannot be read: No such file")));
    fs::create_directories(tree_.path("x/y"));
    settle();
    EXPECT_FALSE(source_->synced());
    fs::create_directory(tree_.path("x/y/z"));
    tree_.write("x/y/z/a.yaml", service("web", 80));
    EXPECT_EQ(services(), "web:80");
    EXPECT_TRUE(source_->synced());
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(FileSourceTest, ADirectoryMayBeRemovedAndMadeAgain) {
    tree_.write("d/a.yaml", service("web", 80));
    open();
    fs::remove_all(tree_.path("d"));
    EXPECT_EQ(services(), "") << "its files were deleted";
    EXPECT_EQ(problems().size(), 1U);
    fs::create_directory(tree_.path("d"));
    EXPECT_EQ(services(), "");
    tree_.write("d/a.yaml", service("web", 81));
    EXPECT_EQ(services(), "web:81");
    EXPECT_THAT(problems(), IsEmpty());
    fs::remove_all(tree_.path("d"));
    fs::create_directory(tree_.path("d"));
    tree_.write("d/b.yaml", service("api", 1));
    EXPECT_EQ(services(), "api:1") << "all in one burst";
}

TEST_F(FileSourceTest, ADirectoryThatIsMovedAwayKeepsItsObjectsInForce) {
    tree_.write("d/a.yaml", service("web", 80));
    fs::create_directory(tree_.path("new"));
    tree_.write("new/a.yaml", service("web", 81));
    open();
    fs::rename(tree_.path("d"), tree_.path("old"));
    EXPECT_EQ(services(), "web:80");
    EXPECT_THAT(problems(), ElementsAre(HasSubstr("what was read from it before stays in force")));
    fs::remove(tree_.path("old/a.yaml"));
    EXPECT_EQ(services(), "web:80") << "that is another directory now";
    fs::rename(tree_.path("new"), tree_.path("d"));
    EXPECT_EQ(services(), "web:81");
    tree_.write("d/a.yaml", service("web", 82));
    EXPECT_EQ(services(), "web:82");
}

TEST_F(FileSourceTest, ADirectoryAboveMayBeSwapped) {
    fs::create_directories(tree_.path("up/d"));
    fs::create_directories(tree_.path("up2/d"));
    tree_.write("up/d/a.yaml", service("web", 1));
    tree_.write("up2/d/a.yaml", service("web", 2));
    open({tree_.path("up/d")});
    EXPECT_EQ(services(), "web:1");
    fs::rename(tree_.path("up"), tree_.path("gone"));
    fs::rename(tree_.path("up2"), tree_.path("up"));
    EXPECT_EQ(services(), "web:2");
    tree_.write("up/d/a.yaml", service("web", 3));
    EXPECT_EQ(services(), "web:3");
}

TEST_F(FileSourceTest, ALinkedDirectoryMayBePointedElsewhere) {
    fs::create_directory(tree_.path("v1"));
    fs::create_directory(tree_.path("v2"));
    tree_.write("v1/a.yaml", service("web", 1));
    tree_.write("v2/a.yaml", service("web", 2));
    fs::create_directory_symlink("v1", tree_.path("link"));
    open({tree_.path("link")});
    EXPECT_EQ(services(), "web:1");
    fs::create_directory_symlink("v2", tree_.path("next"));
    fs::rename(tree_.path("next"), tree_.path("link"));
    EXPECT_EQ(services(), "web:2");
    tree_.write("v2/a.yaml", service("web", 3));
    EXPECT_EQ(services(), "web:3");
}

TEST_F(FileSourceTest, AMountedConfigMapIsSwappedAtOnce) {
    const auto version = [&](std::string_view name, int port) {
        fs::create_directory(tree_.path(fmt::format("d/{}", name)));
        tree_.write(fmt::format("d/{}/a.yaml", name), service("web", port));
    };
    version("..1", 1);
    fs::create_directory_symlink("..1", tree_.path("d/..data"));
    fs::create_symlink("..data/a.yaml", tree_.path("d/a.yaml"));
    open();
    EXPECT_EQ(services(), "web:1");
    version("..2", 2);
    EXPECT_EQ(services(), "web:1");
    fs::create_directory_symlink("..2", tree_.path("d/..data_tmp"));
    fs::rename(tree_.path("d/..data_tmp"), tree_.path("d/..data"));
    EXPECT_EQ(services(), "web:2");
    fs::remove_all(tree_.path("d/..1"));
    EXPECT_EQ(services(), "web:2");
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(FileSourceTest, WhatALinkLeadsToIsFollowed) {
    fs::create_directory(tree_.path("real"));
    tree_.write("real/target", service("web", 1));
    open();
    fs::create_symlink(tree_.path("real/target"), tree_.path("d/a.yaml"));
    EXPECT_EQ(services(), "web:1");
    tree_.write("real/target", service("web", 2));
    EXPECT_EQ(services(), "web:2");
    tree_.replace("real/target", service("web", 3));
    EXPECT_EQ(services(), "web:3");
    fs::remove(tree_.path("real/target"));
    EXPECT_EQ(services(), "web:3");
    EXPECT_THAT(problems(), ElementsAre("d/a.yaml: cannot be read: No such file or directory"));
    fs::remove(tree_.path("d/a.yaml"));
    EXPECT_EQ(services(), "");
    EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(FileSourceTest, AFileThatIsTooLargeOrNoneIsToldAndKept) {
    tree_.write("d/a.yaml", service("web", 80));
    open();
    fs::resize_file(tree_.path("d/a.yaml"), FileSource::kMaxFileBytes + 1);
    tree_.write("d/touch.yaml", "");
    fs::remove(tree_.path("d/touch.yaml"));
    ASSERT_EQ(::chmod(tree_.path("d/a.yaml").c_str(), 0600), 0);  // an event for it
    EXPECT_EQ(services(), "web:80");
    EXPECT_THAT(problems(), ElementsAre("d/a.yaml: is over 64 MiB; split it"));
    fs::remove(tree_.path("d/a.yaml"));
    ASSERT_EQ(::mkfifo(tree_.path("d/a.yaml").c_str(), 0600), 0);
    settle();
    EXPECT_THAT(problems(), ElementsAre("d/a.yaml: is no regular file"));
}

TEST_F(FileSourceTest, LostEventsAreMadeUpFor) {
    open();
    // Not read meanwhile: over the kernel's queue (fs.inotify.max_queued_events) events are lost.
    int limit = 16384;
    std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> limit;
    if (limit > 100000) GTEST_SKIP() << "the queue is too long to fill it here: " << limit;
    tree_.write("d/0.tmp", "");
    tree_.write("d/1.tmp", "");
    for (int i = 0; i <= limit; ++i) {
        ASSERT_EQ(::chmod(tree_.path(fmt::format("d/{}.tmp", i % 2)).c_str(), 0600), 0);
    }
    tree_.write("d/a.yaml", service("web", 80));
    EXPECT_EQ(services(), "web:80");
}

}  // namespace
}  // namespace weir::kube
