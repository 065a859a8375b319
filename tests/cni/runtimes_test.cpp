// SPDX-License-Identifier: Apache-2.0
// Other people's runtimes drive the shipped plugin: libcni through its own cnitool, and containerd
// with runc through ctr.
#include <unistd.h>

#include <boost/json/parse.hpp>

#include "agent/cni_install.h"
#include "cni/lab.h"

namespace weir::test {
namespace {

using testing::HasSubstr;
namespace json = boost::json;

class CniRuntimes : public Lab {
  protected:
    void SetUp() override {
        Lab::SetUp();
        if (IsSkipped()) return;
        for (const auto* directory : {"/etc", "/opt", "/var/lib"})
            cover(directory);
        const auto installed = agent::install_cni({.binary = WEIR_CNI});
        ASSERT_TRUE(installed) << installed.error().message();
    }
};

class CniTool : public CniRuntimes {
  protected:
    void SetUp() override {
        // Before the test has a network and an /etc of its own: modules come from outside.
        const Outcome built =
            run({WEIR_GO_TOOL, WEIR_TOOLS_DIR, "github.com/containernetworking/cni/cnitool@v1.3.0"},
                {.environment = {{{"HOME", "/root"}}}, .deadline = std::chrono::minutes(5)});
        ASSERT_EQ(built.status, 0) << built.err;
        CniRuntimes::SetUp();
        if (IsSkipped()) return;
        program_ = built.out.substr(0, built.out.find('\n'));
    }
    Outcome cnitool(const std::string& verb, const std::string& pod, Variables more = {}) const {
        more["CNI_PATH"] = "/opt/cni/bin";
        more["NETCONFPATH"] = "/etc/cni/net.d";
        return run({program_, verb, "weir", netns(pod)}, {.environment = more});
    }

  private:
    std::string program_;
};

TEST_F(CniTool, AddCheckDel) {
    start_agent();
    make_pod("web-1");
    EXPECT_EQ(cnitool("status", "web-1").status, 0);
    const Outcome added = cnitool("add", "web-1",
                                  {{"CNI_ARGS",
                                    "K8S_POD_NAMESPACE=shop;"
                                    "K8S_POD_NAME=web-1"}});
    ASSERT_EQ(added.status, 0) << added.out << added.err;
    const auto result = json::parse(added.out);
    EXPECT_EQ(result.at("cniVersion").as_string(), "1.1.0");
    EXPECT_EQ(address_of(result, 0), "10.1.0.2");
    EXPECT_TRUE(succeeds("ping -c1 -W2 10.1.0.2"));
    const Outcome checked = cnitool("check", "web-1");
    EXPECT_EQ(checked.status, 0) << checked.err;
    EXPECT_NE(cnitool("add", "web-1").status, 0) << "added twice";
    sh("ip -n web-1 addr flush dev eth0");
    EXPECT_NE(cnitool("check", "web-1").status, 0);
    for (int i = 0; i < 2; ++i) {
        const Outcome deleted = cnitool("del", "web-1");
        EXPECT_EQ(deleted.status, 0) << deleted.err;
    }
    EXPECT_EQ(links(), 0U);
    EXPECT_EQ(records(), 0U);
}

TEST_F(CniTool, OldVersions) {
    start_agent();
    make_pod("web-1");
    for (const std::string version : {"0.3.1", "0.4.0", "1.0.0"}) {
        sh("echo '{\"cniVersion\":\"" + version +
           "\",\"name\":\"weir\",\"plugins\":[{\"type\":\"weir-cni\"}]}' "
           "> /etc/cni/net.d/05-weir.conflist");
        const Outcome added = cnitool("add", "web-1");
        ASSERT_EQ(added.status, 0) << version << added.out << added.err;
        EXPECT_EQ(json::parse(added.out).at("cniVersion").as_string(), version);
        if (version != "0.3.1") EXPECT_EQ(cnitool("check", "web-1").status, 0);
        EXPECT_EQ(cnitool("del", "web-1").status, 0);
    }
}

TEST_F(CniTool, GcAndStatus) {
    start_agent();
    make_pod("web-1");
    ASSERT_EQ(cnitool("add", "web-1").status, 0);
    // cnitool names no valid attachment: libcni deletes what it knows of, and the plugin, which may
    // know of more, refuses to take a missing list for an empty one.
    const Outcome collected = cnitool("gc", "web-1");
    EXPECT_THAT(collected.out + collected.err, HasSubstr("GC without cni.dev/valid-attachments"));
    EXPECT_EQ(records(), 0U);
    EXPECT_EQ(links(), 0U);
    kill_agent();
    const Outcome away = cnitool("status", "web-1");
    EXPECT_NE(away.status, 0);
    EXPECT_THAT(away.out + away.err, HasSubstr("the Weir agent does not answer"));
}

class Containerd : public CniRuntimes {
  protected:
    void start_containerd() {
        sh("mkdir -p /run/c; printf 'version = 2\\n"
           "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\\n' > /run/c/config.toml");
        daemon_.emplace(std::vector<std::string>{"/bin/sh", "-c",
                                                 "exec containerd --config /run/c/config.toml "
                                                 "--root /run/c/root --state /run/c/state "
                                                 "--address /run/c/c.sock >/run/c/log 2>&1"});
        ASSERT_TRUE(eventually([] { return succeeds("ctr -a /run/c/c.sock version"); }))
            << sh("tail -5 /run/c/log");
        // The root file system is a busybox: no image is needed to run it.
        sh("mkdir -p /run/c/rootfs; cd /run/c/rootfs; mkdir -p bin proc sys dev etc run; "
           "cp /bin/busybox bin/");
    }
    void TearDown() override {
        if (daemon_)
            sh("ctr -a /run/c/c.sock task ls -q | xargs -r -n1 ctr -a /run/c/c.sock "
               "task rm -f; ctr -a /run/c/c.sock container ls -q | xargs -r -n1 "
               "ctr -a /run/c/c.sock container rm");
        daemon_.reset();
        Lab::TearDown();
    }
    static std::string ctr_run(const std::string& options, const std::string& name,
                               const std::string& command) {
        return "ctr -a /run/c/c.sock run --rootfs --cni --cgroup /weir-cni-test-" +
               std::to_string(::getpid()) + "-" + name + " " + options + " /run/c/rootfs " + name +
               " /bin/busybox " + command;
    }

  private:
    std::optional<Process> daemon_;
};

TEST_F(Containerd, RunsContainersWithTheNetwork) {
    start_agent();
    start_containerd();
    if (HasFatalFailure()) return;
    sh(ctr_run("--detach", "server", "sleep 60"));
    EXPECT_TRUE(succeeds("ping -c1 -W2 10.1.0.2"));
    EXPECT_TRUE(succeeds("ping -c1 -W2 fd00:1::2"));
    // One that ends: ctr deletes its network. It reaches the other one.
    EXPECT_THAT(sh(ctr_run("--rm", "client", "ping -c1 -W2 10.1.0.2")),
                HasSubstr("1 packets received"));
    EXPECT_EQ(records(), 1U);
    EXPECT_EQ(links(), 1U);
    // One that dies with no DEL, while the agent is away too.
    kill_agent();
    sh("ctr -a /run/c/c.sock task rm -f server; ctr -a /run/c/c.sock container rm server");
    EXPECT_TRUE(eventually([] { return links() == 0; }));
    EXPECT_EQ(records(), 1U);
    start_agent();
    EXPECT_EQ(records(), 0U) << "what does not exist has no record";
}

}  // namespace
}  // namespace weir::test
