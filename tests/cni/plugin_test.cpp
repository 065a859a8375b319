// SPDX-License-Identifier: Apache-2.0
// The shipped binary as a runtime runs it, in every case that needs no agent.
#include <chrono>
#include <filesystem>
#include <fstream>

#include <sys/resource.h>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cni/client.h"
#include "cni/result.h"
#include "common/fd.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace weir::cni {
namespace {

using test::Outcome;
using test::Variables;
using testing::HasSubstr;

Outcome plugin(const Variables& variables, std::string_view input) {
    return test::run({WEIR_CNI}, {.environment = variables, .input = input});
}

Variables variables_of(const std::string& command) {
    return {{"CNI_COMMAND", command},
            {"CNI_CONTAINERID", "c1"},
            {"CNI_NETNS", "/proc/self/ns/net"},
            {"CNI_IFNAME", "eth0"}};
}

constexpr std::string_view kConfig =
    R"({"cniVersion":"1.1.0","name":"weir","type":"weir-cni","socket":"/nonexistent/agent.sock"})";

struct Case {
    std::string name;
    Variables variables;
    std::string input;
    std::string output;  // all of stdout
};

Variables with(Variables variables, const std::string& name, const std::string& value) {
    variables[name] = value;
    return variables;
}

std::string error(unsigned code, const std::string& message, const std::string& version = "1.1.0") {
    return fmt::format("{{\"cniVersion\":\"{}\",\"code\":{},\"msg\":\"{}\"}}\n", version, code,
                       message);
}

std::string config(const std::string& more, const std::string& version = "1.1.0") {
    return fmt::format(R"({{"cniVersion":"{}","name":"weir"{}}})", version, more);
}

std::vector<Case> environment_cases() {
    const Variables add = variables_of("ADD");
    const std::string input(kConfig);
    return {
        {"no command",
         {},
         input,
         error(4, "CNI_COMMAND is not set: this program is run by a container runtime (CNI)")},
        {"unknown command",
         {{"CNI_COMMAND", "add"}},
         input,
         error(4, "CNI_COMMAND is \\\"add\\\": ADD, DEL, CHECK, GC, STATUS and VERSION are known")},
        {"all missing",
         {{"CNI_COMMAND", "ADD"}},
         input,
         error(4, "CNI_CONTAINERID is not set; CNI_IFNAME is not set; CNI_NETNS is not set")},
        {"DEL needs no namespace but the rest",
         {{"CNI_COMMAND", "DEL"}},
         input,
         error(4, "CNI_CONTAINERID is not set; CNI_IFNAME is not set")},
        {"CHECK needs a namespace", with(variables_of("CHECK"), "CNI_NETNS", ""), input,
         error(4, "CNI_NETNS is not set")},
        {"container id", with(add, "CNI_CONTAINERID", "-c1"), input,
         error(4,
               "CNI_CONTAINERID is \\\"-c1\\\", which is no container id (up to 100 letters, "
               "digits, \\\"_\\\", \\\".\\\", \\\"-\\\")")},
        {"container id path", with(add, "CNI_CONTAINERID", "../x"), input,
         error(4,
               "CNI_CONTAINERID is \\\"../x\\\", which is no container id (up to 100 letters, "
               "digits, \\\"_\\\", \\\".\\\", \\\"-\\\")")},
        {"interface name", with(add, "CNI_IFNAME", "averyveryverylongname"), input,
         error(4,
               "CNI_IFNAME is \\\"averyveryverylongname\\\", which is no interface name (up to "
               "15 characters, no \\\"/\\\", \\\":\\\" or space)")},
        {"args", with(add, "CNI_ARGS", "K8S_POD_NAME=x;oops"), input,
         error(4, "CNI_ARGS has \\\"oops\\\", which is not KEY=VALUE")},
        {"namespace gone", with(add, "CNI_NETNS", "/run/netns/none"), input,
         error(3, "network namespace /run/netns/none (CNI_NETNS) does not exist")},
        {"no namespace", with(add, "CNI_NETNS", "/etc/passwd"), input,
         error(4, "CNI_NETNS /etc/passwd is not a network namespace")},
        {"the host's namespace", add, input,
         error(8, "CNI_NETNS /proc/self/ns/net is the host's own network namespace")},
    };
}

std::vector<Case> config_cases() {
    const Variables add = variables_of("ADD");
    return {
        {"no JSON", add, "{", error(6, "the configuration on stdin is not JSON: incomplete JSON")},
        {"empty", add, "", error(6, "the configuration on stdin is not JSON: incomplete JSON")},
        {"no object", add, "[1]",
         error(6, "the configuration on stdin is JSON, but not an object")},
        {"no version", add, R"({"name":"weir"})",
         error(1,
               "cniVersion \\\"0.1.0\\\" is not supported; use one of 0.3.1, 0.4.0, 1.0.0, "
               "1.1.0")},
        {"later version", add, config("", "2.0.0"),
         error(1,
               "cniVersion \\\"2.0.0\\\" is not supported; use one of 0.3.1, 0.4.0, 1.0.0, "
               "1.1.0")},
        {"version of another type", add, R"({"cniVersion":1,"name":"weir"})",
         error(7, "\\\"cniVersion\\\" of the network configuration is not a text")},
        {"no name", add, R"({"cniVersion":"0.4.0"})",
         error(7,
               "\\\"name\\\" of the network is \\\"\\\": letters, digits, \\\"_\\\", \\\".\\\" "
               "and \\\"-\\\", beginning with a letter or digit, are needed",
               "0.4.0")},
        {"name", add, R"({"cniVersion":"1.1.0","name":"a/b"})",
         error(7,
               "\\\"name\\\" of the network is \\\"a/b\\\": letters, digits, \\\"_\\\", "
               "\\\".\\\" and \\\"-\\\", beginning with a letter or digit, are needed")},
        {"socket", add, config(R"(,"socket":"run/x")"),
         error(7,
               "\\\"socket\\\" of the network configuration is \\\"run/x\\\": it must be an "
               "absolute path")},
        {"queueDir", add, config(R"(,"queueDir":7)"),
         error(7, "\\\"queueDir\\\" of the network configuration is not a text")},
        {"ipam", add, config(R"(,"ipam":{"type":"host-local"})"),
         error(2,
               "\\\"ipam\\\": {\\\"type\\\":\\\"host-local\\\"} is not supported: addresses come "
               "from the node's podCIDRs; remove the section")},
        {"MAC address", add, config(R"(,"runtimeConfig":{"mac":"02:00:00:00:00:01"})"),
         error(2,
               "runtimeConfig \\\"mac\\\": \\\"02:00:00:00:00:01\\\" is not supported; "
               "remove it from \\\"capabilities\\\"")},
        {"a result before", add, config(R"(,"prevResult":{"cniVersion":"1.1.0"})"),
         error(7,
               "prevResult is given to ADD: weir-cni makes the interface and must be the first "
               "in \\\"plugins\\\"")},
        {"CHECK without a result", variables_of("CHECK"), config(""),
         error(7, "CHECK needs prevResult, the result of the ADD")},
        {"CHECK too early", variables_of("CHECK"), config("", "0.3.1"),
         error(1, "CHECK needs cniVersion 0.4.0 or later, not 0.3.1", "0.3.1")},
        {"GC too early",
         {{"CNI_COMMAND", "GC"}},
         config("", "1.0.0"),
         error(1, "GC needs cniVersion 1.1.0 or later, not 1.0.0", "1.0.0")},
        {"STATUS too early",
         {{"CNI_COMMAND", "STATUS"}},
         config("", "0.4.0"),
         error(1, "STATUS needs cniVersion 1.1.0 or later, not 0.4.0", "0.4.0")},
    };
}

TEST(CniPlugin, RefusesWhatTheSpecificationSays) {
    auto cases = environment_cases();
    for (Case& each : config_cases())
        cases.push_back(std::move(each));
    for (const Case& each : cases) {
        SCOPED_TRACE(each.name);
        const Outcome finished = plugin(each.variables, each.input);
        EXPECT_EQ(finished.out, each.output);
        EXPECT_EQ(finished.status, 1);
        EXPECT_EQ(finished.err, "");
    }
}

TEST(CniPlugin, Version) {
    for (const auto* version : {"0.3.1", "0.4.0", "1.0.0", "1.1.0", "0.1.0"}) {
        const Outcome finished =
            plugin({{"CNI_COMMAND", "VERSION"}}, fmt::format(R"({{"cniVersion":"{}"}})", version));
        EXPECT_EQ(finished.out, fmt::format(R"({{"cniVersion":"{}","supportedVersions":["0.3.1",)"
                                            R"("0.4.0","1.0.0","1.1.0"]}})"
                                            "\n",
                                            version));
        EXPECT_EQ(finished.status, 0);
    }
    EXPECT_THAT(plugin({{"CNI_COMMAND", "VERSION"}}, "").out, HasSubstr(R"("cniVersion":"1.1.0")"));
}

TEST(CniPlugin, BoundsItsInput) {
    const std::string input =
        R"({"cniVersion":"1.1.0","name":"weir","x":")" + std::string(2U * 1024 * 1024, 'x') + "\"}";
    EXPECT_EQ(plugin(variables_of("ADD"), input).out,
              error(6, "the configuration on stdin is longer than 1048576 bytes"));
    std::string deep(100000, '[');
    EXPECT_THAT(plugin(variables_of("ADD"), deep).out, HasSubstr("\"code\":6"));
}

