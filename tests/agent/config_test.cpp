// SPDX-License-Identifier: Apache-2.0
#include "agent/config.h"

#include <filesystem>
#include <string>
#include <vector>

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/fd.h"

namespace weir::agent {
namespace {

using testing::HasSubstr;

Result<Start> parse(std::vector<const char*> arguments, std::vector<const char*> environment = {}) {
    return parse_start(arguments, environment);
}

std::string message(const Result<Start>& result) {
    return result ? std::string("(no error)") : result.error().message();
}

class ConfigFile : public testing::Test {
  protected:
    std::string write(std::string_view content) {
        const auto path = std::filesystem::temp_directory_path() /
                          ("weir-config-" + std::to_string(::getpid()) + ".yaml");
        EXPECT_TRUE(write_file_atomic(path, content).has_value());
        path_ = path;
        return path;
    }
    ~ConfigFile() override { std::filesystem::remove(path_); }

  private:
    std::filesystem::path path_;
};

TEST(Config, DefaultsAreValid) {
    const auto start = parse({});
    ASSERT_TRUE(start.has_value()) << message(start);
    EXPECT_EQ(start->config.socket_hooks, SocketHooks::kAll);
    EXPECT_EQ(start->config.node_ports.first, 30000);
    EXPECT_EQ(start->config.pod_cidrs.size(), 2U);
    EXPECT_FALSE(start->config.node_name.empty());
}

TEST_F(ConfigFile, FlagsWinOverEnvironmentOverFile) {
    const auto file = "--config=" + write("node-name: from-file\nmtu: 1300\nmax-pods: 100\n");
    const auto start = parse({file.c_str(), "--node-name=from-flag"},
                             {"WEIR_NODE_NAME=from-env", "WEIR_MTU=1200", "PATH=/bin"});
    ASSERT_TRUE(start.has_value()) << message(start);
    EXPECT_EQ(start->config.node_name, "from-flag");
    EXPECT_EQ(start->config.mtu, 1200U);
    EXPECT_EQ(start->config.max_pods, 100U);
}

TEST_F(ConfigFile, ListsMayBeYamlSequences) {
    const auto file = "--config=" + write("devices: [eth0, eth1]\n");
    const auto start = parse({file.c_str()});
    ASSERT_TRUE(start.has_value()) << message(start);
    EXPECT_THAT(start->config.devices, testing::ElementsAre("eth0", "eth1"));
}

TEST_F(ConfigFile, UnknownKeyIsRefusedByNameWithItsLine) {
    const auto path = write("mtu: 1300\nnode-nam: x\n");
    const auto file = "--config=" + path;
    const auto start = parse({file.c_str()});
    EXPECT_THAT(message(start),
                HasSubstr(path + ":2: no option \"node-nam\"; did you mean \"node-name\"?"));
}

TEST(Config, UnknownFlagAndVariableAreRefusedByName) {
    EXPECT_THAT(message(parse({"--pod-cidr=10.0.0.0/8"})), HasSubstr("did you mean \"pod-cidrs\""));
    EXPECT_THAT(message(parse({}, {"WEIR_POD_CIDR=10.0.0.0/8"})),
                HasSubstr("environment WEIR_POD_CIDR"));
}

TEST(Config, BadValuesNameOriginOptionAndReason) {
    EXPECT_THAT(message(parse({"--mtu=big"})), HasSubstr("--mtu: mtu: \"big\" is not a number"));
    EXPECT_THAT(message(parse({"--pod-cidrs=10.0.0.1/8"})), HasSubstr("host bits set"));
    EXPECT_THAT(message(parse({"--source=http://x"})), HasSubstr("file:DIRECTORY"));
    EXPECT_THAT(message(parse({"--timeout-icmp=5"})), HasSubstr("not a duration"));
    EXPECT_THAT(message(parse({"--mtu"})), HasSubstr("needs a value"));
    EXPECT_THAT(message(parse({"run"})), HasSubstr("\"run\" is not an option"));
}

TEST(Config, ContradictionsAreRefused) {
    EXPECT_THAT(message(parse({"--snat-ports=32000-40000"})), HasSubstr("overlap"));
    EXPECT_THAT(message(parse({"--snat-ports=40000-40010"})), HasSubstr("at least 256"));
    EXPECT_THAT(message(parse({"--service-cidrs=10.244.0.0/16"})), HasSubstr("overlap"));
    EXPECT_THAT(message(parse({"--pool-cidrs=10.244.0.0/17,10.0.0.0/8"})),
                HasSubstr("pool-cidrs 10.0.0.0/8 is not within cluster-cidrs"));
}

TEST(Config, HelpNamesEveryOption) {
    const auto text = usage();
    for (const auto& option : option_help()) {
        EXPECT_THAT(text, HasSubstr("--" + std::string(option.name) + "="));
        EXPECT_FALSE(option.help.empty());
    }
}

}  // namespace
}  // namespace weir::agent
