// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "common/fd.h"
#include "netns/pod.h"
#include "support/process.h"

namespace weir::test {

/// Addresses of a Node's world by family, 4 or 6.
inline std::string node_ip(int family) {
    return family == 4 ? "192.0.2.1" : "2001:db8::1";
}
inline std::string outside_ip(int family) {
    return family == 4 ? "192.0.2.2" : "2001:db8::2";
}
/// "1.2.3.4:80", "[::1]:80"
inline std::string joined(const std::string& address, int port) {
    const std::string host = address.find(':') == std::string::npos ? address : "[" + address + "]";
    return host + ":" + std::to_string(port);
}

enum class Build : uint8_t { kThis, kNext };

struct NodeOptions {
    std::string socket_hooks = "all";
    std::vector<std::string> agent_flags;
};

/// A whole node for one test: this process moves into network and mount namespaces and a cgroup of
/// its own, which from then on are "the host"; the real agent, CLI and plugin run there. A second
/// namespace, joined by a veth ("ext0"), is the outside world. Everything goes with the process.
///
/// Addresses: host 192.0.2.1 and 2001:db8::1, outside 192.0.2.2 and 2001:db8::2; pods from
/// 10.244.0.0/24 and fd00:10:244::/64; ClusterIPs in 10.96.0.0/16 and fd00:10:96::/112.
class Node {
  public:
    explicit Node(const NodeOptions& options = {});
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    ~Node();

    using Pod = RunningPod;

    /// Starts the agent and waits until it is ready; false (and the log printed) if it is not.
    bool start_agent(const std::vector<std::string>& more_flags = {}, Build build = Build::kThis);
    /// The same without waiting.
    void launch_agent(const std::vector<std::string>& more_flags = {}, Build build = Build::kThis);
    bool wait_ready();
    void stop_agent(int signal);
    /// 0: there is none.
    [[nodiscard]] pid_t agent_pid() const { return agent_ ? agent_->pid() : 0; }
    [[nodiscard]] bool agent_running() { return agent_ && agent_->running(); }
    [[nodiscard]] Process& agent() { return *agent_; }

    /// Writes objects/<file>, replacing it whole.
    void apply(const std::string& file, std::string_view yaml) const;
    void remove(const std::string& file) const;

    /// `weir run` of `command`; waits until the Pod is ready and its addresses are known.
    /// `options` are more ones of `weir run`.
    Pod& run_pod(const std::string& name, const std::vector<std::string>& labels,
                 const std::vector<std::string>& command, const std::string& ready_when = "none",
                 const std::vector<std::string>& options = {});
    /// A shop server on 8080 (TCP and UDP).
    Pod& run_server(const std::string& name, const std::string& app,
                    const std::vector<std::string>& more = {},
                    const std::vector<std::string>& options = {});
    /// A pod that only waits: a place for clients.
    Pod& run_client(const std::string& name);
    /// The process that `weir run` started for the pod; 0 before that.
    [[nodiscard]] pid_t command_pid(const std::string& pod) const;
    /// SIGTERM to the pod; waits for its end.
    void stop_pod(Pod& pod, int signal = 15);

    [[nodiscard]] Place host() const { return {"", cgroup_}; }
    [[nodiscard]] Place outside() const { return {"/run/netns/outside", ""}; }

    /// `weir ARGUMENTS…` against this node.
    Outcome weir(std::vector<std::string> arguments) const;
    /// Its standard output; fails the test if the status is not 0.
    std::string weir_ok(std::vector<std::string> arguments) const;
    /// `weir ARGUMENTS… -o json`, parsed.
    [[nodiscard]] boost::json::value weir_json(std::vector<std::string> arguments) const;
    /// A sample of the metrics endpoint, e.g. `weir_pods` or `weir_table_entries{table="…"}`; -1 if
    /// there is none.
    [[nodiscard]] double metric(const std::string& sample) const;
    /// What `weir status` says of documents, one problem a line.
    [[nodiscard]] std::string problems() const;
    /// Dropped packets by reason label, from `weir drops -o json`.
    [[nodiscard]] uint64_t drops(const std::string& reason) const;

    [[nodiscard]] const std::filesystem::path& dir() const { return dir_; }
    [[nodiscard]] std::string agent_log() const;

    /// The Service "shop/NAME" with these ClusterIPs, selecting app=NAME, port 80 -> 8080 on TCP
    /// and UDP; `more` is added to its spec (indented by two).
    static std::string service_yaml(const std::string& name, const std::string& v4,
                                    const std::string& v6, const std::string& more = "");

    /// The same with ports 80 and NodePort `node_port` of TCP and UDP.
    static std::string node_port_yaml(const std::string& name, const std::string& v4,
                                      const std::string& v6, uint16_t node_port = 30080);
    /// The same with port 80 and NodePort 30080 of TCP, the external addresses 198.51.100.7 and
    /// 2001:db8:7::7, and the load balancer's 198.51.100.8 and 2001:db8:7::8.
    static std::string load_balancer_yaml(const std::string& name, const std::string& v4,
                                          const std::string& v6, const std::string& more = "");
    /// An EndpointSlice of Service shop/SERVICE with these addresses (all of one family), port 8080
    /// for "http" and "echo"; `metadata` is added to its metadata (indented by two).
    static std::string slice_yaml(const std::string& name, const std::string& service,
                                  const std::vector<std::string>& addresses,
                                  const std::string& metadata = "");

  private:
    void enter_host();
    void join_outside();
    std::vector<std::string> agent_argv(const std::vector<std::string>& more, Build build) const;

    NodeOptions options_;
    std::filesystem::path dir_;
    std::string cgroup_;
    std::optional<Fd> outer_mounts_;
    std::optional<Process> agent_;
    std::optional<Process> outside_server_;
    std::list<Pod> pods_;
};

}  // namespace weir::test