TEST(CniPlugin, WithoutAnAgent) {
    const test::TempDir dir;
    const std::string input = fmt::format(
        R"({{"cniVersion":"1.1.0","name":"weir","socket":"{0}/none","queueDir":"{0}/queue"}})",
        dir.path().string());
    const Outcome status = plugin({{"CNI_COMMAND", "STATUS"}}, input);
    EXPECT_EQ(status.status, 1);
    EXPECT_THAT(status.out, HasSubstr("\"code\":50"));
    EXPECT_THAT(status.out, HasSubstr(dir.path().string() + "/none: connect: No such file"));
    EXPECT_THAT(plugin({{"CNI_COMMAND", "GC"}}, input).out, HasSubstr("\"code\":11"));

    // CNI spec 1.1.0, DEL: succeeds; the agent does it later. Repeating it makes no second entry.
    for (int i = 0; i < 2; ++i) {
        const Outcome del = plugin(with(variables_of("DEL"), "CNI_NETNS", ""), input);
        EXPECT_EQ(del.status, 0);
        EXPECT_EQ(del.out, "");
        EXPECT_THAT(del.err, HasSubstr("is left in"));
    }
    const auto entry = boost::json::parse(read_file(dir.path() / "queue/c1@eth0.json").value());
    EXPECT_EQ(entry.at("request").at("containerId"), "c1");
    EXPECT_EQ(entry.at("request").at("network"), "weir");
    EXPECT_GT(entry.at("queuedAt").as_int64(), 0);
}

