// SPDX-License-Identifier: Apache-2.0
#include "netns/nodes.h"

#include <csignal>
#include <fstream>
#include <iostream>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/cgroup.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
constexpr char kNames[] = {'a', 'b'};

std::string slurp(const fs::path& path) {
    return read_file(path).value_or(std::string());
}

std::string netns_path(char node) {
    return std::string("/run/netns/") + node;
}

}  // namespace

Nodes::Nodes(Fabric fabric) : fabric_(fabric) {
    static int serial = 0;
    const std::string id = std::to_string(::getpid()) + "-" + std::to_string(serial++);
    dir_ = fs::temp_directory_path() / ("weir-nodes-" + id);
    cgroup_ = cgroup2_mount() / ("weir-nodes-" + id);
    for (const auto* part : {"objects", "nodes-a", "nodes-b"})
        fs::create_directories(dir_ / part);
    for (const char node : kNames)
        make_host(node);
    outer_mounts_.emplace(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
    if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) throw std::runtime_error("unshare: not root?");
    ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    ::mount("tmpfs", "/run", "tmpfs", 0, "mode=755");
    fs::create_directories("/run/netns");
    sh("ip link set lo up; for n in a b; do ip netns add $n; ip -n $n link set lo up; done");
    fabric == Fabric::kRouter ? join_router() : join_switch();
    for (const char node : kNames)
        apply_node(node);
}

