// SPDX-License-Identifier: Apache-2.0
#include "agent/config.h"

#include <algorithm>
#include <functional>
#include <map>

#include <sys/utsname.h>
#include <unistd.h>

#include <yaml-cpp/yaml.h>

#include "common/fd.h"
#include "common/number.h"

namespace weir::agent {
namespace {

using Setter = Result<void> (*)(Config&, std::string_view);

struct Option {
    OptionHelp help;
    Setter set;
};

Result<uint64_t> parse_number(std::string_view text, uint64_t low, uint64_t high) {
    const auto value = whole_number<uint64_t>(text);
    if (!value || *value < low || *value > high) {
        return fail(Errc::kInvalid, "\"{}\" is not a number from {} to {}", text, low, high);
    }
    return *value;
}

Result<bool> parse_bool(std::string_view text) {
    if (text == "true") return true;
    if (text == "false") return false;
    return fail(Errc::kInvalid, "\"{}\" is neither true nor false", text);
}

/// "90s", "5m", "2h": whole seconds, from 1 s to 30 days.
Result<std::chrono::seconds> parse_duration(std::string_view text) {
    const std::map<char, uint64_t> units = {{'s', 1}, {'m', 60}, {'h', 3600}};
    const auto unit = text.empty() ? units.end() : units.find(text.back());
    if (unit == units.end()) {
        return fail(Errc::kInvalid, "\"{}\" is not a duration such as 90s, 5m or 2h", text);
    }
    const uint64_t limit = 30ULL * 24 * 3600 / unit->second;
    const auto count = WEIR_TRY(parse_number(text.substr(0, text.size() - 1), 1, limit));
    return std::chrono::seconds(count * unit->second);
}

std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const size_t comma = std::min(text.find(','), text.size());
        std::string_view part = text.substr(0, comma);
        while (part.starts_with(' '))
            part.remove_prefix(1);
        while (part.ends_with(' '))
            part.remove_suffix(1);
        if (!part.empty()) parts.push_back(part);
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return parts;
}

Result<std::vector<IpPrefix>> parse_prefixes(std::string_view text) {
    std::vector<IpPrefix> prefixes;
    for (const auto part : split(text))
        prefixes.push_back(WEIR_TRY(IpPrefix::parse(part)));
    return prefixes;
}

Result<PortRange> parse_ports(std::string_view text) {
    const size_t dash = text.find('-');
    if (dash == std::string_view::npos) {
        return fail(Errc::kInvalid, "\"{}\" is not a port range such as 30000-32767", text);
    }
    const auto first = WEIR_TRY(parse_number(text.substr(0, dash), 1, 65535));
    const auto last = WEIR_TRY(parse_number(text.substr(dash + 1), first, 65535));
    return PortRange{static_cast<uint16_t>(first), static_cast<uint16_t>(last)};
}

Result<void> parse_sources(Config& config, std::string_view text) {
    config.source_dirs.clear();
    if (text == "auto") {
        config.source = Config::Source::kAuto;
        return {};
    }
    if (text == "kubernetes") {
        config.source = Config::Source::kKubernetes;
        return {};
    }
    config.source = Config::Source::kFiles;
    for (const auto part : split(text)) {
        if (!part.starts_with("file:") || part.size() == 5) {
            return fail(Errc::kInvalid, "\"{}\" is not a source; use kubernetes or file:DIRECTORY",
                        part);
        }
        config.source_dirs.emplace_back(part.substr(5));
    }
    return {};
}

Result<SocketHooks> parse_hooks(std::string_view text) {
    for (const auto mode : {SocketHooks::kAll, SocketHooks::kHost, SocketHooks::kOff}) {
        if (text == to_string(mode)) return mode;
    }
    return fail(Errc::kInvalid, "\"{}\" is none of all, host, off", text);
}

Result<Routing> parse_routing(std::string_view text) {
    for (const auto mode : {Routing::kNative, Routing::kVxlan, Routing::kAuto}) {
        if (text == to_string(mode)) return mode;
    }
    return fail(Errc::kInvalid, "\"{}\" is none of native, vxlan, auto", text);
}

Result<log::Format> parse_format(std::string_view text) {
    if (text == "text") return log::Format::kText;
    if (text == "json") return log::Format::kJson;
    return fail(Errc::kInvalid, "\"{}\" is neither text nor json", text);
}

template <auto Member, auto Parse>
Result<void> set(Config& config, std::string_view text) {
    config.*Member = WEIR_TRY(Parse(text));
    return {};
}

template <auto Member>
Result<void> set_text(Config& config, std::string_view text) {
    config.*Member = std::string(text);
    return {};
}

template <auto Member, uint32_t Low, uint32_t High>
Result<void> set_count(Config& config, std::string_view text) {
    config.*Member = static_cast<uint32_t>(WEIR_TRY(parse_number(text, Low, High)));
    return {};
}

template <auto Member>
Result<void> set_list(Config& config, std::string_view text) {
    (config.*Member).clear();
    for (const auto part : split(text))
        (config.*Member).emplace_back(part);
    return {};
}

constexpr Option kOptions[] = {
    {{"source", "SOURCE", "auto",
      "where objects come from: kubernetes (an API server) or file:DIR, a directory of Kubernetes "
      "YAML "
      "or JSON, several with commas; auto: kubernetes in a pod of a cluster, else "
      "file:/etc/weir/objects"},
     parse_sources},
    {{"kubeconfig", "FILE", "",
      "how to reach the API server; default: the service account of the agent's pod"},
     set_text<&Config::kubeconfig>},
    {{"api-servers", "LIST", "",
      "URLs of API servers, tried in turn, instead of those of the kubeconfig or the pod: the "
      "agent "
      "must reach one before any Service works"},
     set_list<&Config::api_servers>},
    {{"node-name", "NAME", "", "this node's name in the objects; default: the host's name"},
     set_text<&Config::node_name>},
    {{"run-dir", "DIR", "/run/weir", "state that lives until reboot: socket, addresses, queues"},
     set_text<&Config::run_dir>},
    {{"bpffs", "DIR", "", "the host's BPF file system; default: found by looking"},
     set_text<&Config::bpffs>},
    {{"cgroup-root", "DIR", "", "the host's cgroup2 root; default: found by looking"},
     set_text<&Config::cgroup_root>},
    {{"proc-sys", "DIR", "/proc/sys",
      "where kernel settings are changed; in a container whose own is read-only, a mount of the "
      "host's"},
     set_text<&Config::proc_sys>},
    {{"socket-group", "GROUP", "", "group that may use the local API besides root"},
     set_text<&Config::socket_group>},
    {{"metrics-address", "ADDR:PORT", "127.0.0.1:9470",
      "listener of /metrics, /healthz and /readyz; empty: none"},
     set_text<&Config::metrics_address>},
    {{"devices", "LIST", "",
      "external devices, names or globs; default: those with a default route or global address"},
     set_list<&Config::devices>},
    {{"pod-cidrs", "LIST", "10.244.0.0/24,fd00:10:244::/64",
      "pod ranges of this node when no Node object gives them"},
     set<&Config::pod_cidrs, parse_prefixes>},
    {{"cluster-cidrs", "LIST", "10.244.0.0/16,fd00:10:244::/56",
      "pod ranges of the whole cluster: never masqueraded"},
     set<&Config::cluster_cidrs, parse_prefixes>},
    {{"pool-cidrs", "LIST", "",
      "where Nodes have no podCIDRs: ranges within cluster-cidrs of which the elected agent gives "
      "each Node a block; empty: they are left to who gives Nodes theirs"},
     set<&Config::pool_cidrs, parse_prefixes>},
    {{"pool-block-ipv4", "LENGTH", "24", "prefix length of a Node's block of pool-cidrs"},
     set_count<&Config::pool_block_ipv4, 8, 30>},
    {{"pool-block-ipv6", "LENGTH", "64", "the same for IPv6"},
     set_count<&Config::pool_block_ipv6, 16, 126>},
    {{"pool-rest", "TIME", "5m",
      "how long a Node must be gone before its block is given to another one"},
     set<&Config::pool_rest, parse_duration>},
    {{"service-cidrs", "LIST", "10.96.0.0/12,fd00:10:96::/112",
      "ranges of ClusterIPs: an address there that is no Service is never forwarded"},
     set<&Config::service_cidrs, parse_prefixes>},
    {{"masquerade-ipv4", "BOOL", "true", "translate the source of pods that leave the cluster"},
     set<&Config::masquerade_ipv4, parse_bool>},
    {{"masquerade-ipv6", "BOOL", "true", "the same for IPv6"},
     set<&Config::masquerade_ipv6, parse_bool>},
    {{"masquerade-exceptions", "LIST", "", "destinations that see pods' own addresses"},
     set<&Config::masquerade_exceptions, parse_prefixes>},
    {{"socket-hooks", "all|host|off", "all",
      "translate Services at the socket for pods and host, for the host only, or not at all"},
     set<&Config::socket_hooks, parse_hooks>},
    {{"node-ports", "A-B", "30000-32767", "the cluster's NodePort range"},
     set<&Config::node_ports, parse_ports>},
    {{"snat-ports", "A-B", "45056-65535",
      "source ports of translated flows, kept away from the host's own"},
     set<&Config::snat_ports, parse_ports>},
    {{"routing", "native|vxlan|auto", "native",
      "pods of other nodes: by routes over links that nodes share (else the fabric's to route), "
      "encapsulated in VXLAN, or by routes where a link is shared and VXLAN elsewhere"},
     set<&Config::routing, parse_routing>},
    {{"vxlan-port", "PORT", "4789", "UDP port of VXLAN between nodes, the same on all of them"},
     set_count<&Config::vxlan_port, 1, 65535>},
    {{"mtu", "BYTES", "0",
      "MTU of pods; 0: the smallest of the external devices, less 50 or 70 bytes for VXLAN over "
      "IPv4 or IPv6"},
     set_count<&Config::mtu, 0, 65535>},
    {{"max-pods", "N", "1024", "capacity: pods of this node"},
     set_count<&Config::max_pods, 8, 65535>},
    {{"max-services", "N", "65536", "capacity: Service ports, each family apart"},
     set_count<&Config::max_services, 16, 1U << 20>},
    {{"max-slots", "N", "1048576", "capacity: slots of all Services"},
     set_count<&Config::max_slots, 1024, 1U << 26>},
    {{"max-backends", "N", "262144", "capacity: distinct backends"},
     set_count<&Config::max_backends, 64, 1U << 22>},
    {{"max-source-ranges", "N", "65536",
      "capacity: loadBalancerSourceRanges, counted for each Service port"},
     set_count<&Config::max_source_ranges, 64, 1U << 22>},
    {{"max-connections", "N", "262144", "capacity: established flows, each family"},
     set_count<&Config::max_connections, 4096, 1U << 24>},
    {{"max-new-connections", "N", "65536", "capacity: flows without a reply yet, each family"},
     set_count<&Config::max_new_connections, 1024, 1U << 22>},
    {{"timeout-tcp-syn", "TIME", "60s", "TCP flows without an answer"},
     set<&Config::timeout_tcp_syn, parse_duration>},
    {{"timeout-tcp-established", "TIME", "24h", "idle TCP flows"},
     set<&Config::timeout_tcp_established, parse_duration>},
    {{"timeout-tcp-closing", "TIME", "30s", "TCP flows after FIN or RST"},
     set<&Config::timeout_tcp_closing, parse_duration>},
    {{"timeout-udp-new", "TIME", "30s", "UDP flows without an answer"},
     set<&Config::timeout_udp_new, parse_duration>},
    {{"timeout-udp-established", "TIME", "180s", "idle UDP flows"},
     set<&Config::timeout_udp_established, parse_duration>},
    {{"timeout-icmp", "TIME", "30s", "ICMP echoes"}, set<&Config::timeout_icmp, parse_duration>},
    {{"cni-conf-dir", "DIR", "", "where to install the CNI configuration; empty: <run-dir>/cni"},
     set_text<&Config::cni_conf_dir>},
    {{"cni-bin-dir", "DIR", "", "where to install weir-cni; empty: not installed, used in place"},
     set_text<&Config::cni_bin_dir>},
    {{"flow-events", "BOOL", "true", "record starts and ends of flows"},
     set<&Config::flow_events, parse_bool>},
    {{"flow-history", "N", "16384", "flow records kept in memory"},
     set_count<&Config::flow_history, 16, 1U << 22>},
    {{"log-level", "LEVEL", "info", "debug, info, warn or error"},
     set<&Config::log_level, log::parse_level>},
    {{"log-format", "FORMAT", "text", "text or json"}, set<&Config::log_format, parse_format>},
};

const Option* find_option(std::string_view name) {
    const auto* it = std::ranges::find(kOptions, name, [](const Option& o) { return o.help.name; });
    return it == std::end(kOptions) ? nullptr : it;
}

struct Given {
    std::string value;
    std::string origin;
};
using GivenMap = std::map<std::string, Given, std::less<>>;

/// The option with the smallest edit distance, to be suggested for a misspelt one.
std::string_view nearest(std::string_view name) {
    auto distance = [&](const Option& option) {
        const std::string_view other = option.help.name;
        std::vector<size_t> row(other.size() + 1);
        for (size_t j = 0; j < row.size(); ++j)
            row[j] = j;
        for (size_t i = 1; i <= name.size(); ++i) {
            size_t diagonal = row[0];
            row[0] = i;
            for (size_t j = 1; j < row.size(); ++j) {
                const size_t substituted = diagonal + (name[i - 1] == other[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
            }
        }
        return row.back();
    };
    return std::ranges::min(kOptions, std::less<>{}, distance).help.name;
}

Failure unknown_option(std::string_view where, std::string_view name) {
    return fail(Errc::kInvalid,
                "{}: no option \"{}\"; did you mean \"{}\"? weir-agent --help lists all", where,
                name, nearest(name));
}

Result<std::string> scalar_text(const YAML::Node& node) {
    if (node.IsScalar()) return node.Scalar();
    if (node.IsNull()) return std::string();
    if (!node.IsSequence()) return fail(Errc::kInvalid, "must be a value or a list of values");
    std::string joined;
    for (const auto& item : node) {
        if (!item.IsScalar()) return fail(Errc::kInvalid, "must be a list of plain values");
        joined += (joined.empty() ? "" : ",") + item.Scalar();
    }
    return joined;
}

Result<void> read_config_file(const std::string& path, GivenMap& given) {
    const auto text = WEIR_TRY(read_file(path));
    YAML::Node root;
    try {
        root = YAML::Load(text);
    } catch (const YAML::Exception& error) {
        return fail(Errc::kInvalid, "{}:{}: {}", path, error.mark.line + 1, error.msg);
    }
    if (root.IsNull()) return {};
    if (!root.IsMap()) return fail(Errc::kInvalid, "{}: must be a mapping of options", path);
    for (const auto& entry : root) {
        const auto where = fmt::format("{}:{}", path, entry.first.Mark().line + 1);
        const auto name = entry.first.IsScalar() ? entry.first.Scalar() : std::string("(not text)");
        if (find_option(name) == nullptr) return unknown_option(where, name);
        auto value = scalar_text(entry.second);
        if (!value) return Failure(std::move(value).error().with("{}: {}", where, name));
        given[name] = {std::move(*value), where};
    }
    return {};
}

Result<void> read_environment(std::span<const char* const> environment, GivenMap& given) {
    for (const char* const raw : environment) {
        const std::string_view entry(raw);
        const size_t equals = entry.find('=');
        if (!entry.starts_with("WEIR_") || equals == std::string_view::npos) continue;
        std::string name(entry.substr(5, equals - 5));
        std::ranges::transform(name, name.begin(), [](unsigned char c) {
            return c == '_' ? '-' : static_cast<char>(std::tolower(c));
        });
        const auto variable = std::string(entry.substr(0, equals));
        // Of the command line tool, which is often used from the same shell.
        if (name == "config" || name == "socket") continue;
        if (find_option(name) == nullptr) return unknown_option("environment " + variable, name);
        given[name] = {std::string(entry.substr(equals + 1)), "environment " + variable};
    }
    return {};
}

struct CommandLine {
    StartAction action = StartAction::kRun;
    std::string config_file;
    GivenMap given;
};

Result<CommandLine> read_arguments(std::span<const char* const> arguments) {
    CommandLine line;
    for (size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view argument(arguments[i]);
        if (argument == "--help" || argument == "-h") {
            line.action = StartAction::kHelp;
            return line;
        }
        if (argument == "--version") {
            line.action = StartAction::kVersion;
            return line;
        }
        if (!argument.starts_with("--")) {
            return fail(Errc::kInvalid, "\"{}\" is not an option; weir-agent --help", argument);
        }
        const size_t equals = argument.find('=');
        const std::string name(
            argument.substr(2, equals == std::string_view::npos ? equals : equals - 2));
        if (name != "config" && find_option(name) == nullptr) {
            return unknown_option("command line", name);
        }
        std::string value;
        if (equals != std::string_view::npos) {
            value = argument.substr(equals + 1);
        } else if (++i < arguments.size()) {
            value = arguments[i];
        } else {
            return fail(Errc::kInvalid, "--{} needs a value", name);
        }
        if (name == "config") {
            line.config_file = value;
        } else {
            line.given[name] = {value, "--" + name};
        }
    }
    return line;
}

std::string host_name() {
    utsname name{};
    return ::uname(&name) == 0 ? name.nodename : "localhost";
}

Result<void> check_ports(const Config& config) {
    const PortRange& snat = config.snat_ports;
    const PortRange& nodes = config.node_ports;
    if (snat.first <= nodes.last && nodes.first <= snat.last) {
        return fail(Errc::kInvalid, "snat-ports {}-{} and node-ports {}-{} overlap", snat.first,
                    snat.last, nodes.first, nodes.last);
    }
    if (snat.last - snat.first < 255) {
        return fail(Errc::kInvalid, "snat-ports {}-{}: at least 256 ports are needed", snat.first,
                    snat.last);
    }
    const auto within = [&](const PortRange& range) {
        return config.vxlan_port >= range.first && config.vxlan_port <= range.last;
    };
    if (within(snat) || within(nodes)) {
        return fail(Errc::kInvalid, "vxlan-port {} is among snat-ports or node-ports",
                    config.vxlan_port);
    }
    return {};
}

Result<void> check_ranges(const Config& config) {
    for (const auto& pool : config.pool_cidrs) {
        const bool within = std::ranges::any_of(config.cluster_cidrs, [&](const IpPrefix& cluster) {
            return cluster.family() == pool.family() && cluster.length() <= pool.length() &&
                   cluster.contains(pool.address());
        });
        if (!within) {
            return fail(Errc::kInvalid,
                        "pool-cidrs {} is not within cluster-cidrs: traffic between its pods would "
                        "be masqueraded",
                        pool.to_string());
        }
    }
    for (const auto& service : config.service_cidrs) {
        for (const auto& pods : config.cluster_cidrs) {
            if (service.contains(pods.address()) || pods.contains(service.address())) {
                return fail(Errc::kInvalid, "service-cidrs {} and cluster-cidrs {} overlap",
                            service.to_string(), pods.to_string());
            }
        }
    }
    return {};
}

}  // namespace

std::string_view to_string(SocketHooks mode) {
    switch (mode) {
        case SocketHooks::kAll:
            return "all";
        case SocketHooks::kHost:
            return "host";
        case SocketHooks::kOff:
            return "off";
    }
    return "?";
}

std::string_view to_string(Routing mode) {
    switch (mode) {
        case Routing::kNative:
            return "native";
        case Routing::kVxlan:
            return "vxlan";
        case Routing::kAuto:
            return "auto";
    }
    return "?";
}

std::vector<OptionHelp> option_help() {
    std::vector<OptionHelp> all;
    for (const auto& option : kOptions)
        all.push_back(option.help);
    return all;
}

std::string usage() {
    std::string text =
        "usage: weir-agent [--OPTION=VALUE...]\n\n"
        "The node's agent: reads Services, endpoints and pods and keeps the kernel's tables in "
        "step.\n"
        "Each option is also a key of the file given by --config (YAML) and an environment "
        "variable\n"
        "(--node-name is WEIR_NODE_NAME). Flags win over environment, environment over file.\n\n"
        "  --config=FILE\n      file with options\n";
    for (const auto& option : kOptions) {
        text += fmt::format(
            "  --{}={}\n      {}{}\n", option.help.name, option.help.placeholder, option.help.help,
            option.help.fallback.empty() ? "" : fmt::format(" [{}]", option.help.fallback));
    }
    text += "  --help, --version\n";
    return text;
}

Result<Start> parse_start(std::span<const char* const> arguments,
                          std::span<const char* const> environment) {
    auto line = WEIR_TRY(read_arguments(arguments));
    Start start;
    start.action = line.action;
    if (line.action != StartAction::kRun) return start;

    GivenMap given;
    if (line.config_file.empty()) {
        for (const std::string_view entry : environment) {
            if (entry.starts_with("WEIR_CONFIG=")) line.config_file = entry.substr(12);
        }
    }
    if (!line.config_file.empty()) WEIR_CHECK(read_config_file(line.config_file, given));
    WEIR_CHECK(read_environment(environment, given));
    for (auto& [name, value] : line.given)
        given[name] = std::move(value);

    for (const auto& option : kOptions) {
        const auto it = given.find(option.help.name);
        const std::string value =
            it != given.end() ? it->second.value : std::string(option.help.fallback);
        const std::string origin = it != given.end() ? it->second.origin : "default";
        if (auto set = option.set(start.config, value); !set) {
            return Failure(std::move(set).error().with("{}: {}", origin, option.help.name));
        }
        start.effective.emplace_back(option.help.name, value);
        start.origins.push_back(origin);
    }
    if (start.config.node_name.empty()) start.config.node_name = host_name();
    WEIR_CHECK(check_ports(start.config));
    WEIR_CHECK(check_ranges(start.config));
    return start;
}

}  // namespace weir::agent