TEST(CniPlugin, TheQueueIsBounded) {
    const test::TempDir dir;
    const auto queue = dir.path() / "queue";
    std::filesystem::create_directory(queue);
    for (size_t i = 0; i < kQueueMaxEntries; ++i) {
        std::ofstream(queue / fmt::format("x{}@eth0.json", i)).close();
    }
    const std::string input = fmt::format(
        R"({{"cniVersion":"1.1.0","name":"weir","socket":"{0}/none","queueDir":"{0}/queue"}})",
        dir.path().string());
    const Outcome full = plugin(variables_of("DEL"), input);
    EXPECT_EQ(full.status, 1);
    EXPECT_THAT(full.out, HasSubstr("\"code\":11"));
    EXPECT_THAT(full.out, HasSubstr("holds 4096 DELs"));
    // What cannot be queued is an error the runtime sees.
    std::filesystem::remove_all(queue);
    std::ofstream(queue).close();
    EXPECT_THAT(plugin(variables_of("DEL"), input).out, HasSubstr("\"code\":5"));
}

TEST(CniPlugin, IsSmallAndQuick) {
    const auto size = std::filesystem::file_size(WEIR_CNI);
    // Its own time on a processor, which does not depend on what else the machine does.
    const auto processor_ms = [] {
        rusage usage{};
        ::getrusage(RUSAGE_CHILDREN, &usage);
        const auto ms = [](const timeval& time) {
            return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
        };
        return ms(usage.ru_utime) + ms(usage.ru_stime);
    };
    const double before = processor_ms();
    for (int i = 0; i < 50; ++i)
        plugin({{"CNI_COMMAND", "VERSION"}}, "{}");
    const double each = (processor_ms() - before) / 50;
    std::printf("weir-cni: %ju bytes; VERSION takes %.2f ms\n", static_cast<uintmax_t>(size), each);
    EXPECT_LE(size, 3U * 1024 * 1024);
    EXPECT_LE(each, 5.0);
    // Static: it asks for no interpreter, and nothing of it is undefined.
    EXPECT_FALSE(test::succeeds("readelf -lW " WEIR_CNI " | grep -q INTERP"));
    EXPECT_FALSE(test::succeeds("readelf -SW " WEIR_CNI " | grep -q '\\.symtab'"));
}

