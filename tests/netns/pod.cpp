// SPDX-License-Identifier: Apache-2.0
#include "netns/pod.h"

#include <fstream>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "support/cgroup.h"
#include "support/exercises.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

std::string cgroup_of(pid_t pid) {
    std::ifstream in("/proc/" + std::to_string(pid) + "/cgroup");
    std::string line;
    while (std::getline(in, line)) {
        if (line.starts_with("0::")) return cgroup2_mount().string() + line.substr(3);
    }
    return {};
}

/// Takes over the addresses, and says whether the manifest calls the pod ready.
bool is_ready(const fs::path& manifest, RunningPod& pod) {
    std::error_code error;
    const auto parsed = json::parse(read_file(manifest).value_or(std::string()), error);
    const auto* status = error ? nullptr : parsed.as_object().if_contains("status");
    if (status == nullptr) return false;
    const auto* ips = status->as_object().if_contains("podIPs");
    const auto* conditions = status->as_object().if_contains("conditions");
    if (ips == nullptr || conditions == nullptr) return false;
    for (const auto& ip : ips->as_array()) {
        const std::string text(ip.at("ip").as_string());
        (text.find(':') == std::string::npos ? pod.v4 : pod.v6) = text;
    }
    for (const auto& condition : conditions->as_array()) {
        if (condition.at("type") == "Ready") return condition.at("status") == "True";
    }
    return false;
}

}  // namespace

std::vector<std::string> telling_pid(const fs::path& pid_file,
                                     const std::vector<std::string>& command) {
    std::vector<std::string> argv = {"--", "sh", "-c", "echo $$ >\"$0\"; exec \"$@\"", pid_file};
    argv.insert(argv.end(), command.begin(), command.end());
    return argv;
}

pid_t told_pid(const fs::path& pid_file) {
    pid_t pid = 0;
    std::ifstream(pid_file) >> pid;
    return pid;
}

fs::path pod_manifest(const fs::path& run_dir, const std::string& name) {
    return run_dir / "pods.d" / ("shop_" + name + ".json");
}

void settle(RunningPod& pod, const fs::path& manifest, const fs::path& pid_file,
            const fs::path& log) {
    const bool up = eventually([&] {
        if (!pod.process.running()) return true;
        return told_pid(pid_file) != 0 && is_ready(manifest, pod);
    });
    const pid_t pid = told_pid(pid_file);
    pod.place = {"/proc/" + std::to_string(pid) + "/ns/net", cgroup_of(pid)};
    if (!up || !pod.process.running() || pid == 0) {
        ADD_FAILURE() << "pod " << pod.name
                      << " did not start: " << read_file(log).value_or(std::string());
    }
}

}  // namespace weir::test
