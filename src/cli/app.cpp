// SPDX-License-Identifier: Apache-2.0
#include "cli/app.h"

#include <algorithm>
#include <map>

#include <CLI/CLI.hpp>

#include "cli/exit_code.h"
#include "flow/filter.h"

namespace weir::cli {
namespace {

using Action = int (*)(const Invocation&);

constexpr const char* kFooter =
    R"(Exit codes: 0 ok; 1 failed, or what was looked at is degraded; 2 wrong command line; 3 the agent cannot be
reached; 4 not allowed; 130 interrupted. `weir run` exits as its command does (128 + signal if killed).)";

CLI::App* leaf(Invocation& invocation, CLI::App& parent, const std::string& name,
               const std::string& help, Action action) {
    CLI::App* command = parent.add_subcommand(name, help);
    // On completion of this command, not of all: only then does CLI11 leave the environment of the
    // other commands' options alone, which are the same variables and would overwrite a flag.
    command->parse_complete_callback([&invocation, action] { invocation.action = action; });
    command->add_option("--socket", invocation.socket, "the agent's socket")
        ->envname("WEIR_SOCKET")
        ->capture_default_str();
    return command;
}

CLI::App* group(CLI::App& parent, const std::string& name, const std::string& help) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->require_subcommand(1);
    return command;
}

void add_output(Invocation& invocation, CLI::App& command) {
    command.add_option("-o,--output", invocation.output.format, "table, wide, json, yaml or name")
        ->check(CLI::IsMember({"table", "wide", "json", "yaml", "name"}))
        ->capture_default_str();
    command.add_flag("--no-headers", invocation.output.no_headers, "leave out the header line");
}

void add_tables(Invocation& invocation, CLI::App& command) {
    command
        .add_option("--bpffs", invocation.bpffs,
                    "where the kernel tables are pinned, read when no agent answers")
        ->envname("WEIR_BPFFS")
        ->capture_default_str();
    command
        .add_option("--run-dir", invocation.run_dir,
                    "the agent's state, for names of pods and Services")
        ->envname("WEIR_RUN_DIR")
        ->capture_default_str();
}

void add_namespace(Invocation& invocation, CLI::App& command) {
    auto* ns = command.add_option("-n,--namespace", invocation.ns, "only this namespace");
    command
        .add_flag("-A,--all-namespaces", invocation.all_namespaces, "every namespace (the default)")
        ->excludes(ns);
}

void add_filter(Invocation& invocation, CLI::App& command, const std::string& key,
                const std::string& value, const std::string& help) {
    command
        .add_option_function<std::vector<std::string>>(
            "--" + key,
            [&invocation, key](const std::vector<std::string>& values) {
                for (const auto& one : values)
                    invocation.query.emplace_back(key, one);
            },
            help)
        ->type_name(value)
        ->expected(1)
        ->take_all();
}

void add_get(Invocation& invocation, CLI::App& parent, const std::string& help, Action action) {
    CLI::App* get = leaf(invocation, parent, "get", help, action);
    get->add_option("NAME", invocation.name, "NAME or NAMESPACE/NAME")->required();
    add_namespace(invocation, *get);
    add_output(invocation, *get);
    add_tables(invocation, *get);
}

void add_status(Invocation& invocation, CLI::App& app) {
    CLI::App* status =
        leaf(invocation, app, "status",
             "what the agent knows, what is in the kernel, what is wrong", status_command);
    status->add_flag("--wait", invocation.wait, "until the agent is ready");
    status->add_option("--wait-duration", invocation.wait_duration, "how long --wait waits")
        ->capture_default_str();
    add_output(invocation, *status);
}

void add_lists(Invocation& invocation, CLI::App& app) {
    struct List {
        const char* noun;
        const char* noun_help;
        const char* help;
        Action list;
        const char* get_help;
        Action get;
        bool namespaced;
    };
    const List lists[] = {
        {"pod", "pods that Weir wired on this node", "list pods", pod_list_command, "show one pod",
         pod_get_command, true},
        {"service", "Services in the kernel tables", "list Services", service_list_command,
         "show one Service with its backends", service_get_command, true},
        {"backend", "backends in the kernel tables", "list backends", backend_list_command, "",
         nullptr, false},
        {"ipam", "pod addresses", "list ranges and addresses in use", ipam_list_command, "",
         nullptr, true},
    };
    for (const auto& entry : lists) {
        CLI::App* noun = group(app, entry.noun, entry.noun_help);
        CLI::App* list = leaf(invocation, *noun, "list", entry.help, entry.list);
        if (entry.namespaced) add_namespace(invocation, *list);
        add_output(invocation, *list);
        add_tables(invocation, *list);
        if (entry.get != nullptr) add_get(invocation, *noun, entry.get_help, entry.get);
    }
}