// Only a whole answer is one: an agent that dies in between has not said yes.
TEST(CniAnswer, IsWholeOrNone) {
    const std::string whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    ASSERT_TRUE(parse_answer(whole));
    EXPECT_EQ(parse_answer(whole)->body, "{}");
    for (size_t size = 0; size < whole.size(); ++size) {
        EXPECT_FALSE(parse_answer(whole.substr(0, size))) << size;
    }
    EXPECT_FALSE(parse_answer("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"));
    EXPECT_FALSE(parse_answer("{}"));
}

TEST(CniResult, HasTheShapeOfItsVersion) {
    const auto result = boost::json::parse(R"({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "w1", "mac": "ee:ee:ee:ee:ee:ee", "mtu": 1500},
                       {"name": "eth0", "mac": "0a:00:00:00:00:01", "mtu": 1500, "sandbox": "/n"}],
        "ips": [{"interface": 1, "address": "10.1.0.2/32", "gateway": "169.254.1.1"},
                {"interface": 1, "address": "fd00::2/128", "gateway": "fe80::1"}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1", "mtu": 1400}],
        "dns": {"nameservers": ["10.0.0.10"]}})")
                            .as_object();
    const auto in = [&](std::string_view version) {
        return render_result(result, Version::parse(version).value()).value();
    };
    const std::string old_interfaces =
        R"("interfaces":[{"name":"w1","mac":"ee:ee:ee:ee:ee:ee"},)"
        R"({"name":"eth0","mac":"0a:00:00:00:00:01","sandbox":"/n"}],)";
    const std::string old_rest =
        R"("routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"}],"dns":{"nameservers":["10.0.0.10"]}})";
    const std::string marked =
        R"("ips":[{"interface":1,"address":"10.1.0.2/32","gateway":"169.254.1.1","version":"4"},)"
        R"({"interface":1,"address":"fd00::2/128","gateway":"fe80::1","version":"6"}],)";
    EXPECT_EQ(in("0.3.1"), R"({"cniVersion":"0.3.1",)" + old_interfaces + marked + old_rest);
    EXPECT_EQ(in("0.4.0"), R"({"cniVersion":"0.4.0",)" + old_interfaces + marked + old_rest);
    EXPECT_EQ(in("1.0.0"),
              R"({"cniVersion":"1.0.0",)" + old_interfaces +
                  R"("ips":[{"interface":1,"address":"10.1.0.2/32","gateway":"169.254.1.1"},)"
                  R"({"interface":1,"address":"fd00::2/128","gateway":"fe80::1"}],)" +
                  old_rest);
    EXPECT_EQ(boost::json::parse(in("1.1.0")), boost::json::value(result));
    EXPECT_FALSE(render_result({}, Version::newest()));
}

}  // namespace
}  // namespace weir::cni
