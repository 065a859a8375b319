// SPDX-License-Identifier: Apache-2.0
#include "netns/node.h"

#include <csignal>
#include <cstdlib>
#include <fstream>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "common/fd.h"
#include "support/cgroup.h"
#include "support/exercises.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

void shell(const std::string& script) {
    const auto outcome = run({"sh", "-ec", script});
    if (!outcome.ok()) throw std::runtime_error(script + " failed: " + outcome.describe());
}

std::string slurp(const fs::path& path) {
    return read_file(path).value_or(std::string());
}

}  // namespace

Node::Node(const NodeOptions& options) : options_(options) {
    enter_host();
    join_outside();
}

Node::~Node() {
    for (auto& pod : pods_)
        pod.process.send(SIGTERM);
    for (auto& pod : pods_)
        pod.process.wait_for(std::chrono::seconds(5));
    pods_.clear();
    outside_server_.reset();
    if (agent_) stop_agent(SIGTERM);
    if (testing::Test::HasFailure()) std::cerr << "--- agent log\n" << agent_log() << "---\n";
    run({WEIR_CLI, "cleanup", "--yes"});
    // The cgroup can go only when nobody is in it, this process included.
    const std::string root = fs::path(cgroup_).parent_path();
    std::ofstream(root + "/cgroup.procs") << ::getpid() << std::flush;
    run({"find", cgroup_, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"});
    ::umount2((dir_ / "bpf").c_str(), MNT_DETACH);
    if (::setns(outer_mounts_->get(), CLONE_NEWNS) == 0) {
        ::umount2((dir_ / "bpf").c_str(), MNT_DETACH);
    }
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
}

void Node::enter_host() {
    static int serial = 0;
    const std::string id = std::to_string(::getpid()) + "-" + std::to_string(serial++);
    dir_ = fs::temp_directory_path() / ("weir-node-" + id);
    for (const auto* part : {"bpf", "objects", "run", "log"})
        fs::create_directories(dir_ / part);

    const std::string mount = cgroup2_mount();
    cgroup_ = mount + "/weir-test-" + id;
    fs::create_directories(cgroup_ + "/host");
    std::ofstream(cgroup_ + "/host/cgroup.procs") << ::getpid() << std::flush;

    // Mounted where PID 1 sees it, as the agent demands: its pins are to outlive it.
    if (::mount("bpf", (dir_ / "bpf").c_str(), "bpf", 0, nullptr) != 0) {
        throw std::runtime_error("cannot mount bpffs");
    }
    ::setenv("WEIR_RUN_DIR", (dir_ / "run").c_str(), 1);
    ::setenv("WEIR_SOCKET", (dir_ / "run/agent.sock").c_str(), 1);
    ::setenv("WEIR_BPFFS", (dir_ / "bpf").c_str(), 1);

    outer_mounts_.emplace(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
    if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) throw std::runtime_error("unshare: not root?");
    ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    ::mount("tmpfs", "/run", "tmpfs", 0, "mode=755");
    fs::create_directories("/run/netns");
    shell("ip link set lo up");
}

void Node::join_outside() {
    shell(
        "ip netns add outside; "
        "ip link add ext0 type veth peer name eth0 netns outside; "
        "ip addr add 192.0.2.1/24 dev ext0; ip addr add 2001:db8::1/64 dev ext0 nodad; "
        "ip link set ext0 up; "
        "ip -n outside link set lo up; ip -n outside addr add 192.0.2.2/24 dev eth0; "
        "ip -n outside addr add 2001:db8::2/64 dev eth0 nodad; ip -n outside link set eth0 up; "
        "ip route add default via 192.0.2.2; ip -6 route add default via 2001:db8::2");
    outside_server_.emplace(
        std::vector<std::string>{WEIR_SHOP, "serve", "--name", "outside", "--port", "8080"},
        Process::Options{outside(), dir_ / "log/outside"});
}

std::vector<std::string> Node::agent_argv(const std::vector<std::string>& more, Build build) const {
    std::vector<std::string> argv = {build == Build::kThis ? WEIR_AGENT : WEIR_AGENT_NEXT,
                                     "--source=file:" + (dir_ / "objects").string(),
                                     "--node-name=node-1",
                                     "--run-dir=" + (dir_ / "run").string(),
                                     "--bpffs=" + (dir_ / "bpf").string(),
                                     "--cgroup-root=" + cgroup_,
                                     "--devices=ext0",
                                     "--socket-hooks=" + options_.socket_hooks,
                                     "--service-cidrs=10.96.0.0/16,fd00:10:96::/112",
                                     "--metrics-address=127.0.0.1:9470",
                                     "--log-level=debug"};
    argv.insert(argv.end(), options_.agent_flags.begin(), options_.agent_flags.end());
    argv.insert(argv.end(), more.begin(), more.end());
    return argv;
}

void Node::launch_agent(const std::vector<std::string>& more_flags, Build build) {
    agent_.emplace(agent_argv(more_flags, build), Process::Options{host(), dir_ / "log/agent"});
}

bool Node::wait_ready() {
    const bool ready = eventually(
        [&] {
            return !agent_->running() || weir({"status", "--wait", "--wait-duration=10s"}).ok();
        },
        std::chrono::seconds(30));
    if (ready && agent_->running()) return true;
    std::cerr << "agent is not ready: " << weir({"status"}).describe() << "\n" << agent_log();
    return false;
}

bool Node::start_agent(const std::vector<std::string>& more_flags, Build build) {
    launch_agent(more_flags, build);
    return wait_ready();
}

void Node::stop_agent(int signal) {
    if (!agent_) return;
    agent_->send(signal);
    // What Kubernetes gives a pod; on a busy machine, under sanitizers, seconds of it are needed.
    if (!agent_->wait_for(std::chrono::seconds(30))) {
        ADD_FAILURE() << "the agent does not stop within 30 s of signal " << signal;
    }
    agent_.reset();
}

void Node::apply(const std::string& file, std::string_view yaml) const {
    const auto written = write_file_atomic(dir_ / "objects" / file, yaml);
    ASSERT_TRUE(written.has_value()) << written.error().message();
}

void Node::remove(const std::string& file) const {
    fs::remove(dir_ / "objects" / file);
}

Node::Pod& Node::run_pod(const std::string& name, const std::vector<std::string>& labels,
                         const std::vector<std::string>& command, const std::string& ready_when,
                         const std::vector<std::string>& options) {
    const auto pid_file = dir_ / ("pid-" + name);
    fs::remove(pid_file);
    std::vector<std::string> argv = {WEIR_CLI, "run",  "--name=" + name,
                                     "-n",     "shop", "--ready-when=" + ready_when};
    for (const auto& label : labels) {
        argv.emplace_back("-l");
        argv.push_back(label);
    }
    argv.insert(argv.end(), options.begin(), options.end());
    const auto end = telling_pid(pid_file, command);
    argv.insert(argv.end(), end.begin(), end.end());
    const auto log = dir_ / "log" / name;
    pods_.push_back({name, "", "", {}, Process(argv, {host(), log})});
    settle(pods_.back(), pod_manifest(dir_ / "run", name), pid_file, log);
    return pods_.back();
}

Node::Pod& Node::run_server(const std::string& name, const std::string& app,
                            const std::vector<std::string>& more,
                            const std::vector<std::string>& options) {
    std::vector<std::string> command = {WEIR_SHOP, "serve", "--name", name};
    command.insert(command.end(), more.begin(), more.end());
    return run_pod(name, {"app=" + app}, command, "tcp:8080", options);
}

Node::Pod& Node::run_client(const std::string& name) {
    return run_pod(name, {"app=" + name}, {"sleep", "infinity"});
}

// The command wrote its own pid.
pid_t Node::command_pid(const std::string& pod) const {
    return told_pid(dir_ / ("pid-" + pod));
}

void Node::stop_pod(Pod& pod, int signal) {
    pod.process.send(signal);
    if (!pod.process.wait_for(std::chrono::seconds(10))) {
        ADD_FAILURE() << "pod " << pod.name << " does not end";
    }
}

Outcome Node::weir(std::vector<std::string> arguments) const {
    std::vector<std::string> argv = {WEIR_CLI};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return run(argv);
}

std::string Node::weir_ok(std::vector<std::string> arguments) const {
    const auto outcome = weir(std::move(arguments));
    EXPECT_TRUE(outcome.ok()) << outcome.describe();
    return outcome.out;
}

json::value Node::weir_json(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"-o", "json"});
    const auto outcome = weir(std::move(arguments));
    std::error_code error;
    auto value = json::parse(outcome.out, error);
    EXPECT_FALSE(error) << outcome.describe();
    return value;
}