void add_policy(Invocation& invocation, CLI::App& app) {
    CLI::App* noun = group(app, "policy", "network policies, and what they do on this node");
    const auto add = [&](const char* name, const char* help, Action action) {
        CLI::App* command = leaf(invocation, *noun, name, help, action);
        add_namespace(invocation, *command);
        add_output(invocation, *command);
        return command;
    };
    add("list", "list policies", policy_list_command);
    add("get", "show one policy with its rules and hits", policy_get_command)
        ->add_option("NAME", invocation.name, "NAME or NAMESPACE/NAME")
        ->required();
    add("effective", "show all that is in force for a pod, in the order in which it is asked",
        policy_effective_command)
        ->add_option("POD", invocation.name, "NAME or NAMESPACE/NAME")
        ->required();
    CLI::App* hits =
        add("hits", "list rules in force by how many flows each decided", policy_hits_command);
    hits->add_option("--unused", invocation.unused,
                     "only rules that decided nothing: for this long (7d, 12h), or ever")
        ->expected(0, 1)
        ->type_name("[DURATION]")
        ->default_str("ever");
    CLI::App* shadowed =
        leaf(invocation, *noun, "shadowed",
             "list rules that can never decide, and the rule that comes before each",
             policy_shadowed_command);
    shadowed->add_option("--files", invocation.explain.files,
                         "directories of objects as YAML or JSON to ask, in place of the agent");
    add_output(invocation, *shadowed);
    CLI::App* explain =
        leaf(invocation, *noun, "explain",
             "say why a flow passes or not, rule by rule; exit status 1: it does not",
             policy_explain_command);
    auto& asked = invocation.explain;
    explain->add_option("--from", asked.from, "who sends: NAMESPACE/POD or an address")->required();
    explain
        ->add_option("--to", asked.to,
                     "who receives: NAMESPACE/POD, NAMESPACE/SERVICE or an address")
        ->required();
    explain->add_option("--port", asked.port, "port of the receiver; none: without ports");
    explain->add_option("--protocol", asked.protocol, "TCP, UDP, SCTP, ICMP or a number")
        ->capture_default_str();
    explain->add_option("--files", asked.files,
                        "directories of objects as YAML or JSON to ask, in place of the agent");
    add_output(invocation, *explain);
}

void add_conntrack(Invocation& invocation, CLI::App& app) {
    CLI::App* noun = group(app, "conntrack", "tracked flows in the kernel tables");
    CLI::App* list = leaf(invocation, *noun, "list", "list tracked flows", conntrack_list_command);
    add_filter(invocation, *list, "pod", "[NAMESPACE/]POD", "either end");
    add_filter(invocation, *list, "service", "[NAMESPACE/]SERVICE", "through the Service");
    add_filter(invocation, *list, "ip", "ADDRESS|CIDR",
               "either address, before or after translation");
    add_filter(invocation, *list, "port", "PORT", "either port, before or after translation");
    add_filter(invocation, *list, "protocol", "PROTOCOL", "TCP, UDP, ICMP, ICMPv6, SCTP");
    add_filter(invocation, *list, "state", "STATE", "new, established, closing or closed");
    add_namespace(invocation, *list);
    add_output(invocation, *list);
    add_tables(invocation, *list);
}

// --not applies to the filter that follows it, so the order of the command line decides.
void collect_flow_filters(Invocation& invocation, const CLI::App& command) {
    std::map<const CLI::Option*, size_t> used;
    bool negate = false;
    for (const CLI::Option* option : command.parse_order()) {
        const std::string name = option->get_lnames().empty() ? "" : option->get_lnames().front();
        if (name == "not") {
            negate = true;
            continue;
        }
        const bool filter = std::ranges::any_of(
            flow::filter_keys(), [&](const flow::FilterKey& key) { return name == key.name; });
        if (!filter) continue;
        const auto& values = option->results();
        const size_t index = used[option]++;
        if (index >= values.size()) continue;
        invocation.query.emplace_back((negate ? "not-" : "") + name, values[index]);
        negate = false;
    }
    if (negate) throw CLI::ValidationError("--not", "must stand before the filter it turns around");
}

