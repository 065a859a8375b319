// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "common/fd.h"
#include "netns/pod.h"
#include "support/process.h"

namespace weir::test {

/// What is between two nodes.
enum class Fabric : uint8_t {
    kRouter,  ///< one that knows the nodes and the outside, and no pod range
    kSwitch,  ///< one link, which both share with the outside
};

/// Two nodes, "a" and "b", in network namespaces of their own, each with the real agent; this
/// process moves to the fabric between them, where an outside client would be. All read one
/// directory of objects. Everything goes with the process.
///
///          a                        b
/// node     192.0.2.1 2001:db8:1::1  198.51.100.1 2001:db8:2::1, of a switch 192.0.2.2
/// 2001:db8:1::2 pods     10.244.1.0/24            10.244.2.0/24
///          fd00:10:244:1::/64       fd00:10:244:2::/64
class Nodes {
  public:
    explicit Nodes(Fabric fabric);
    Nodes(const Nodes&) = delete;
    Nodes& operator=(const Nodes&) = delete;
    ~Nodes();

    using Pod = RunningPod;

    /// Starts a node's agent and waits until it is ready.
    bool start_agent(char node, const std::vector<std::string>& flags);
    void stop_agent(char node, int signal = 15);
    [[nodiscard]] std::string agent_log(char node) const;

    /// A shop server on 8080 (TCP and UDP); it is a place for clients, too.
    Pod& run_pod(char node, const std::string& name);
    void stop_pod(Pod& pod);

    [[nodiscard]] Place at(char node) const;
    [[nodiscard]] static std::string ip(char node, int family, Fabric fabric);
    [[nodiscard]] std::string ip(char node, int family) const { return ip(node, family, fabric_); }

    /// Writes objects/<file>, replacing it whole.
    void apply(const std::string& file, std::string_view yaml) const;
    /// One node no longer sees the other's Node object.
    void forget_node(char viewer, char node) const;
    /// The Node object, for both to see; empty: the usual addresses or ranges.
    void apply_node(char node, std::vector<std::string> addresses = {},
                    std::vector<std::string> ranges = {}) const;

    /// A shell command on a node, or in the fabric; fails the test if it exits non-zero.
    std::string sh(char node, const std::string& command) const;
    static std::string sh(const std::string& command);
    /// `weir ARGUMENTS…` on a node.
    Outcome weir(char node, std::vector<std::string> arguments) const;
    [[nodiscard]] boost::json::value weir_json(char node, std::vector<std::string> arguments) const;
    /// Dropped packets by reason label.
    [[nodiscard]] uint64_t drops(char node, const std::string& reason) const;

  private:
    struct Host {
        std::filesystem::path dir;
        std::string cgroup;
        std::optional<Process> agent;
    };
    void make_host(char node);
    void join_router();
    void join_switch();
    [[nodiscard]] const Host& host(char node) const { return hosts_[node - 'a']; }
    [[nodiscard]] std::vector<std::string> cli(char node,
                                               const std::vector<std::string>& arguments) const;

    Fabric fabric_;
    std::filesystem::path dir_;
    std::string cgroup_;
    std::optional<Fd> outer_mounts_;
    Host hosts_[2];
    std::list<Pod> pods_;
};

}  // namespace weir::test
