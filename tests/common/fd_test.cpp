// SPDX-License-Identifier: Apache-2.0
#include "common/fd.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace weir {
namespace {

namespace fs = std::filesystem;

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

Fd open_null() {
    return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

class FileTest : public testing::Test {
  protected:
    FileTest() {
        std::string pattern = (fs::temp_directory_path() / "weir-fd-XXXXXX").string();
        dir_ = ::mkdtemp(pattern.data());
    }
    ~FileTest() override { fs::remove_all(dir_); }
    fs::path dir_;
};

TEST(Fd, ClosesOnDestruction) {
    int number = -1;
    {
        const Fd fd = open_null();
        number = fd.get();
        EXPECT_TRUE(is_open(number));
    }
    EXPECT_FALSE(is_open(number));
}

TEST(Fd, MoveHandsOver) {
    Fd a = open_null();
    const int number = a.get();
    {
        Fd b = std::move(a);
        EXPECT_EQ(b.get(), number);
        a = std::move(b);
    }
    EXPECT_TRUE(is_open(number));
}

TEST(Fd, ReleaseGivesItAway) {
    int number = -1;
    {
        Fd fd = open_null();
        number = fd.release();
    }
    EXPECT_TRUE(is_open(number));
    ::close(number);
}

TEST_F(FileTest, ReadsBackWhatWasWritten) {
    const std::string content(200000, 'x');
    ASSERT_TRUE(write_file_atomic(dir_ / "a", content).has_value());
    EXPECT_EQ(read_file(dir_ / "a").value(), content);
}

TEST_F(FileTest, MissingFileIsNamed) {
    const auto read = read_file(dir_ / "none");
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code(), Errc::kNotFound);
    EXPECT_NE(read.error().message().find((dir_ / "none").string()), std::string::npos);
}

TEST_F(FileTest, AtomicWriteReplacesAndLeavesNothingBehind) {
    ASSERT_TRUE(write_file_atomic(dir_ / "a", "old").has_value());
    const Fd reader(::open((dir_ / "a").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(write_file_atomic(dir_ / "a", "new", 0600).has_value());
    std::array<char, 8> seen{};
    EXPECT_EQ(::read(reader.get(), seen.data(), seen.size()), 3);
    EXPECT_STREQ(seen.data(), "old") << "an open reader keeps the whole old file";
    EXPECT_EQ(read_file(dir_ / "a").value(), "new");
    struct stat info{};
    ASSERT_EQ(::stat((dir_ / "a").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);
    EXPECT_EQ(std::distance(fs::directory_iterator(dir_), fs::directory_iterator()), 1);
}

TEST_F(FileTest, FailedAtomicWriteKeepsTheOldFileAndCleansUp) {
    fs::create_directory(dir_ / "a");  // rename over a directory fails
    const auto written = write_file_atomic(dir_ / "a", "new");
    ASSERT_FALSE(written.has_value());
    EXPECT_NE(written.error().message().find((dir_ / "a").string()), std::string::npos);
    EXPECT_TRUE(fs::is_directory(dir_ / "a"));
    EXPECT_EQ(std::distance(fs::directory_iterator(dir_), fs::directory_iterator()), 1);
    EXPECT_FALSE(write_file_atomic(dir_ / "no" / "a", "new").has_value());
}

}  // namespace
}  // namespace weir