void add_flows(Invocation& invocation, CLI::App& app) {
    CLI::App* flows =
        leaf(invocation, app, "flows",
             "what happens: flows that start and end, packets that are dropped", flows_command);
    flows->add_flag("-f,--follow", invocation.follow, "go on with what comes");
    add_filter(invocation, *flows, "since", "DURATION|TIME",
               "only newer: 90s, 5m, 1h30m, RFC 3339");
    add_filter(invocation, *flows, "last", "COUNT", "only the newest");
    for (const auto& key : flow::filter_keys()) {
        const std::string name = std::string("--") + key.name;
        flows->add_option(key.name[0] == 'n' ? "-n," + name : name, key.help)
            ->type_name(key.value)
            ->expected(1)
            ->take_all();
    }
    flows->add_flag("--not", invocation.negate, "the filter that follows must not match");
    add_output(invocation, *flows);
    flows->callback([&invocation, flows] {
        collect_flow_filters(invocation, *flows);
        invocation.action = flows_command;
    });
    flows->footer(
        "Filters of one kind are alternatives, different kinds must all match. Example:\n"
        "  weir flows -f --verdict DROPPED --not --ip 10.0.0.0/8");
}

// What the agent usually says about the node.
void add_run_host(Invocation& invocation, CLI::App& app) {
    RunOptions& run = invocation.run;
    CLI::App* command = &app;
    command->add_option("--cni-conf", run.cni_conf,
                        "network configuration list (default: the agent's)");
    command
        ->add_option("--cni-bin", run.cni_bin,
                     "directories of plugins, separated by colons (default: the agent's)")
        ->envname("CNI_PATH");
    command->add_option("--cgroup-root", run.cgroup_root,
                        "cgroup2 directory for the pod's cgroup (default: the agent's)");
    command->add_option("--node-name", run.node_name, "name of this node (default: the agent's)");
    command->add_option("--run-dir", invocation.run_dir, "the agent's state")
        ->envname("WEIR_RUN_DIR")
        ->capture_default_str();
}

void add_run(Invocation& invocation, CLI::App& app) {
    RunOptions& run = invocation.run;
    CLI::App* command = leaf(invocation, app, "run",
                             "run a command as a pod on this host, until it ends", run_command);
    command->add_option("--name", run.name, "name of the pod")->required();
    command->add_option("-n,--namespace", run.ns, "namespace of the pod")->capture_default_str();
    command->add_option("-l,--label", run.labels, "KEY=VALUE; may be repeated")
        ->expected(1)
        ->take_all();
    command->add_option("--port", run.ports, "[NAME=]PORT[/PROTOCOL]; may be repeated")
        ->expected(1)
        ->take_all();
    command
        ->add_option(
            "--host-port", run.host_ports,
            "[ADDRESS:]HOSTPORT:PORT[/PROTOCOL], a port of the host that leads to the pod; "
            "may be repeated")
        ->expected(1)
        ->take_all();
    command
        ->add_option("--ready-when", run.ready_when,
                     "tcp:PORT, http:PORT/PATH, or none: ready while it runs")
        ->capture_default_str();
    command->add_option("--hostname", run.hostname, "host name (default: the pod's name)");
    command
        ->add_option("--drain", run.drain,
                     "on SIGTERM: time between \"terminating\" and the signal to the command")
        ->capture_default_str();
    add_run_host(invocation, *command);
    command->add_flag("--share-mounts", run.share_mounts,
                      "no mount namespace: /sys and /etc/resolv.conf stay the host's");
    command->add_flag("-q,--quiet", run.quiet, "say nothing but errors");
    command->add_option("COMMAND", run.command, "what to run, after --")->required();
    command->positionals_at_end();
}

