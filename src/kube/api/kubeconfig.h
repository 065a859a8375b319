// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

#include "kube/api/access.h"

namespace weir::kube::api {

/// Reads a kubeconfig (YAML or JSON): the cluster and user of `context`, or of its current-context.
/// Certificates and keys inline or in files, token and tokenFile; relative paths start at the
/// file's directory. What needs another program (exec, auth-provider), a password or a proxy is
/// refused, with what to use instead. Errors name the file, line and field.
Result<Access> kubeconfig_access(const std::filesystem::path& file, std::string_view context = {});
/// The same of a text; `file` is for paths and errors.
Result<Access> parse_kubeconfig(std::string_view text, const std::filesystem::path& file,
                                std::string_view context = {});

}  // namespace weir::kube::api
