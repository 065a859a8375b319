// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace weir::kube::api {

/// An API server's address, out of a URL.
struct Server {
    bool tls = true;
    std::string host;  ///< name or address, IPv6 without brackets
    uint16_t port = 443;
    std::string path;  ///< prefix of every request: "" or "/k8s/clusters/c-1"

    /// "https://[fd00::1]:6443/prefix"; without a scheme it is https.
    static Result<Server> parse(std::string_view url);
    [[nodiscard]] std::string to_string() const;
    /// "host:port", with brackets where needed.
    [[nodiscard]] std::string authority() const;
    bool operator==(const Server&) const = default;
};

/// Bytes that stand in the configuration, or in a file that is read anew whenever they are needed:
/// such files are replaced while the agent runs.
struct Secret {
    std::string data;
    std::filesystem::path file;

    [[nodiscard]] bool empty() const { return data.empty() && file.empty(); }
    [[nodiscard]] Result<std::string> read() const;
};

/// How to reach an API server and to be somebody there.
struct Access {
    std::vector<Server> servers;  ///< tried in turn, never empty
    Secret ca;                    ///< PEM; empty: the system's
    Secret certificate;           ///< PEM, of the client; empty: none
    Secret key;
    Secret token;                 ///< bearer token; empty: none
    std::string tls_server_name;  ///< name that the server's certificate must have; empty: its host
    bool skip_verify = false;
    std::string ns = "kube-system";  ///< what is the agents' own is kept there
    std::string origin;              ///< for people: "the service account", a path
};

/// What a pod is given: the service account's directory and KUBERNETES_SERVICE_HOST/PORT. Fails if
/// this is no pod.
Result<Access> in_cluster_access(
    const std::filesystem::path& directory = "/var/run/secrets/kubernetes.io/serviceaccount");
/// True where in_cluster_access() would find a service account.
bool in_cluster(
    const std::filesystem::path& directory = "/var/run/secrets/kubernetes.io/serviceaccount");

/// Replaces the servers of `access` by those given, as URLs.
Result<void> use_servers(Access& access, const std::vector<std::string>& urls);

/// Limit of every file that is read: certificates, tokens.
inline constexpr size_t kMaxSecret = size_t{1} << 20;

}  // namespace weir::kube::api