void add_preflight(Invocation& invocation, CLI::App& app) {
    CLI::App* preflight =
        leaf(invocation, app, "preflight",
             "whether Weir can work on this host, and what to do if not", preflight_command);
    preflight->add_option("--bpffs", invocation.bpffs, "where kernel tables would be pinned")
        ->envname("WEIR_BPFFS")
        ->capture_default_str();
    preflight->add_flag("--mount-bpffs", invocation.mount_bpffs,
                        "mount a BPF file system there first, if there is none");
    preflight->add_option("--cgroup-root", invocation.run.cgroup_root,
                          "cgroup2 directory, if not the host's root");
    preflight
        ->add_option("--cni-conf-dir", invocation.cni_conf_dir,
                     "where the runtime looks for network configurations")
        ->capture_default_str();
    preflight
        ->add_option("--routing", invocation.routing,
                     "as the agent's: whether VXLAN devices are needed")
        ->check(CLI::IsMember({"native", "vxlan", "auto"}))
        ->envname("WEIR_ROUTING")
        ->capture_default_str();
    preflight->add_option("--vxlan-port", invocation.vxlan_port, "as the agent's")
        ->envname("WEIR_VXLAN_PORT")
        ->check(CLI::Range(1, 65535))
        ->capture_default_str();
    add_output(invocation, *preflight);
}

void add_cleanup(Invocation& invocation, CLI::App& app) {
    CLI::App* cleanup = leaf(invocation, app, "cleanup", "remove everything of Weir from this host",
                             cleanup_command);
    cleanup->add_option("--bpffs", invocation.bpffs, "where the kernel tables are pinned")
        ->envname("WEIR_BPFFS")
        ->capture_default_str();
    cleanup->add_option("--run-dir", invocation.run_dir, "the agent's state")
        ->envname("WEIR_RUN_DIR")
        ->capture_default_str();
    cleanup
        ->add_option("--cni-conf-dir", invocation.cni_conf_dir,
                     "where the agent put its network configuration, besides RUN-DIR/cni")
        ->capture_default_str();
    cleanup->add_option("--cni-bin-dir", invocation.cni_bin_dir, "where the agent put its plugin")
        ->capture_default_str();
    cleanup->add_flag("-y,--yes", invocation.yes, "also while an agent runs");
    cleanup->add_flag("--only-empty", invocation.only_empty,
                      "leave a host as it is on which pods of Weir live");
    cleanup->add_option("--await-agent", invocation.await_agent,
                        "how long to wait for an agent to end (default: not at all)");
    cleanup->add_flag("--stay", invocation.stay, "when it is done, wait for SIGTERM");
}

void add_await_cleanup(Invocation& invocation, CLI::App& app) {
    CLI::App* await = leaf(invocation, app, "await-cleanup",
                           "in a pod: wait until a DaemonSet of cleanups is ready on every node",
                           await_cleanup_command);
    await->add_option("NAME", invocation.name, "NAMESPACE/NAME of the DaemonSet")->required();
    await->add_option("--wait-duration", invocation.wait_duration, "how long")
        ->capture_default_str();
    await
        ->add_option("--api-servers", invocation.api_servers,
                     "URLs of API servers, tried in turn, instead of the one that pods are told")
        ->delimiter(',');
}

void add_others(Invocation& invocation, CLI::App& app) {
    CLI::App* drops =
        leaf(invocation, app, "drops", "packets dropped, by reason and direction", drops_command);
    add_output(invocation, *drops);
    add_tables(invocation, *drops);
    CLI::App* config = leaf(invocation, app, "config", "settings in force and where they come from",
                            config_command);
    add_output(invocation, *config);
    leaf(invocation, app, "version", "versions of this command and of the agent", version_command);
    CLI::App* completion = leaf(invocation, app, "completion",
                                "a script that teaches a shell this command", completion_command);
    completion->add_option("SHELL", invocation.shell, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

}  // namespace

std::unique_ptr<CLI::App> make_app(Invocation& invocation) {
    auto app = std::make_unique<CLI::App>("Weir: pods, Services and flows of this node", "weir");
    app->require_subcommand(1);
    app->set_help_all_flag("--help-all", "help of every command");
    add_status(invocation, *app);
    add_lists(invocation, *app);
    add_policy(invocation, *app);
    add_conntrack(invocation, *app);
    add_flows(invocation, *app);
    add_run(invocation, *app);
    add_preflight(invocation, *app);
    add_others(invocation, *app);
    add_cleanup(invocation, *app);
    add_await_cleanup(invocation, *app);
    // Last, because commands inherit it.
    app->footer(kFooter);
    return app;
}

int report(const Error& error) {
    complain(error.message());
    return exit_code_of(error);
}

}  // namespace weir::cli
