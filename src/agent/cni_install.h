// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include "common/result.h"

namespace weir::agent {

struct CniInstall {
    std::filesystem::path binary;                    ///< the weir-cni to copy
    std::filesystem::path bin_dir = "/opt/cni/bin";  ///< where runtimes look for plugins
    /// A low number: containerd takes the first file of the directory only.
    std::filesystem::path conflist = "/etc/cni/net.d/05-weir.conflist";
    std::string network = "weir";
    std::filesystem::path socket = "/run/weir/agent.sock";
    std::filesystem::path queue_dir = "/run/weir/cni-queue";
};

/// The configuration list that runtimes read.
std::string cni_conflist(const CniInstall& install);

/// The plugin, then the configuration: CRI-O looks for the plugin of what it finds. Each takes the
/// place of an older one by rename(), which running plugins survive and which containerd notices.
/// What is there already and equal is left alone.
Result<void> install_cni(const CniInstall& install);

/// Removes both; no error if they are not there. Another network's configuration is not touched.
Result<void> uninstall_cni(const CniInstall& install);

}  // namespace weir::agent
