// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <thread>

#include <boost/json.hpp>

#include "agent/api_types.h"
#include "cli/app.h"
#include "cli/exit_code.h"
#include "flow/filter.h"

namespace weir::cli {
namespace {

constexpr auto kWaitStep = std::chrono::milliseconds(200);

std::string line(std::string_view name, std::string_view value) {
    return fmt::format("{:<10} {}\n", name, value);
}

std::string objects_text(const std::map<std::string, uint64_t>& objects) {
    std::vector<std::string> parts;
    for (const auto& [kind, count] : objects)
        parts.push_back(fmt::format("{} {}", count, kind));
    return parts.empty() ? "no objects" : join(parts, ", ");
}

std::string kind_text(const api::KindState& kind) {
    std::string text = fmt::format("{} since {}", kind.state, kind.since);
    if (!kind.synced) text += ", not read yet";
    if (kind.state == "watching") {
        text += fmt::format(", heard {:.0f} s ago, lag {:.1f} ms", kind.silent_seconds,
                            kind.lag_seconds * 1000);
    }
    return kind.error.empty() ? text : text + ": " + kind.error;
}

std::string sources_text(const api::Status& status) {
    std::string text;
    for (const auto& source : status.sources) {
        text += line("Source", fmt::format("{}: {}, {}", source.name,
                                           source.synced ? "in step" : "not read yet",
                                           objects_text(source.objects)));
        for (const auto& kind : source.kinds)
            text += line("  " + kind.kind, kind_text(kind));
        for (const auto& problem : source.problems) {
            const std::string where =
                problem.line == 0 ? problem.file : fmt::format("{}:{}", problem.file, problem.line);
            text += line("  problem", fmt::format("{} {}{}{}: {}", where, problem.object,
                                                  problem.field.empty() ? "" : " ", problem.field,
                                                  problem.message));
        }
    }
    return text;
}

/// "" without a cluster.
std::string leader_text(const api::Leader& leader) {
    if (!leader.error.empty()) return line("Leader", "not known: " + leader.error);
    if (leader.node.empty()) return {};
    return line("Leader", fmt::format("{}{} since {}", leader.node,
                                      leader.self ? " (this agent)" : "", leader.since));
}

std::string hooks_text(const api::Datapath& datapath) {
    std::vector<std::string> missing;
    for (const auto& hook : datapath.hooks) {
        if (!hook.attached) missing.push_back(fmt::format("{} on {}", hook.name, hook.target));
    }
    if (missing.empty()) return fmt::format("{} attached", datapath.hooks.size());
    return "NOT ATTACHED: " + join(missing, ", ");
}

std::string maps_text(const api::Datapath& datapath, const OutputOptions& output) {
    Table table({{"TABLE"},
                 {"ENTRIES", false, true},
                 {"CAPACITY", false, true},
                 {"USE", false, true},
                 {"MEMORY", true, true},
                 {"HOLDS", true}});
    for (const auto& map : datapath.maps) {
        const double use = map.capacity == 0 ? 0
                                             : 100.0 * static_cast<double>(map.entries) /
                                                   static_cast<double>(map.capacity);
        table.add({map.name, std::to_string(map.entries), std::to_string(map.capacity),
                   fmt::format("{:.1f}%", use), bytes_text(map.bytes), map.what});
    }
    return table.empty() ? "" : "\n" + table.text(output);
}

/// Ranges named in the text; -o json has them all.
constexpr size_t kMaxElsewhere = 5;

std::string routing_text(const api::Routing& routing) {
    std::string text = routing.mode;
    if (!routing.device.empty()) {
        text += fmt::format(" ({}, UDP port {})", routing.device, routing.port);
    }
    text += fmt::format(", MTU {}: {} other nodes, {} ranges over shared links, {} by VXLAN",
                        routing.mtu, routing.nodes, routing.native, routing.overlay);
    text = line("Routing", text);
    if (routing.elsewhere.empty()) return text;
    std::vector<std::string> named = routing.elsewhere;
    named.resize(std::min(named.size(), kMaxElsewhere));
    const size_t more = routing.elsewhere.size() - named.size();
    return text +
           line("  no route",
                fmt::format("{}{}: no link is shared, so the network between "
                            "the nodes has to know them",
                            join(named, ", "), more == 0 ? "" : fmt::format(" and {} more", more)));
}

std::string policy_text(const api::PolicyState& policy) {
    std::string text = fmt::format("{} policies, {} rule sets, {}", policy.policies, policy.sets,
                                   bytes_text(policy.kernel_bytes));
    if (policy.closed > 0) text += fmt::format("; {} PODS CLOSED: see the problems", policy.closed);
    if (policy.late > 0) text += fmt::format("; {} pods started before theirs", policy.late);
    text = line("Policy", text);
    return policy.error.empty() ? text : text + line("  error", policy.error);
}

std::string pools_text(const api::Status& status) {
    std::string text;
    for (const auto& pool : status.ipam) {
        text += line("Addresses", fmt::format("{}: {} of {} in use, {} cooling", pool.cidr,
                                              pool.used, pool.capacity, pool.cooling));
    }
    return text;
}

std::string cni_text(const api::Status& status) {
    std::vector<std::string> parts;
    for (const auto& count : status.cni) {
        parts.push_back(count.code == 0 ? fmt::format("{} {} ok", count.count, count.command)
                                        : fmt::format("{} {} failed with code {}", count.count,
                                                      count.command, count.code));
    }
    return parts.empty() ? "no request yet" : join(parts, ", ");
}

std::string status_text(const api::Status& status, const OutputOptions& output) {
    const auto& datapath = status.datapath;
    std::string text;
    text += line("Node", fmt::format("{} (kernel {})", status.node, status.kernel));
    text += line("Agent",
                 fmt::format("{}, process {}, up {}, {} resident", status.version, status.pid,
                             duration_text(status.uptime_seconds), bytes_text(status.rss_bytes)));
    text += line("Ready", status.ready ? "yes" : "NO");
    for (const auto& reason : status.reasons)
        text += line("  because", reason);
    text += sources_text(status);
    text += leader_text(status.leader);
    text += line("Datapath",
                 fmt::format("build {}, socket hooks {}, devices {} ({})", datapath.build,
                             datapath.socket_hooks,
                             datapath.devices.empty() ? "none" : join(datapath.devices, ", "),
                             datapath.device_attach));
    if (!datapath.devices_left_alone.empty()) {
        text += line("Left alone", join(datapath.devices_left_alone, ", "));
    }
    text += routing_text(status.routing);
    text += policy_text(status.policy);
    for (const auto& finding : status.findings)
        text += line("Found", fmt::format("{}: {}", finding.what, finding.remedy));
    text += line("Hooks", hooks_text(datapath));
    text += line("Sweep", fmt::format("ran {:.1f} s ago, {} flows expired since the start",
                                      datapath.sweep.last_run_seconds, datapath.sweep.expired));
    text += line("Kernel", bytes_text(datapath.kernel_bytes) + " in tables");
    text += pools_text(status);
    text += line("CNI", cni_text(status));
    text += line("Flows", fmt::format("{} of {} records kept, {} readers, {} events lost",
                                      status.flows.history, status.flows.history_capacity,
                                      status.flows.readers, status.flows.lost));
    return text + maps_text(datapath, output);
}

Result<api::Status> fetch(const Client& client) {
    return api::from_json<api::Status>(WEIR_TRY(client.get("/v1/status")));
}

Result<api::Status> fetch_when_ready(const Invocation& invocation) {
    const auto patience = WEIR_TRY(flow::parse_duration_ns(invocation.wait_duration));
    const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(patience);
    for (;;) {
        auto status = fetch(invocation.client());
        const bool again = status ? !status->ready : status.error().code() == Errc::kUnavailable;
        if (!again || std::chrono::steady_clock::now() >= end) return status;
        std::this_thread::sleep_for(kWaitStep);
    }
}

bool healthy(const api::Status& status) {
    return status.ready && std::ranges::all_of(status.datapath.hooks, &api::Hook::attached);
}

}  // namespace

int status_command(const Invocation& invocation) {
    const auto status = invocation.wait ? fetch_when_ready(invocation) : fetch(invocation.client());
    if (!status) return report(status.error());
    switch (invocation.output.parsed()) {
        case Format::kJson:
            print(to_pretty_json(api::to_json(*status)));
            break;
        case Format::kYaml:
            print(to_yaml(api::to_json(*status)));
            break;
        case Format::kName:
            print(status->node + "\n");
            break;
        default:
            print(status_text(*status, invocation.output));
    }
    return healthy(*status) ? kOk : kFailed;
}

}  // namespace weir::cli
