// SPDX-License-Identifier: Apache-2.0
// `weir run` with real plugins (ptp, host-local), real namespaces and cgroups.
#include <fstream>

#include <sched.h>
#include <sys/mount.h>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "common/fd.h"
#include "support/process.h"

namespace weir::test {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

constexpr const char* kPlugins = "/usr/lib/cni";

/// A host of its own: mounts and network that nobody else sees.
struct RunTest : testing::Test {
    static void SetUpTestSuite() {
        if (::getuid() != 0 || ::access("/usr/lib/cni/ptp", X_OK) != 0) return;
        ready = ::unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
                ::mount("", "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0;
        fs::create_directories("/run/netns");
        ready = ready && ::mount("tmpfs", "/run/netns", "tmpfs", 0, nullptr) == 0;
    }

    void SetUp() override {
        if (!ready) GTEST_SKIP() << "needs root and the reference plugins in " << kPlugins;
        const fs::path root = fs::exists("/sys/fs/cgroup/cgroup.controllers")
                                  ? "/sys/fs/cgroup"
                                  : "/sys/fs/cgroup/unified";
        cgroup_root = root / ("weir-test-" + std::to_string(::getpid()));
        fs::create_directory(cgroup_root);
        write_conflist("10.77.0.0/24");
    }

    void TearDown() override {
        if (!ready) return;
        EXPECT_TRUE(fs::is_empty("/run/netns"));
        EXPECT_TRUE(cgroups().empty());
        fs::remove(cgroup_root);
    }

    void write_conflist(const std::string& subnet) const {
        const std::string list = fmt::format(
            R"({{"cniVersion": "1.0.0", "name": "test", "plugins": [{{"type": "ptp",
                "ipam": {{"type": "host-local", "dataDir": "{}", "ranges": [[{{"subnet": "{}"}}]]}},
                "dns": {{"nameservers": ["192.0.2.53"]}}}}]}})",
            (dir.path() / "ipam").string(), subnet);
        fs::create_directories(dir.path() / "cni");
        std::ofstream(dir.path() / "cni/05-weir.conflist") << list;
    }

    std::vector<std::string> command(const std::string& name, std::vector<std::string> options,
                                     const std::string& script) const {
        std::vector<std::string> words = {WEIR_BINARY,
                                          "run",
                                          "--name",
                                          name,
                                          "-n",
                                          "shop",
                                          "--run-dir",
                                          dir.path().string(),
                                          "--cgroup-root",
                                          cgroup_root.string(),
                                          "--node-name",
                                          "n1",
                                          "--cni-bin",
                                          kPlugins};
        words.insert(words.end(), options.begin(), options.end());
        words.insert(words.end(), {"--", "sh", "-c", script});
        return words;
    }

    [[nodiscard]] std::vector<fs::path> cgroups() const {
        std::vector<fs::path> found;
        for (const auto& entry : fs::directory_iterator(cgroup_root)) {
            if (entry.is_directory()) found.push_back(entry.path());
        }
        return found;
    }
    [[nodiscard]] fs::path manifest(const std::string& name) const {
        return dir.path() / "pods.d" / ("shop_" + name + ".json");
    }
    [[nodiscard]] json::value pod(const std::string& name) const {
        boost::system::error_code error;
        return json::parse(read_file(manifest(name)).value_or(""), error);
    }
    [[nodiscard]] bool is_ready(const std::string& name) const {
        const auto text = read_file(manifest(name)).value_or("");
        return text.find(R"({"type":"Ready","status":"True"})") != std::string::npos;
    }
    /// Addresses that IPAM holds: DEL frees them.
    [[nodiscard]] size_t leases() const {
        size_t count = 0;
        std::error_code error;
        for (const auto& entry : fs::directory_iterator(dir.path() / "ipam/test", error)) {
            count += entry.path().filename().string().starts_with("10.") ? 1 : 0;
        }
        return count;
    }
    [[nodiscard]] bool nothing_left() const {
        return fs::is_empty("/run/netns") && cgroups().empty() && leases() == 0 &&
               fs::is_empty(dir.path() / "runs") && fs::is_empty(dir.path() / "pods.d");
    }
    /// The reaper of a run: the process that holds its record besides the front.
    static pid_t child_named(pid_t parent, const std::string& name) {
        for (const auto& entry : fs::directory_iterator("/proc")) {
            std::ifstream file(entry.path() / "stat");
            pid_t pid = 0;
            std::string comm;
            char state = 0;
            pid_t ppid = 0;
            if (file >> pid >> comm >> state >> ppid && ppid == parent && comm == name) return pid;
        }
        return 0;
    }

    static inline bool ready = false;
    TempDir dir;
    fs::path cgroup_root;
};

