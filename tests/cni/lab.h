// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <boost/json/value.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/process.h"

namespace weir::test {

/// A host of its own for one test: fresh network and mount namespaces with an empty /run, an
/// agent's side of CNI in a process, and the shipped plugin run as a runtime runs it. All of it
/// goes with the test's process.
class Lab : public testing::Test {
  protected:
    void SetUp() override;
    void TearDown() override;

    /// Starts it and waits until it is ready.
    void start_agent(const std::string& cidrs = "10.1.0.0/24,fd00:1::/64");
    void kill_agent() { agent_.reset(); }
    Process& agent() { return *agent_; }

    /// Changes below a directory of the machine stay within this test.
    void cover(const std::string& directory);
    static void make_pod(const std::string& name);
    static void remove_pod(const std::string& name);
    static std::string netns(const std::string& name) { return "/run/netns/" + name; }

    /// The network configuration with `more` (",\"key\":value") in it.
    static std::string config(const std::string& more = "", const std::string& version = "1.1.0",
                              const std::string& network = "weir");
    static Variables variables(const std::string& command, const std::string& pod);
    static Outcome run_plugin(const Variables& variables, const std::string& input = config());
    static Outcome plugin(const std::string& command, const std::string& pod,
                          const std::string& input = config());
    /// ADD must succeed; its result.
    static boost::json::value add(const std::string& pod, const std::string& input = config());
    static unsigned code_of(const Outcome& finished);
    static std::string address_of(const boost::json::value& result, size_t index);

    /// Names of pods' links on the host, by the kernel; and records, by the directory.
    static size_t links();
    static size_t records();
    static constexpr const char* kDir = "/run/weir";

  private:
    std::optional<Process> agent_;
    std::vector<std::string> covered_;
};

}  // namespace weir::test