double Node::metric(const std::string& sample) const {
    const auto text = in_child(host(), [] { return http_get("127.0.0.1", 9470, "/metrics"); });
    const auto at = ("\n" + text).find("\n" + sample + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + sample.size() + 1));
}

std::string Node::problems() const {
    std::string lines;
    const auto status = weir_json({"status"});
    for (const auto& source : status.at("sources").as_array()) {
        for (const auto& problem : source.at("problems").as_array()) {
            lines += fmt::format(
                "{}:{}: {}: {}: {}\n",
                fs::path(problem.at("file").as_string().c_str()).filename().string(),
                problem.at("line").to_number<int>(), problem.at("object").as_string().c_str(),
                problem.at("field").as_string().c_str(), problem.at("message").as_string().c_str());
        }
    }
    return lines;
}

uint64_t Node::drops(const std::string& reason) const {
    const auto parsed = weir_json({"drops"});
    uint64_t sum = 0;
    for (const auto& row : parsed.as_array()) {
        if (row.at("reason").as_string() == reason) sum += row.at("packets").to_number<uint64_t>();
    }
    return sum;
}

std::string Node::agent_log() const {
    return slurp(dir_ / "log/agent");
}

std::string Node::service_yaml(const std::string& name, const std::string& v4,
                               const std::string& v6, const std::string& more) {
    return fmt::format(R"(apiVersion: v1
kind: Service
metadata: {{name: {0}, namespace: shop}}
spec:
  clusterIP: {1}
  clusterIPs: ["{1}", "{2}"]
  ipFamilies: [IPv4, IPv6]
  selector: {{app: {0}}}
  ports:
  - {{name: http, port: 80, targetPort: 8080, protocol: TCP}}
  - {{name: echo, port: 80, targetPort: 8080, protocol: UDP}}
{3})",
                       name, v4, v6, more);
}

