// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/run_options.h"
#include "common/cni_protocol.h"

namespace CLI {
class App;
}

namespace weir::cli {

/// What the command line says. Filled by parsing; one for each process.
struct Invocation {
    std::filesystem::path socket = cni::kDefaultSocket;
    std::filesystem::path run_dir = "/run/weir";
    std::filesystem::path bpffs = "/sys/fs/bpf";
    std::filesystem::path cni_conf_dir = "/etc/cni/net.d";
    OutputOptions output;
    std::string ns;
    bool all_namespaces = false;
    std::string name;  ///< of `get NAME`
    QueryParams query;
    bool follow = false;
    bool negate = false;  ///< --not was given; where it stood counts
    bool wait = false;
    std::string unused;  ///< a duration, or "ever"; empty: it does not matter
    struct {
        std::string from, to, protocol = "TCP";
        uint16_t port = 0;
        std::vector<std::filesystem::path> files;
    } explain;
    std::string wait_duration = "1m";
    bool yes = false;
    bool only_empty = false;
    bool stay = false;
    std::string await_agent;  ///< a duration; empty: not at all
    std::filesystem::path cni_bin_dir = "/opt/cni/bin";
    std::vector<std::string> api_servers;
    bool mount_bpffs = false;
    std::string routing = "native";
    uint16_t vxlan_port = 4789;
    RunOptions run;
    std::string shell;
    /// The command to execute, chosen by parsing; the result is the exit code.
    std::function<int(const Invocation&)> action;

    [[nodiscard]] Client client() const { return Client(socket); }
};

/// The whole tree of commands, bound to `invocation`, which must outlive it.
std::unique_ptr<CLI::App> make_app(Invocation& invocation);

/// docs/cli.md.
std::string cli_reference(const CLI::App& app);
/// A completion script for "bash", "zsh" or "fish".
Result<std::string> completion_script(const CLI::App& app, const std::string& shell);

/// Says what failed and returns the exit code for it.
int report(const Error& error);

int status_command(const Invocation& invocation);
int pod_list_command(const Invocation& invocation);
int pod_get_command(const Invocation& invocation);
int service_list_command(const Invocation& invocation);
int service_get_command(const Invocation& invocation);
int policy_list_command(const Invocation& invocation);
int policy_get_command(const Invocation& invocation);
int policy_effective_command(const Invocation& invocation);
int policy_explain_command(const Invocation& invocation);
int policy_hits_command(const Invocation& invocation);
int policy_shadowed_command(const Invocation& invocation);
int backend_list_command(const Invocation& invocation);
int conntrack_list_command(const Invocation& invocation);
int flows_command(const Invocation& invocation);
int ipam_list_command(const Invocation& invocation);
int drops_command(const Invocation& invocation);
int config_command(const Invocation& invocation);
int run_command(const Invocation& invocation);
int preflight_command(const Invocation& invocation);
int cleanup_command(const Invocation& invocation);
int await_cleanup_command(const Invocation& invocation);
int version_command(const Invocation& invocation);
int completion_command(const Invocation& invocation);

}  // namespace weir::cli
