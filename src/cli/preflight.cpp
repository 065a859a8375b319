// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include <boost/json.hpp>

#include "cli/app.h"
#include "cli/exit_code.h"
#include "datapath/features.h"
#include "datapath/host_checks.h"
#include "datapath/host_firewall.h"
#include "datapath/residue.h"

namespace weir::cli {
namespace {

namespace json = boost::json;

enum class State : uint8_t { kOk, kWarning, kFailed };

/// What was looked at, and what was found or is to be done.
struct Check {
    std::string name;
    State state = State::kOk;
    std::string text;
};

std::string_view to_string(State state) {
    return state == State::kOk ? "ok" : state == State::kWarning ? "warning" : "FAILED";
}

template <typename T>
Check mount_check(std::string name, const Result<T>& result, std::string good) {
    if (result) return {std::move(name), State::kOk, std::move(good)};
    return {std::move(name), State::kFailed, result.error().message()};
}

Check bpffs_check(const Invocation& invocation) {
    std::string good = invocation.bpffs.string();
    if (invocation.mount_bpffs) {
        const auto mounted = datapath::mount_bpffs(invocation.bpffs);
        if (!mounted) return mount_check("mount: bpffs", mounted, "");
        if (*mounted) good += ", mounted now";
    }
    return mount_check("mount: bpffs", datapath::check_bpffs(invocation.bpffs), std::move(good));
}

Check feature_check(const datapath::Feature& feature) {
    const State lacking = feature.required ? State::kFailed : State::kWarning;
    return {"kernel: " + feature.name, feature.present ? State::kOk : lacking, feature.why};
}

void add_findings(std::vector<Check>& out, const std::vector<datapath::Residue>& found,
                  std::string_view name, std::string_view none) {
    for (const auto& one : found)
        out.push_back({one.what, State::kWarning, one.remedy});
    if (found.empty()) out.push_back({std::string(name), State::kOk, std::string(none)});
}

std::vector<Check> checks(const Invocation& invocation) {
    std::vector<Check> out;
    for (const auto& feature : datapath::probe_features())
        out.push_back(feature_check(feature));
    if (invocation.routing != "native") out.push_back(feature_check(datapath::probe_overlay()));
    const auto cgroup = datapath::find_cgroup_root(invocation.run.cgroup_root);
    out.push_back(mount_check("mount: cgroup2", cgroup, cgroup ? cgroup->path.string() : ""));
    out.push_back(bpffs_check(invocation));
    add_findings(out, datapath::find_residue("/sys/class/net", invocation.cni_conf_dir),
                 "other networks", "nothing found of any");
    datapath::Inbound inbound;
    if (invocation.routing != "native") inbound.vxlan_port = invocation.vxlan_port;
    add_findings(out, datapath::find_firewall(inbound), "host firewall",
                 "no chain of nftables drops what comes to this host unasked");
    return out;
}

json::value to_json(const std::vector<Check>& checks) {
    json::array out;
    for (const auto& check : checks) {
        out.push_back(json::object{
            {"check", check.name}, {"state", to_string(check.state)}, {"text", check.text}});
    }
    return out;
}

}  // namespace

int preflight_command(const Invocation& invocation) {
    const auto found = checks(invocation);
    switch (invocation.output.parsed()) {
        case Format::kJson:
            print(to_pretty_json(to_json(found)));
            break;
        case Format::kYaml:
            print(to_yaml(to_json(found)));
            break;
        default: {
            Table table({{"CHECK"}, {"STATE"}, {"WHAT"}});
            for (const auto& check : found)
                table.add({check.name, std::string(to_string(check.state)), check.text});
            print(table.text(invocation.output));
        }
    }
    const bool failed = std::ranges::any_of(
        found, [](const Check& check) { return check.state == State::kFailed; });
    return failed ? kFailed : kOk;
}

}  // namespace weir::cli
