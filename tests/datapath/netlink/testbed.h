// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "datapath/netlink/netns.h"
#include "datapath/netlink/pod_link.h"

namespace weir::netlink::test {

/// Output of a shell command run in the calling thread's namespace; fails the test if it exits
/// non-zero.
std::string sh(const std::string& command);
/// Whether a shell command succeeds.
bool succeeds(const std::string& command);

/// A network namespace mounted at a path of its own, unmounted on destruction.
class MountedNs {
  public:
    MountedNs();
    ~MountedNs();
    MountedNs(const MountedNs&) = delete;
    MountedNs& operator=(const MountedNs&) = delete;
    MountedNs(MountedNs&&) = delete;
    MountedNs& operator=(MountedNs&&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] NetNs open() const;
    /// As sh(), inside.
    std::string sh(const std::string& command) const;
    [[nodiscard]] bool succeeds(const std::string& command) const;
    /// Unmounts it now, leaving the file.
    void vanish();

  private:
    std::filesystem::path path_;
    bool mounted_ = true;
};

/// A program that lets everything pass, for clsact.
Fd load_pass_program();
/// `tc` program of these instructions.
Fd load_program(const std::vector<uint64_t>& instructions);

/// A fresh network namespace as "the host", for each test; the thread stays in it.
class HostTest : public testing::Test {
  protected:
    void SetUp() override;

    PodLinks& pods() { return *pods_; }
    const HomeNetNs& home() { return *home_; }
    PodPrograms programs() const { return {pass_->get(), pass_->get()}; }
    /// A dual-stack pod 10.244.1.`n` and fd00:10:244:1::`n` in hex.
    static PodLinkSpec spec(unsigned n);

  private:
    std::optional<HomeNetNs> home_;
    std::unique_ptr<PodLinks> pods_;
    std::unique_ptr<Fd> pass_;
};

#define ASSERT_OK(expression)                                                \
    do {                                                                     \
        const auto& assert_ok_result = (expression);                         \
        ASSERT_TRUE(assert_ok_result) << assert_ok_result.error().message(); \
    } while (false)

}  // namespace weir::netlink::test
