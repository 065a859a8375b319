// SPDX-License-Identifier: Apache-2.0
#include "agent/settings.h"

#include <grp.h>

#include "common/cni_protocol.h"
#include "common/number.h"
#include "kube/api/access.h"
#include "weir/limits.h"

namespace weir::agent {

void choose_source(Config& config) {
    if (config.source != Config::Source::kAuto) return;
    const bool cluster = !config.kubeconfig.empty() || kube::api::in_cluster();
    config.source = cluster ? Config::Source::kKubernetes : Config::Source::kFiles;
    if (!cluster) config.source_dirs = {"/etc/weir/objects"};
}

datapath::SocketHooks to_datapath(SocketHooks hooks) {
    switch (hooks) {
        case SocketHooks::kAll:
            return datapath::SocketHooks::kAll;
        case SocketHooks::kHost:
            return datapath::SocketHooks::kHost;
        case SocketHooks::kOff:
            return datapath::SocketHooks::kOff;
    }
    return datapath::SocketHooks::kOff;
}

datapath::TableSizes table_sizes(const Config& config) {
    datapath::TableSizes sizes;
    // A shard may be fuller than the mean: half as much again.
    sizes.ct_per_shard = config.max_connections / WEIR_CT_SHARDS * 3 / 2;
    sizes.half_open = config.max_new_connections;
    sizes.vips = config.max_services * 2;
    sizes.services = config.max_services;
    sizes.slots = config.max_slots;
    sizes.backends = config.max_backends;
    sizes.ranges = config.max_source_ranges;
    sizes.endpoints = config.max_pods + 1;
    sizes.pods = config.max_pods * 2;
    sizes.devices = config.max_pods * 2 + 256;
    sizes.netns = config.max_pods * 2;
    return sizes;
}

Result<std::optional<gid_t>> find_group(const std::string& name) {
    if (name.empty()) return std::nullopt;
    const ::group* const found = ::getgrnam(name.c_str());
    if (found == nullptr) {
        return fail(Errc::kNotFound, "socket-group: no group \"{}\" on this host", name);
    }
    return found->gr_gid;
}

std::filesystem::path bpffs_of(const Config& config) {
    return config.bpffs.empty() ? std::filesystem::path("/sys/fs/bpf") : config.bpffs;
}

CniInstall cni_install(const Config& config) {
    namespace fs = std::filesystem;
    CniInstall install;
    std::error_code ignored;
    install.binary = fs::read_symlink("/proc/self/exe", ignored).parent_path() / "weir-cni";
    if (!fs::exists(install.binary)) {
        install.binary = install.binary.parent_path().parent_path() / "cni/weir-cni";
    }
    install.bin_dir = config.cni_bin_dir.empty() ? config.run_dir / "cni/bin" : config.cni_bin_dir;
    const fs::path conf_dir =
        config.cni_conf_dir.empty() ? config.run_dir / "cni" : config.cni_conf_dir;
    install.conflist = conf_dir / cni::kConflistName;
    install.socket = config.run_dir / "agent.sock";
    install.queue_dir = config.run_dir / "cni-queue";
    return install;
}

Result<std::pair<IpAddress, uint16_t>> parse_listener(const std::string& text) {
    const size_t colon = text.rfind(':');
    if (colon == std::string::npos) {
        return fail(Errc::kInvalid, "metrics-address \"{}\" is not ADDRESS:PORT", text);
    }
    const auto port = whole_number<uint16_t>(std::string_view(text).substr(colon + 1));
    if (!port) return fail(Errc::kInvalid, "metrics-address \"{}\": bad port", text);
    return std::pair(WEIR_TRY(IpAddress::parse_host(text.substr(0, colon))), *port);
}

}  // namespace weir::agent
