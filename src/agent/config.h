// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/ip.h"
#include "common/log.h"

namespace weir::agent {

enum class SocketHooks : uint8_t { kAll, kHost, kOff };
std::string_view to_string(SocketHooks mode);

/// How pods of other nodes are reached (docs/host-network.md).
enum class Routing : uint8_t { kNative, kVxlan, kAuto };
std::string_view to_string(Routing mode);

struct PortRange {
    uint16_t first = 0;
    uint16_t last = 0;  ///< inclusive
};

/// Everything that can be set. Each member has one line in the option table (config.cpp), which
/// gives its flag, environment variable, key in the configuration file, default and help.
struct Config {
    /// kAuto: the cluster if this is a pod of one, else /etc/weir/objects.
    enum class Source : uint8_t { kAuto, kFiles, kKubernetes };
    Source source = Source::kAuto;
    std::vector<std::filesystem::path> source_dirs;
    std::filesystem::path kubeconfig;      ///< empty: the service account
    std::vector<std::string> api_servers;  ///< URLs; empty: those of the configuration
    std::string node_name;
    std::filesystem::path run_dir;
    std::filesystem::path bpffs;        ///< empty: found by looking
    std::filesystem::path cgroup_root;  ///< empty: found by looking
    std::filesystem::path proc_sys;
    std::string socket_group;          ///< empty: root only
    std::string metrics_address;       ///< empty: no TCP listener
    std::vector<std::string> devices;  ///< empty: found by looking
    std::vector<IpPrefix> pod_cidrs;
    std::vector<IpPrefix> cluster_cidrs;
    /// Nodes without podCIDRs are given blocks of these; empty: somebody else gives them theirs.
    std::vector<IpPrefix> pool_cidrs;
    uint32_t pool_block_ipv4 = 0;  ///< prefix lengths
    uint32_t pool_block_ipv6 = 0;
    std::chrono::seconds pool_rest{};
    std::vector<IpPrefix> service_cidrs;
    std::vector<IpPrefix> masquerade_exceptions;
    bool masquerade_ipv4 = true;
    bool masquerade_ipv6 = true;
    SocketHooks socket_hooks = SocketHooks::kAll;
    PortRange node_ports;
    PortRange snat_ports;
    Routing routing = Routing::kNative;
    uint32_t vxlan_port = 0;  ///< UDP
    uint32_t mtu = 0;  ///< 0: the smallest of the external devices, less the overlay's headers
    uint32_t max_pods = 0;
    uint32_t max_services = 0;
    uint32_t max_slots = 0;
    uint32_t max_backends = 0;
    uint32_t max_source_ranges = 0;
    uint32_t max_connections = 0;
    uint32_t max_new_connections = 0;
    std::chrono::seconds timeout_tcp_syn{};
    std::chrono::seconds timeout_tcp_established{};
    std::chrono::seconds timeout_tcp_closing{};
    std::chrono::seconds timeout_udp_new{};
    std::chrono::seconds timeout_udp_established{};
    std::chrono::seconds timeout_icmp{};
    std::filesystem::path cni_conf_dir;
    std::filesystem::path cni_bin_dir;
    bool flow_events = true;
    uint32_t flow_history = 0;
    log::Level log_level = log::Level::kInfo;
    log::Format log_format = log::Format::kText;
};

/// One option as a person sees it.
struct OptionHelp {
    std::string_view name;  ///< flag without dashes; also the key in the file
    std::string_view placeholder;
    std::string_view fallback;  ///< default, as text
    std::string_view help;
};
/// All options in display order.
std::vector<OptionHelp> option_help();
/// The text of `weir-agent --help`.
std::string usage();

/// What the command line asked for besides running.
enum class StartAction : uint8_t { kRun, kHelp, kVersion };
struct Start {
    StartAction action = StartAction::kRun;
    Config config;
    /// Effective value and origin ("default", "file", "env", "flag") of each option, for
    /// /v1/config.
    std::vector<std::pair<std::string, std::string>> effective;
    std::vector<std::string> origins;
};

/// Defaults < file (--config, YAML mapping) < environment (WEIR_NODE_NAME…) < flags
/// (--node-name=…). An unknown key or a bad value is an error that names it and where it stood.
Result<Start> parse_start(std::span<const char* const> arguments,
                          std::span<const char* const> environment);

}  // namespace weir::agent