TEST_F(RunTest, RunsInItsOwnPlaceAndLeavesNothing) {
    Process run(command("web-1", {"--hostname", "web"},
                        "ip -o -4 addr show eth0; hostname; ls /sys/class/net; "
                        "cat /proc/self/cgroup /etc/resolv.conf; ls -d /sys/fs/cgroup/*; exit 7"));
    EXPECT_EQ(run.wait(), 7) << run.err();
    const std::string out = run.out();
    EXPECT_NE(out.find("10.77.0.2/24"), std::string::npos) << out;
    EXPECT_NE(out.find("\nweb\n"), std::string::npos);
    EXPECT_NE(out.find("\neth0\nlo\n"), std::string::npos);
    EXPECT_NE(out.find(cgroup_root.filename().string() + "/weir-run-web-1-"), std::string::npos);
    EXPECT_NE(out.find("nameserver 192.0.2.53"), std::string::npos);
    EXPECT_NE(out.find("/sys/fs/cgroup/"), std::string::npos);
    EXPECT_EQ(run.err(), "weir: pod shop/web-1: runs with 10.77.0.2\n");
    EXPECT_TRUE(nothing_left());
}

TEST_F(RunTest, PublishesAPodThatFollowsItsReadiness) {
    Process run(command("api-0",
                        {"-l", "app=api", "-l", "tier=back", "--port", "http=8080", "--ready-when",
                         "tcp:8080", "--drain", "1s"},
                        "sleep 0.3; exec nc -lk 8080"));
    ASSERT_TRUE(eventually([&] {
        return pod("api-0").is_object() && pod("api-0").at("status").at("phase") == "Running";
    })) << run.err();
    EXPECT_FALSE(is_ready("api-0"));
    ASSERT_TRUE(eventually([&] { return is_ready("api-0"); })) << run.err();
    const json::value object = pod("api-0");
    EXPECT_EQ(object.at("kind"), "Pod");
    EXPECT_EQ(object.at("metadata").at("labels"), (json::value{{"app", "api"}, {"tier", "back"}}));
    EXPECT_EQ(object.at("spec").at("nodeName"), "n1");
    EXPECT_EQ(object.at("spec").at("containers").at(0).at("ports").at(0),
              (json::value{{"containerPort", 8080}, {"protocol", "TCP"}, {"name", "http"}}));
    EXPECT_EQ(object.at("status").at("podIPs").at(0).at("ip"), object.at("status").at("podIP"));
    EXPECT_FALSE(object.at("metadata").as_object().contains("deletionTimestamp"));

    const auto begin = std::chrono::steady_clock::now();
    run.send(SIGTERM);
    ASSERT_TRUE(eventually([&] {
        const json::value now = pod("api-0");
        return now.is_object() && now.at("metadata").as_object().contains("deletionTimestamp");
    }));
    EXPECT_TRUE(is_ready("api-0"));  // still serving
    EXPECT_EQ(run.wait(), 128 + SIGTERM);
    EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(900));
    EXPECT_TRUE(nothing_left());
}

TEST_F(RunTest, ReadinessIsLostWithTheListener) {
    Process run(
        command("flaky", {"--ready-when", "http:8080/healthz"},
                "while printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n' | nc -lN "
                "8080 >/dev/null; do test -e " +
                    (dir.path() / "stop").string() + " && exec sleep 100; done"));
    ASSERT_TRUE(eventually([&] { return is_ready("flaky"); })) << run.err();
    std::ofstream(dir.path() / "stop") << "x";
    EXPECT_TRUE(eventually([&] { return !is_ready("flaky"); }));
    run.send(SIGTERM);
    run.wait();
}

