// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "datapath/datapath.h"
#include "weir/maps.h"

namespace weir::datapath::test {

/// How many maps there are.
#define WEIR_ONE_MAP(name, what) +1
inline constexpr size_t kMaps = 0 WEIR_MAP_LIST(WEIR_ONE_MAP);
#undef WEIR_ONE_MAP

/// Fails the test with the error's words.
#define WEIR_ASSERT_OK(expression)                                       \
    do {                                                                 \
        const auto& weir_ok_result = (expression);                       \
        ASSERT_TRUE(weir_ok_result) << weir_ok_result.error().message(); \
    } while (false)

/// The file of a compiled test object, kept for the life of the process.
ObjectImage test_object(const std::string& name);
/// The build that answers MARK (1 or 2).
Build test_build(int mark);

/// Capacities that keep tests quick.
TableSizes small_sizes();

/// Mount and network namespaces of the test's own, a BPF file system and a cgroup in it.
class DatapathTest : public testing::Test {
  protected:
    void SetUp() override;
    void TearDown() override;

    Datapath::Options options(int mark) const;
    /// open, load, activate.
    Result<std::unique_ptr<Datapath>> start(int mark) const;
    /// What the stub of a hook returns for a packet; negative: the run failed.
    int run_stub(std::string_view hook) const;
    /// The counters' sum at an index over all CPUs.
    uint64_t counter(uint32_t index) const;

    std::filesystem::path bpffs_;
    std::filesystem::path cgroup_;
    PinDir pins() const { return PinDir(bpffs_); }
};

/// Runs a command by sh; its exit status.
int sh(const std::string& command);

}  // namespace weir::datapath::test