std::string Node::node_port_yaml(const std::string& name, const std::string& v4,
                                 const std::string& v6, uint16_t node_port) {
    return fmt::format(R"(apiVersion: v1
kind: Service
metadata: {{name: {0}, namespace: shop}}
spec:
  type: NodePort
  clusterIPs: ["{1}", "{2}"]
  ipFamilies: [IPv4, IPv6]
  selector: {{app: {0}}}
  ports:
  - {{name: http, port: 80, targetPort: 8080, nodePort: {3}}}
  - {{name: echo, port: 80, targetPort: 8080, nodePort: {3}, protocol: UDP}}
)",
                       name, v4, v6, node_port);
}

std::string Node::load_balancer_yaml(const std::string& name, const std::string& v4,
                                     const std::string& v6, const std::string& more) {
    return fmt::format(R"(apiVersion: v1
kind: Service
metadata: {{name: {0}, namespace: shop}}
spec:
  type: LoadBalancer
  clusterIPs: ["{1}", "{2}"]
  ipFamilies: [IPv4, IPv6]
  externalIPs: ["198.51.100.7", "2001:db8:7::7"]
  selector: {{app: {0}}}
  ports: [{{port: 80, targetPort: 8080, nodePort: 30080}}]
{3}status:
  loadBalancer: {{ingress: [{{ip: 198.51.100.8}}, {{ip: "2001:db8:7::8"}}]}}
)",
                       name, v4, v6, more);
}

std::string Node::slice_yaml(const std::string& name, const std::string& service,
                             const std::vector<std::string>& addresses,
                             const std::string& metadata) {
    std::string endpoints;
    for (const auto& address : addresses) {
        endpoints +=
            fmt::format("- {{addresses: [\"{}\"], conditions: {{ready: true}}}}\n", address);
    }
    const bool v6 = !addresses.empty() && addresses[0].find(':') != std::string::npos;
    return fmt::format(R"(apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {}
  namespace: shop
  labels: {{kubernetes.io/service-name: {}}}
{}addressType: {}
ports:
- {{name: http, port: 8080, protocol: TCP}}
- {{name: echo, port: 8080, protocol: UDP}}
endpoints:
{})",
                       name, service, metadata, v6 ? "IPv6" : "IPv4", endpoints);
}

}  // namespace weir::test