TEST_F(RunTest, KilledHardEverythingGoesAllTheSame) {
    Process run(command("victim", {}, "setsid sleep 1000 & sleep 1000"));
    ASSERT_TRUE(eventually([&] { return pod("victim").is_object() && is_ready("victim"); }));
    ASSERT_EQ(leases(), 1U);
    ASSERT_EQ(cgroups().size(), 1U);
    run.send(SIGKILL);
    EXPECT_EQ(run.wait(), 128 + SIGKILL);
    EXPECT_TRUE(eventually([&] { return nothing_left(); }));
}

TEST_F(RunTest, WhenTheReaperDiesTooTheNextRunTakesItDown) {
    {
        Process run(command("victim", {}, "setsid sleep 1000 & sleep 1000"));
        ASSERT_TRUE(eventually([&] { return is_ready("victim"); })) << run.err();
        const pid_t reaper = child_named(run.pid(), "(weir-run-reaper)");
        ASSERT_GT(reaper, 0);
        ::kill(reaper, SIGKILL);
        run.send(SIGKILL);
        run.wait();
    }
    EXPECT_EQ(leases(), 1U);
    EXPECT_FALSE(fs::is_empty("/run/netns"));
    EXPECT_TRUE(fs::exists(manifest("victim")));
    Process next(command("other", {}, "exit 0"));
    EXPECT_EQ(next.wait(), 0) << next.err();
    EXPECT_TRUE(nothing_left());
}

TEST_F(RunTest, ANameRunsOnce) {
    Process first(command("one", {}, "sleep 1000"));
    ASSERT_TRUE(eventually([&] { return is_ready("one"); })) << first.err();
    Process second(command("one", {}, "true"));
    EXPECT_EQ(second.wait(), 1);
    EXPECT_EQ(second.err(),
              "weir: pod shop/one is running on this host already; stop it first or choose another "
              "name\n");
    EXPECT_TRUE(is_ready("one"));
    first.send(SIGTERM);
    EXPECT_EQ(first.wait(), 128 + SIGTERM);
}

TEST_F(RunTest, SignalsReachTheCommand) {
    Process run(command("sig", {}, "trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done"));
    ASSERT_TRUE(eventually([&] { return run.out() == "up\n"; })) << run.err();
    run.send(SIGUSR1);
    EXPECT_TRUE(eventually([&] { return run.out() == "up\nusr1\n"; }));
    run.send(SIGINT);
    EXPECT_EQ(run.wait(), 128 + SIGINT);
}

TEST_F(RunTest, AFailedAddLeavesNothingAndSaysWhatThePluginSaid) {
    write_conflist("10.77.0.0/30");
    fs::create_directories(dir.path() / "ipam/test");
    const auto taken = dir.path() / "ipam/test/10.77.0.2";
    std::ofstream(taken) << "somebody-else\r\neth0";
    Process run(command("web-1", {}, "true"));
    EXPECT_EQ(run.wait(), 1);
    EXPECT_TRUE(run.err().starts_with("weir: CNI ADD by ptp: ")) << run.err();
    EXPECT_NE(run.err().find("no IP addresses available"), std::string::npos) << run.err();
    EXPECT_TRUE(fs::exists(taken));
    fs::remove(taken);
    EXPECT_TRUE(nothing_left());
}

TEST_F(RunTest, ACommandThatCannotBeExecutedIsSaidAndLeavesNothing) {
    auto words = command("web-1", {}, "");
    words.resize(words.size() - 3);
    words.push_back("/no/such/command");
    Process run(words);
    EXPECT_EQ(run.wait(), 1);
    EXPECT_EQ(run.err(),
              "weir: /no/such/command: execute the command: No such file or directory\n");
    EXPECT_TRUE(nothing_left());
}

TEST_F(RunTest, WithoutAgentItSaysWhatIsMissing) {
    fs::remove(dir.path() / "cni/05-weir.conflist");
    Process run(command("web-1", {}, "true"));
    EXPECT_EQ(run.wait(), 1);
    EXPECT_TRUE(run.err().starts_with("weir: no network configuration (the agent writes it when"))
        << run.err();
    Process no_agent({WEIR_BINARY, "run", "--name", "x", "--socket", "/nonexistent/agent.sock",
                      "--run-dir", dir.path().string(), "--", "true"});
    EXPECT_EQ(no_agent.wait(), 3);
    EXPECT_NE(no_agent.err().find("Start it with `weir-agent"), std::string::npos);
}

}  // namespace
}  // namespace weir::test
