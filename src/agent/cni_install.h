// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include "common/cni_protocol.h"
#include "common/result.h"

namespace weir::agent {

struct CniInstall {
    std::filesystem::path binary;                    ///< the weir-cni to copy
    std::filesystem::path bin_dir = "/opt/cni/bin";  ///< where runtimes look for plugins
    std::filesystem::path conflist =                 ///< to write
        std::filesystem::path("/etc/cni/net.d") / cni::kConflistName;
    std::string network = "weir";
    std::filesystem::path socket = cni::kDefaultSocket;
    std::filesystem::path queue_dir = cni::kDefaultQueueDir;
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
