// SPDX-License-Identifier: Apache-2.0
#include "cni/lab.h"

#include <cstdlib>
#include <filesystem>

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <boost/json/parse.hpp>

#include "common/fd.h"
#include "ipam/record.h"

namespace weir::test {

namespace json = boost::json;

void Lab::SetUp() {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: makes network namespaces";
    ASSERT_EQ(::unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_EQ(::mount("tmpfs", "/run", "tmpfs", 0, "mode=755"), 0);
    std::filesystem::create_directories(kDir);
    // The routers' addresses, from which the host talks to pods.
    sh("ip link set lo up; ip addr add 10.1.0.1/32 dev lo; ip addr add fd00:1::1/128 dev lo; "
       "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
}

// Namespaces of pods are mounted below the /run of this test and would outlive it in a process that
// runs several.
void Lab::TearDown() {
    kill_agent();
    if (::geteuid() != 0) return;
    for (const std::string& directory : covered_)
        sh("umount -l " + directory);
    sh("ip -all netns delete; umount -l /run");
}

void Lab::start_agent(const std::string& cidrs) {
    agent_.emplace(std::vector<std::string>{WEIR_CNI_AGENT, kDir, cidrs});
    ASSERT_TRUE(eventually([&] { return run_plugin({{"CNI_COMMAND", "STATUS"}}).ok(); }))
        << "the agent does not come up";
}

void Lab::cover(const std::string& directory) {
    covered_.push_back(directory);
    const std::string changes = "/run/cover" + directory;
    sh("mkdir -p " + changes + "/upper " + changes +
       "/work; mount -t overlay overlay -o lowerdir=" + directory + ",upperdir=" + changes +
       "/upper,workdir=" + changes + "/work " + directory);
}

void Lab::make_pod(const std::string& name) {
    sh("ip netns add " + name);
}

void Lab::remove_pod(const std::string& name) {
    sh("ip netns delete " + name);
}

std::string Lab::config(const std::string& more, const std::string& version,
                        const std::string& network) {
    return R"({"cniVersion":")" + version + R"(","name":")" + network + R"(","type":"weir-cni")" +
           more + "}";
}

Variables Lab::variables(const std::string& command, const std::string& pod) {
    return {{"CNI_COMMAND", command},
            {"CNI_CONTAINERID", "id-" + pod},
            {"CNI_NETNS", netns(pod)},
            {"CNI_IFNAME", "eth0"},
            {"CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + pod +
                             ";K8S_POD_INFRA_CONTAINER_ID=id-" + pod + ";K8S_POD_UID=uid-" + pod}};
}

Outcome Lab::run_plugin(const Variables& variables, const std::string& input) {
    return run({WEIR_CNI}, {.environment = variables, .input = input});
}

Outcome Lab::plugin(const std::string& command, const std::string& pod, const std::string& input) {
    return run_plugin(variables(command, pod), input);
}

json::value Lab::add(const std::string& pod, const std::string& input) {
    const Outcome added = plugin("ADD", pod, input);
    EXPECT_EQ(added.status, 0) << added.out << added.err;
    EXPECT_EQ(added.err, "");
    json::error_code failed;
    return json::parse(added.out, failed);
}

unsigned Lab::code_of(const Outcome& finished) {
    if (finished.status == 0) return 0;
    json::error_code failed;
    const json::value error = json::parse(finished.out, failed);
    if (failed) return 9999;
    return error.at("code").to_number<unsigned>();
}

std::string Lab::address_of(const json::value& result, size_t index) {
    const auto& text = result.at("ips").at(index).at("address").as_string();
    return {text.data(), text.find('/')};
}

size_t Lab::links() {
    return static_cast<size_t>(std::stoul(sh("ip -o link show type veth | wc -l")));
}

size_t Lab::records() {
    size_t live = 0;
    for (const auto& entry : std::filesystem::directory_iterator(std::string(kDir) + "/ipam")) {
        if (entry.path().extension() != ".json") continue;
        const auto text = read_file(entry.path());
        if (!text) continue;
        const auto record = ipam::decode(*text);
        if (record && record->state != ipam::RecordState::kReleased) ++live;
    }
    return live;
}

}  // namespace weir::test