Nodes::~Nodes() {
    for (auto& pod : pods_)
        pod.process.send(SIGTERM);
    for (auto& pod : pods_)
        pod.process.wait_for(std::chrono::seconds(5));
    pods_.clear();
    for (const char node : kNames) {
        stop_agent(node);
        if (testing::Test::HasFailure()) {
            std::cerr << "--- agent of " << node << "\n" << agent_log(node) << "---\n";
        }
        weir(node, {"cleanup", "--yes", "--bpffs=" + (host(node).dir / "bpf").string()});
    }
    run({"find", cgroup_, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"});
    const auto unmount = [this] {
        for (const char node : kNames)
            ::umount2((host(node).dir / "bpf").c_str(), MNT_DETACH);
    };
    unmount();
    if (::setns(outer_mounts_->get(), CLONE_NEWNS) == 0) unmount();
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
}

void Nodes::make_host(char node) {
    auto& made = hosts_[node - 'a'];
    made.dir = dir_ / std::string(1, node);
    made.cgroup = cgroup_ + "/" + node;
    for (const auto* part : {"bpf", "run", "log"})
        fs::create_directories(made.dir / part);
    fs::create_directories(made.cgroup + "/host");
    // Mounted where PID 1 sees it, as the agent demands: its pins are to outlive it.
    if (::mount("bpf", (made.dir / "bpf").c_str(), "bpf", 0, nullptr) != 0) {
        throw std::runtime_error("cannot mount bpffs");
    }
}

void Nodes::join_router() {
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1;"
       "i=1; for n in a b; do"
       "  ip link add to-$n type veth peer name eth0 netns $n;"
       "  [ $n = a ] && net=192.0.2 || net=198.51.100;"
       "  ip addr add $net.254/24 dev to-$n; ip addr add 2001:db8:$i::fe/64 dev to-$n nodad;"
       "  ip link set to-$n up;"
       "  ip -n $n addr add $net.1/24 dev eth0; ip -n $n addr add 2001:db8:$i::1/64 dev eth0 nodad;"
       "  ip -n $n link set eth0 up;"
       "  ip -n $n route add default via $net.254;"
       "  ip -n $n -6 route add default via 2001:db8:$i::fe; i=2;"
       "done");
}

void Nodes::join_switch() {
    sh("ip link add br0 type bridge; ip addr add 192.0.2.254/24 dev br0;"
       "ip addr add 2001:db8:1::fe/64 dev br0 nodad; ip link set br0 up;"
       "i=1; for n in a b; do"
       "  ip link add to-$n type veth peer name eth0 netns $n; ip link set to-$n master br0 up;"
       "  ip -n $n addr add 192.0.2.$i/24 dev eth0;"
       "  ip -n $n addr add 2001:db8:1::$i/64 dev eth0 nodad; ip -n $n link set eth0 up;"
       "  ip -n $n route add default via 192.0.2.254;"
       "  ip -n $n -6 route add default via 2001:db8:1::fe; i=2;"
       "done");
}

std::string Nodes::ip(char node, int family, Fabric fabric) {
    if (node == 'a') return family == 4 ? "192.0.2.1" : "2001:db8:1::1";
    if (fabric == Fabric::kSwitch) return family == 4 ? "192.0.2.2" : "2001:db8:1::2";
    return family == 4 ? "198.51.100.1" : "2001:db8:2::1";
}

Place Nodes::at(char node) const {
    return {netns_path(node), host(node).cgroup + "/host"};
}

void Nodes::apply(const std::string& file, std::string_view yaml) const {
    const auto written = write_file_atomic(dir_ / "objects" / file, yaml);
    ASSERT_TRUE(written.has_value()) << written.error().message();
}

void Nodes::forget_node(char viewer, char node) const {
    fs::remove(dir_ / fmt::format("nodes-{}", viewer) / fmt::format("{}.yaml", node));
}

void Nodes::apply_node(char node, std::vector<std::string> addresses,
                       std::vector<std::string> ranges) const {
    if (addresses.empty()) addresses = {ip(node, 4), ip(node, 6)};
    const int number = node - 'a' + 1;
    if (ranges.empty()) {
        ranges = {fmt::format("10.244.{}.0/24", number),
                  fmt::format("fd00:10:244:{}::/64", number)};
    }
    std::string text = fmt::format(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {}}}\nspec: {{podCIDR: \"{}\", podCIDRs: [",
        node, ranges[0]);
    for (const auto& range : ranges)
        text += fmt::format("\"{}\",", range);
    text += "]}\nstatus:\n  addresses:\n";
    for (const auto& address : addresses)
        text += fmt::format("  - {{type: InternalIP, address: \"{}\"}}\n", address);
    for (const char viewer : kNames) {
        const auto written = write_file_atomic(
            dir_ / fmt::format("nodes-{}", viewer) / fmt::format("{}.yaml", node), text);
        ASSERT_TRUE(written.has_value()) << written.error().message();
    }
}

bool Nodes::start_agent(char node, const std::vector<std::string>& flags) {
    auto& started = hosts_[node - 'a'];
    std::vector<std::string> argv = {
        WEIR_AGENT,
        fmt::format("--source=file:{0}/objects,file:{0}/nodes-{1}", dir_.string(), node),
        std::string("--node-name=") + node,
        "--run-dir=" + (started.dir / "run").string(),
        "--bpffs=" + (started.dir / "bpf").string(),
        "--cgroup-root=" + started.cgroup,
        "--devices=eth0",
        "--cluster-cidrs=10.244.0.0/16,fd00:10:244::/48",
        "--service-cidrs=10.96.0.0/16,fd00:10:96::/112",
        "--metrics-address=127.0.0.1:9470",
        "--log-level=debug"};
    argv.insert(argv.end(), flags.begin(), flags.end());
    started.agent.emplace(argv, Process::Options{at(node), started.dir / "log/agent"});
    const bool ready = eventually(
        [&] {
            return !started.agent->running() ||
                   weir(node, {"status", "--wait", "--wait-duration=10s"}).ok();
        },
        std::chrono::seconds(90));
    if (ready && started.agent->running()) return true;
    std::cerr << "agent of " << node << " is not ready: " << weir(node, {"status"}).describe()
              << "\n";
    return false;
}

void Nodes::stop_agent(char node, int signal) {
    auto& agent = hosts_[node - 'a'].agent;
    if (!agent) return;
    agent->send(signal);
    if (!agent->wait_for(std::chrono::seconds(30))) {
        ADD_FAILURE() << "the agent of " << node << " does not stop within 30 s";
    }
    agent.reset();
}

std::string Nodes::agent_log(char node) const {
    return slurp(host(node).dir / "log/agent");
}

Nodes::Pod& Nodes::run_pod(char node, const std::string& name) {
    const auto pid_file = dir_ / ("pid-" + name);
    auto argv = cli(node, {"run", "--name=" + name, "-n", "shop", "-l", "app=" + name,
                           "--ready-when=tcp:8080"});
    const auto end = telling_pid(pid_file, {WEIR_SHOP, "serve", "--name", name});
    argv.insert(argv.end(), end.begin(), end.end());
    const auto log = host(node).dir / "log" / name;
    pods_.push_back({name, "", "", {}, Process(argv, {at(node), log})});
    settle(pods_.back(), pod_manifest(host(node).dir / "run", name), pid_file, log);
    return pods_.back();
}

void Nodes::stop_pod(Pod& pod) {
    pod.process.send(SIGTERM);
    EXPECT_TRUE(pod.process.wait_for(std::chrono::seconds(10))) << pod.name << " does not end";
}

std::string Nodes::sh(const std::string& command) {
    const auto outcome = run({"sh", "-ec", command});
    EXPECT_TRUE(outcome.ok()) << command << ": " << outcome.describe();
    return outcome.out;
}

std::string Nodes::sh(char node, const std::string& command) const {
    const auto outcome = run({"sh", "-ec", command}, {.place = at(node)});
    EXPECT_TRUE(outcome.ok()) << command << ": " << outcome.describe();
    return outcome.out;
}

std::vector<std::string> Nodes::cli(char node, const std::vector<std::string>& arguments) const {
    std::vector<std::string> argv = {"env", "WEIR_RUN_DIR=" + (host(node).dir / "run").string(),
                                     "WEIR_SOCKET=" + (host(node).dir / "run/agent.sock").string(),
                                     "WEIR_BPFFS=" + (host(node).dir / "bpf").string(), WEIR_CLI};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return argv;
}

Outcome Nodes::weir(char node, std::vector<std::string> arguments) const {
    return run(cli(node, arguments), {.place = at(node)});
}

json::value Nodes::weir_json(char node, std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"-o", "json"});
    const auto outcome = weir(node, std::move(arguments));
    std::error_code error;
    auto value = json::parse(outcome.out, error);
    EXPECT_FALSE(error) << outcome.describe();
    return value;
}

uint64_t Nodes::drops(char node, const std::string& reason) const {
    uint64_t sum = 0;
    const auto rows = weir_json(node, {"drops"});
    for (const auto& row : rows.as_array()) {
        if (row.at("reason").as_string() == reason) sum += row.at("packets").to_number<uint64_t>();
    }
    return sum;
}

}  // namespace weir::test
