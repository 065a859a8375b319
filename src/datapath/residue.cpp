// SPDX-License-Identifier: Apache-2.0
#include "datapath/residue.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "common/cni_protocol.h"

namespace weir::datapath {
namespace {

namespace fs = std::filesystem;

struct Mark {
    std::string_view interface;  ///< the beginning of its name
    std::string_view owner;
};
constexpr std::array kMarks = {Mark{"cilium_", "Cilium"},
                               Mark{"lxc_health", "Cilium"},
                               Mark{"cali", "Calico"},
                               Mark{"vxlan.calico", "Calico"},
                               Mark{"tunl0", "Calico"},
                               Mark{"flannel.", "flannel"},
                               Mark{"cni0", "flannel"},
                               Mark{"kube-ipvs0", "kube-proxy"},
                               Mark{"kube-bridge", "kube-router"},
                               Mark{"antrea-gw", "Antrea"},
                               Mark{"weave", "Weave"},
                               Mark{"ovn-k8s", "OVN-Kubernetes"}};

std::vector<std::string> names_in(const fs::path& directory) {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error))
        names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
}

bool is_configuration(std::string_view name) {
    return name.ends_with(".conf") || name.ends_with(".conflist") || name.ends_with(".json");
}

}  // namespace

std::vector<Residue> find_residue(const fs::path& net, const fs::path& cni_conf) {
    std::vector<Residue> found;
    for (const auto& name : names_in(net)) {
        const auto* const mark = std::ranges::find_if(
            kMarks, [&](const Mark& one) { return name.starts_with(one.interface); });
        if (mark == kMarks.end()) continue;
        found.push_back({fmt::format("interface {} of {}", name, mark->owner),
                         fmt::format("remove {} from this node, then: ip link delete {}; pods that "
                                     "it wired lose their network with it",
                                     mark->owner, name)});
    }
    for (const auto& name : names_in(cni_conf)) {
        if (!is_configuration(name) || name >= cni::kConflistName) continue;
        found.push_back({fmt::format("network configuration {}", (cni_conf / name).string()),
                         "runtimes take the first by name, so new pods get that network: move it "
                         "away"});
    }
    return found;
}

}  // namespace weir::datapath
